"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it."""

import math
from numbers import Real

import numpy as np

from ..system.chunks import each_chunk, scratch
from ..system.errors import InputError
from ..system.settings import OPTIMIZER, checked


class AdamW:
    """Update the arrays `params[name]` of the given names in place. Other parameters are neither read nor written.

    For each number p with gradient g, at step t = 1, 2, …, with m and v starting at 0:
        m = beta1 m + g                  a sum of gradients, in which the gradient of k steps ago has the weight beta1^k
        v = beta2 v + g^2                the same of their squares, with beta2
        p = p (1 - lr weight_decay)
        p = p - lr c1 m / ( sqrt(c2 v) + eps )
    The weights of the t gradients in m sum to (1 - beta1^t) / (1 - beta1). Dividing by that sum turns m and v into
    weighted means:
        c1 = (1 - beta1) / (1 - beta1^t)        c2 = (1 - beta2) / (1 - beta2^t)
    Kingma and Ba (2015) and PyTorch keep (1 - beta1) m and (1 - beta2) v, and call the other factor of c1 and c2 the
    bias correction. The code takes sqrt(c2) out of the last line, which saves a pass over the numbers:
        p = p - (lr c1 / sqrt(c2)) m / ( sqrt(v) + eps / sqrt(c2) )
    Decay applies to every trainable parameter, biases and layernorms too, as in the book.

    Parameters
    ----------
    params : dict of str to ndarray
        Parameters by name, such as `Classifier.params`.
    names : iterable of str
        The parameters to update, such as `Classifier.trainable`.
    lr : float
        The learning rate. You may change the attribute `lr` between two steps.
    weight_decay, betas, eps : float, (float, float), float
        As in `torch.optim.AdamW`, with its defaults.

    Raises
    ------
    InputError
        If a name is unknown; an array cannot be updated in place, because it is read-only or holds no real floats; two
        arrays share memory; or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.ones(2)
    >>> AdamW({"weight": weight}, ["weight"], lr=0.1, weight_decay=0).step({"weight": np.array([3.0, -0.5])})
    >>> weight.round(6)
    array([0.9, 1.1])
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
        numbers = checked(OPTIMIZER, {"lr": lr, "weight_decay": weight_decay, "eps": eps})
        self.lr, self.weight_decay, self.eps = numbers.values()
        pair = betas if isinstance(betas, tuple | list) else ()
        if len(pair) != 2 or not all(isinstance(beta, Real) and 0 <= beta < 1 for beta in pair):
            raise InputError(f"betas: expected two numbers at least 0 and less than 1, got {betas!r}")
        self.betas = betas
        names = sorted(names)
        for name in names:
            if name not in params:
                raise InputError(f"AdamW: there is no parameter {name!r}")
            if params[name].dtype.kind != "f":
                raise InputError(f"AdamW: {name} has dtype {params[name].dtype}; only real floats can be updated")
            _check_writeable(name, params[name])
        self.params = {name: params[name] for name in names}
        _check_distinct(self.params)
        # Sums of squares overflow float16, and its smallest number is larger than eps.
        self.m = {name: np.zeros_like(p, np.result_type(p, np.float32)) for name, p in self.params.items()}
        self.v = {name: np.zeros_like(m) for name, m in self.m.items()}
        self.t = 0

    def step(self, grads: dict[str, np.ndarray]) -> None:
        """Make one update from {name: gradient}, with a gradient for every name and no other.

        Raises InputError for a missing or unknown name, for a gradient of another shape or one that holds no real
        floats, and for a parameter that has become read-only, before anything has changed.
        """
        self._check(grads)
        self.begin()
        self.update(grads)

    def begin(self) -> None:
        """Begin a step whose gradients come later, each to `update` once. Raises InputError for a read-only parameter.

        For backpropagation that updates a parameter as soon as its gradient is complete and frees the gradient. The
        numbers are those of `step`.
        """
        for name, p in self.params.items():
            _check_writeable(name, p)
        self.t += 1

    def update(self, grads: dict[str, np.ndarray]) -> None:
        """Update the parameters of {name: gradient} in the step that was begun last. Gradients are not checked."""
        beta1, beta2 = self.betas
        c1, c2 = (1 - beta1) / (1 - beta1**self.t), (1 - beta2) / (1 - beta2**self.t)
        rate, eps = self.lr * c1 / math.sqrt(c2), self.eps / math.sqrt(c2)

        def move(p, g, m, v):
            m *= beta1
            m += g
            # One scratch array, so that all five stay in the cache. Without dtype, float16 gradients overflow.
            squares = np.multiply(g, g, out=scratch(v), dtype=v.dtype)
            v *= beta2
            v += squares
            change = np.sqrt(v, out=squares)
            change += eps
            np.divide(m, change, out=change)
            change *= rate
            p *= 1 - self.lr * self.weight_decay
            p -= change

        groups = [(self.params[name], gradient, self.m[name], self.v[name]) for name, gradient in grads.items()]
        each_chunk(move, [tuple(map(np.atleast_1d, group)) for group in groups])  # views; a single number has no rows

    def _check(self, grads):
        if missing := self.params.keys() - grads.keys():
            raise InputError(f"AdamW: there is no gradient for {min(missing)}")
        if unknown := grads.keys() - self.params.keys():
            raise InputError(f"AdamW: there is a gradient for {min(unknown)}, which is not among its names")
        for name, p in self.params.items():
            g = np.asarray(grads[name])
            if g.shape != p.shape:
                raise InputError(f"AdamW: the gradient of {name} has shape {g.shape}, the parameter {p.shape}")
            if g.dtype.kind != "f":
                raise InputError(f"AdamW: the gradient of {name} has dtype {g.dtype}; expected real floats")


def _check_distinct(params):
    by_address = sorted(params, key=lambda name: params[name].__array_interface__["data"][0])
    for one, other in zip(by_address, by_address[1:]):
        if np.shares_memory(params[one], params[other]):
            raise InputError(f"AdamW: {one} and {other} share memory, so it would be updated twice. Give one of them")


def _check_writeable(name, p):
    if not p.flags.writeable:
        raise InputError(
            f"AdamW: {name} is read-only, as a pretrained model's arrays are; give a copy: np.array({name})"
        )
