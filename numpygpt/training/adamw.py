"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it."""

import math

import numpy as np

from ..system.blas import mix
from ..system.pieces import each_piece


class AdamW:
    """Updates the arrays `params[name]` of the given names in place; no other parameter is read or written.

    For each number p with gradient g, at step t = 1, 2, …, with m and v starting at 0:
        p = p (1 - lr weight_decay)
        m = beta1 m + (1 - beta1) g              the mean of recent gradients
        v = beta2 v + (1 - beta2) g^2            and of their squares
        p = p - lr m / (1 - beta1^t)  /  ( sqrt(v / (1 - beta2^t)) + eps )
    As m and v start at 0 they are too small at first, by the factors that divide them. With these factors in the rate
    and in eps (Kingma and Ba 2015, the end of section 2) the last line is one pass over the numbers shorter:
        root = sqrt(1 - beta2^t);  p = p - lr root / (1 - beta1^t)  m / ( sqrt(v) + eps root )
    Decay falls on every trainable parameter, biases and layernorms too, as in the book.
    """

    def __init__(
        self,
        params: dict[str, np.ndarray],
        names,
        lr: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        self.params = {name: params[name] for name in sorted(names)}
        self.m = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.v = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.lr, self.weight_decay, self.betas, self.eps = lr, weight_decay, betas, eps
        self.t = 0

    def step(self, grads: dict[str, np.ndarray]) -> None:
        """One update from {name: gradient}, every name's."""
        self.t += 1
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.t)
        rate, eps = self.lr * root / (1 - beta1**self.t), self.eps * root

        def update(p, g, m, v):
            m = mix(m, beta1, g, 1 - beta1)  # in place, as all that follows
            v = mix(v, beta2, g * g, 1 - beta2)
            change = np.sqrt(v)
            change += eps
            np.divide(m, change, out=change)
            p = mix(p, 1 - self.lr * self.weight_decay, change, -rate)

        each_piece(update, [(p, grads[name], self.m[name], self.v[name]) for name, p in self.params.items()])
