"""The complex-step derivative, and how far a hand-written gradient is from it."""

import numpy as np

STEP = 1e-30
BOUND = 1e-10  # on the relative error of a learner's gradient
FLOOR = 1e-2  # of a tensor's largest entry: what is smaller than that is held to it


def complex_step(f, arrays, name):
    """The derivative of f, which takes {name: complex128 array} and returns a scalar, by every number of arrays[name].

    Taylor: f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 - …, so f'(x) = Im f(x + ih) / h with an error of h^2: nothing,
    for h = 1e-30 (Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions").
    """
    x = arrays[name]
    derivative = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        real = x[i]
        x[i] = real + STEP * 1j
        derivative[i] = f(arrays).imag / STEP
        x[i] = real
    return derivative


def entry_errors(gradient, derivative):
    """|gradient - derivative| of each entry, relative to its own size, or to FLOOR of the largest's if smaller.

    Without a floor a right gradient could not pass: an entry is a sum of terms, each rounded to 1e-16 of itself. Where
    they cancel it is known to 1e-15 of its terms, which are as large as the largest entry, and not of itself. With the
    floor at a hundredth that error counts as 1e-13, which the bound of 1e-12 allows. And no entry above a hundredth of
    the largest can be wrong in its twelfth digit unseen.
    """
    size = np.abs(derivative)
    return np.abs(gradient - derivative) / np.maximum(size, max(FLOOR * size.max(), np.finfo(float).tiny))


def agree(gradient, derivative):
    """Whether a learner's gradient is the derivative: its shape, and each entry up to BOUND."""
    return gradient.shape == derivative.shape and bool(entry_errors(gradient, derivative).max(initial=0) <= BOUND)


def relative_errors(f, arrays, grads):
    """Return {name: error} of grads, the hand-written gradients of the scalar f(arrays), for each float64 array.

    The error of a tensor is the largest of its entries', or infinite where the shapes differ. One array at a time is
    complex, the others stay real.
    """
    errors = {}
    for name, array in arrays.items():
        derivative = complex_step(f, arrays | {name: array.astype(np.complex128)}, name)
        same_shape = grads[name].shape == derivative.shape
        errors[name] = entry_errors(grads[name], derivative).max() if same_shape else np.inf
    return errors


def operation_gradients(op, dy, **arguments):
    """Return {argument: gradient} of an operation, from its functions `d` + argument."""
    _, functions = op(**arguments)
    return {function.__name__[1:]: function(dy) for function in functions}


def operation_errors(rng, op, **arguments):
    """Return relative_errors of an operation for each float64 array among its arguments.

    The loss is sum(result * dy) with a random dy: for a dy of ones, softmax's gradient is 0 whatever its code says.
    """
    dy = rng.standard_normal(np.shape(op(**arguments)[0]))
    grads = operation_gradients(op, dy, **arguments)
    arrays = {name: a for name, a in arguments.items() if isinstance(a, np.ndarray) and a.dtype == np.float64}
    return relative_errors(lambda arrays: (op(**arguments | arrays)[0] * dy).sum(), arrays, grads)
