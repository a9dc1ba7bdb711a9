"""Tensors that are computed from stored tensors when they are read: transposed, joined, or zero."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Derived:
    """A tensor that is computed from stored tensors when it is read."""

    shape: tuple
    dtype: np.dtype
    read: Callable

    def copy(self):
        return self.read()


def zeros(shape):
    def read():
        zeros = np.zeros(shape, np.float32)
        zeros.flags.writeable = False
        return zeros

    return Derived(tuple(shape), np.dtype(np.float32), read)


def without_first_axis(tensor):
    """Return the tensor [1, …] as […]."""
    shape = tuple(tensor.shape[1:])
    return Derived(shape, tensor.dtype, lambda: tensor.read().reshape(shape))


def side_by_side(tensors):
    """Join matrices [out, in], or vectors [out], into one [in, out + out + …] or [out + out + …]."""
    outputs = [tensor.shape[0] for tensor in tensors]
    shape = (*tensors[0].shape[1:], sum(outputs))

    def read():
        result, place = np.empty(shape, np.float32), 0
        for tensor, width in zip(tensors, outputs):
            result[..., place : place + width] = tensor.copy().T
            place += width
        result.flags.writeable = False
        return result

    return Derived(shape, tensors[0].dtype, read)
