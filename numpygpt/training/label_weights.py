"""Weights for the labels in the loss, where some labels are rarer than others."""

import numpy as np

from ..system.errors import InputError
from ..system.settings import LABEL_WEIGHTS


def label_weights(choice, numbers, C, ignore_index=None):
    """Return `cross_entropy`'s weights (C,), or None for the choice None.

    "balanced": of n messages with the label numbers (n,), n_c have label c, and w[c] = n / (C n_c). So the messages of
    each label together have the same weight. Ignored messages are not counted. A label without a message has weight 0.
    """
    if choice is None:
        return None
    if choice not in LABEL_WEIGHTS:
        raise InputError(f"label_weights {choice!r}: use {' or '.join(map(repr, LABEL_WEIGHTS))} or None")
    counts = np.bincount(numbers[numbers != ignore_index], minlength=C)  # (C,)
    return np.divide(counts.sum(), C * counts, out=np.zeros(C), where=counts > 0)
