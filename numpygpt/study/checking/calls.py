"""How an operation's gradients are called and told apart, and what they cost."""

import numpy as np

from .exercise import is_float


def is_way_back(back):
    """Whether an operation's second result is one `backward`, or one function per gradient."""
    return callable(back) or (isinstance(back, tuple | list) and bool(back) and all(map(callable, back)))


def name_of(function):
    """Return a function's name, also of what is called like a function and has none."""
    return getattr(function, "__name__", type(function).__name__)


def gradients_of(back, dy, catch=False):
    """Return the list of gradients, from one `backward` or from one function each.

    With `catch`, an Exception in one of several functions stands in its gradient's place.
    """
    if callable(back):
        found = back(dy)
        return list(found) if isinstance(found, tuple) else [found]
    found = []
    for function in back:
        try:
            found.append(function(dy))
        except Exception as error:
            if not catch:
                raise
            found.append(error)
    return found


def positions(arguments, wanted, facts, is_step=False):
    """Return {argument: the number of its gradient among those returned}, or None for too few or too many."""
    names, wanted = list(arguments), list(wanted)
    count, functions = len(facts["gradients"]), facts.get("names") or []
    if count == len(wanted):
        named = {name: functions.index(f"d{name}") for name in wanted if f"d{name}" in functions}
        return named if len(named) == count else {name: n for n, name in enumerate(wanted)}
    if is_step or functions:
        return None
    floats = [name for name, a in arguments.items() if is_float(a)]
    leading = {max(map(names.index, wanted)) + 1, names.index(floats[-1]) + 1}  # None may stand for other arguments
    return {name: names.index(name) for name in wanted} if count in leading else None


def kept_arrays(back):
    """Return {name: array} of what gradient functions keep of the forward pass in their closures."""
    found = {}
    for function in [back] if callable(back) else back:
        code = getattr(function, "__code__", None)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()) if code else ():
            try:
                if isinstance(cell.cell_contents, np.ndarray):
                    found[name] = cell.cell_contents
            except ValueError:  # a name that got no value
                continue
    return found


def products(function, arguments, dy):
    """Return how many products of matrices the backward pass forms."""
    counted = {n: a.view(Counting) if isinstance(a, np.ndarray) else a for n, a in arguments.items()}
    _, back = function(**counted)
    Counting.products = 0
    gradients_of(back, np.asarray(dy).view(Counting))
    return Counting.products


class Counting(np.ndarray):
    """An array that counts the products of matrices in which it, or what was made of it, takes part."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        Counting.products += ufunc is np.matmul
        plain = [a.view(np.ndarray) if isinstance(a, Counting) else a for a in inputs]
        settings = {n: tuple(a.view(np.ndarray) for a in v) if n == "out" else v for n, v in settings.items()}
        result = getattr(ufunc, method)(*plain, **settings)
        return result.view(Counting) if isinstance(result, np.ndarray) else result

    def __array_function__(self, function, types, arguments, settings):
        Counting.products += function in (np.dot, np.einsum, np.tensordot, np.inner)
        return super().__array_function__(function, types, arguments, settings)
