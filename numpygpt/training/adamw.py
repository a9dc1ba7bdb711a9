"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it."""

import math

import numpy as np

from ..system.blas import parallel
from ..system.pieces import pieces

BUNDLE = 1 << 20  # numbers that one core updates before it takes the next


class AdamW:
    """Updates the arrays `params[name]` of the given names in place; no other parameter is read or written.

    For each number p with gradient g, at step t = 1, 2, …, with m and v starting at 0:
        p -= lr * weight_decay * p
        m += (1 - beta1) * (g - m)          v += (1 - beta2) * (g^2 - v)
        p -= lr * m / (1 - beta1^t)  /  ( sqrt(v / (1 - beta2^t)) + eps )
    Decay falls on every trainable parameter, biases and layernorms too, as in the book.

    The arrays m and v here are these divided by 1 - beta1 and 1 - beta2, so that an update is m = beta1 m + g, v = beta2 v + g^2; the
    two factors, and the corrections that depend on t only, are drawn into one number and eps. That saves three of 14 passes over all.
    """

    def __init__(self, params, names, lr, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8):
        self.params = {name: params[name] for name in sorted(names)}
        self.m = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.v = {name: np.zeros_like(p) for name, p in self.params.items()}
        self.lr, self.weight_decay, self.betas, self.eps = lr, weight_decay, betas, eps
        self.t = 0

    def step(self, grads):
        """One update from {name: gradient}, every name's."""
        self.t += 1
        beta1, beta2 = self.betas
        decay = 1 - self.lr * self.weight_decay
        root = math.sqrt((1 - beta2) / (1 - beta2**self.t))
        step = self.lr * (1 - beta1) / (1 - beta1**self.t) / root
        eps = self.eps / root

        def update(bundle):
            for p, g, m, v in bundle:
                m *= beta1
                m += g
                square = g * g
                v *= beta2
                v += square
                denominator = np.sqrt(v, out=square)
                denominator += eps
                change = np.divide(m, denominator, out=denominator)
                change *= step
                p *= decay
                p -= change

        parallel(update, self._bundles(grads))

    def _bundles(self, grads):
        """Lists of matching pieces of (parameter, gradient, m, v), each list about BUNDLE numbers."""
        bundle, numbers = [], 0
        for name, p in self.params.items():
            for rows in pieces(p):  # rows, and not a flat view, which would be a copy if p is not in C order
                bundle.append([a[rows] for a in (p, grads[name], self.m[name], self.v[name])])
                numbers += p[rows].size
                if numbers >= BUNDLE:
                    yield bundle
                    bundle, numbers = [], 0
        yield bundle
