"""Logistic regression on features, by Newton's method: one linear layer, and its exact second derivatives."""

import numpy as np

from ..ops.cross_entropy import cross_entropy
from ..ops.linear import linear
from ..ops.softmax import softmax
from .curvature import solve

CONVERGED = 1e-5  # largest entry of the gradient, relative to its largest at zero weights
INEXACT = 0.1  # of the gradient: how closely a Newton step is solved for


def fit(x, numbers, C, penalty, start=None):
    """Return the weights (D + 1, C), the bias last, that minimise the mean cross-entropy + penalty/2 |weights|².

    x (n, D) features, numbers (n,) label numbers, start: weights to begin at, by default zero.

    Newton's method: with gradient g and Hessian H, step along -(H + penalty)⁻¹ g. The loss is convex, so a step that is
    halved until the loss falls always leads to the minimum. Each step is solved for by conjugate gradients, with
        H v = x.T @ ( (diag(p) - p ⊗ p) (x @ v) ) / n
    """
    x = with_ones(x)
    weights = np.zeros((x.shape[1], C)) if start is None else start
    first = None
    loss, gradient, p = _at(x, numbers, weights, penalty)
    while True:
        largest = abs(gradient).max()
        first = first or largest
        if largest <= CONVERGED * first:
            return weights

        def product(v, p=p):
            moved = x @ v["w"]
            return {"w": x.T @ (p * (moved - (p * moved).sum(axis=1, keepdims=True))) / len(x)}

        step = solve(product, {"w": gradient}, penalty, INEXACT)["w"]
        size = 1.0
        while (found := _at(x, numbers, weights - size * step, penalty))[0] > loss and size > 1e-6:
            size /= 2
        if size <= 1e-6:  # rounding allows no better weights
            return weights
        weights = weights - size * step
        loss, gradient, p = found


def probabilities(x, weights):
    """Return (n, C) probabilities of features x (n, D)."""
    return softmax(with_ones(x) @ weights)[0]


def with_ones(x):
    """Return x in float64 with a column of ones, for the bias."""
    return np.hstack([x, np.ones((len(x), 1))])


def _at(x, numbers, weights, penalty):
    """Return the loss, its gradient, and the probabilities (n, C)."""
    logits, (_, dweight, _) = linear(x, weights, 0.0)
    loss, (dlogits,) = cross_entropy(logits, numbers)
    gradient = dweight(dlogits()) + penalty * weights
    return loss + penalty / 2 * (weights * weights).sum(), gradient, softmax(logits)[0]
