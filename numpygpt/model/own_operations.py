"""Operations of your own in the place of the shipped ones, for a training that runs your gradients."""

import inspect
import traceback
import warnings
from types import CodeType, FunctionType

import numpy as np

from ..ops.attention import attention
from ..ops.cross_entropy import cross_entropy
from ..ops.dot_product_attention import dot_product_attention
from ..ops.embedding import embedding
from ..ops.gelu import gelu
from ..ops.layernorm import layernorm
from ..ops.linear import linear
from ..ops.pool import mean_rows, take_rows
from ..ops.query_attention import query_attention
from ..ops.remember import remember
from ..ops.softmax import softmax
from ..system.errors import InputError, Note, counted

# The operations of a classifier and its loss. Each comes after the operations that it calls.
SHIPPED = {
    op.__name__: op
    for op in (
        *(softmax, dot_product_attention, attention, query_attention),
        *(embedding, layernorm, linear, gelu, take_rows, mean_rows, cross_entropy),
    )
}


class OwnOperations:
    """{shipped operation: the function to call in its place}, from {name: function of yours}.

    An operation that calls a replaced one is replaced by a copy of itself that calls yours. So `softmax` reaches
    attention and the loss, and `dot_product_attention` reaches both forms of attention. It is the same with functions
    of yours that call a shipped operation.

    Raises InputError for an unknown name, and for anything that is no function.
    """

    def __init__(self, given):
        self.given, self.used, self.table = {}, set(), {}
        for name, function in given.items():
            op = _shipped(name, function)
            if op in self.given:
                raise InputError(f"ops: two functions take the place of {op.__name__}: give one of them")
            self.given[op] = function
        for op in SHIPPED.values():
            function = self._calling_yours(self.given.get(op, op))
            if op in self.given:
                self.table[op] = self._adapted(op, function)
            elif function is not op:
                self.table[op] = function

    def __getitem__(self, op):
        """Return the function to call for a shipped operation: the operation itself unless it was replaced."""
        return self.table.get(op, op)

    def note_unused(self):
        """Warn of functions that were never called, after a training that called others."""
        if self.used and (unused := sorted(op.__name__ for op in self.given.keys() - self.used)):
            listed = ", ".join(unused)
            reason = "frozen blocks and evaluations use the shipped operations"
            warnings.warn(f"ops: this training never called your {listed}: {reason}", Note, stacklevel=3)

    def _calling_yours(self, function):
        """Return the function, or if it calls an operation that is replaced, a copy that calls the replacement."""
        if not isinstance(function, FunctionType):
            return function
        names = function.__globals__
        yours = {n: self.table[v] for n, v in names.items() if isinstance(v, FunctionType) and v in self.table}
        if not yours:
            return function
        copy = FunctionType(
            function.__code__, names | yours, function.__name__, function.__defaults__, function.__closure__
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        return copy

    def _adapted(self, op, function):
        """Return a function that is called as `op` is, calls yours, and returns a tuple of gradient functions."""
        shipped, mine = inspect.signature(op), inspect.signature(function).parameters.values()
        most = None if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in mine) else len(mine)
        gradients = [name for name in shipped.parameters if f"d{name}" in _nested(op)]

        def own(*args, **settings):
            bound = shipped.bind(*args, **settings)
            bound.apply_defaults()
            values = list(bound.arguments.values())
            left_out = list(zip(shipped.parameters.values(), values))[most:] if most is not None else ()
            for parameter, value in left_out:
                if value is not parameter.default:
                    raise InputError(
                        f"ops: your {op.__name__} takes no {parameter.name}, which this classifier needs. It is called "
                        f"as {op.__name__}{shipped}"
                    )
            self.used.add(op)
            result = _run(op.__name__, function, *values[:most])
            if not (isinstance(result, tuple) and len(result) == 2):
                raise InputError(f"ops: your {op.__name__} must return its result and its gradient functions")
            y, functions = result
            found = _functions(op.__name__, functions, gradients)
            return y, tuple(
                _checked(op.__name__, name, f, bound.arguments[name].shape) for name, f in zip(gradients, found)
            )

        return own


def _shipped(name, function):
    """Return the operation that a function of this name takes the place of."""
    if not callable(function):
        raise InputError(f"ops: {name} is a {type(function).__name__}, not a function")
    # The exercises attention and causal_attention write dot_product_attention: their first argument is q.
    first = next(iter(inspect.signature(function).parameters), "")
    if name == "causal_attention" or (name == "attention" and first != "qkv"):
        return dot_product_attention
    if name not in SHIPPED:
        raise InputError(f"ops: there is no operation {name!r} to replace; a classifier has {', '.join(SHIPPED)}")
    return SHIPPED[name]


def _run(name, function, *args):
    """Call a function of yours. Its error becomes an InputError that names the line."""
    try:
        return function(*args)
    except InputError:
        raise
    except Exception as error:
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f" in line {lines[-1]}" if lines else ""
        raise InputError(f"ops: your {name} fails{place}: {type(error).__name__}: {error}") from error


def _nested(op):
    """Return the names of the functions that are defined in `op`."""
    return {constant.co_name for constant in op.__code__.co_consts if isinstance(constant, CodeType)}


def _functions(name, functions, gradients):
    """Return one function for each of `gradients`, from a tuple of functions or from one backward."""
    if callable(functions):
        backward = remember(functions)

        def part(number):
            def gradient(dy=1.0):
                found = backward(dy)
                found = found if isinstance(found, tuple) else (found,)
                _check_count(name, "gradient", len(found), gradients)
                return found[number]

            return gradient

        return [part(number) for number in range(len(gradients))]
    if not (isinstance(functions, tuple) and all(map(callable, functions))):
        raise InputError(f"ops: your {name} must return one backward, or a tuple of functions, beside its result")
    _check_count(name, "function", len(functions), gradients)
    named = {getattr(function, "__name__", ""): function for function in functions}
    wanted = [f"d{gradient}" for gradient in gradients]
    return [named[label] for label in wanted] if set(named) == set(wanted) else list(functions)


def _check_count(name, what, count, gradients):
    if count != len(gradients):
        listed = ", ".join(f"d{gradient}" for gradient in gradients)
        raise InputError(f"ops: your {name} returns {counted(count, what)}, not {len(gradients)}: {listed}")


def _checked(name, argument, function, shape):
    """Return the function, with a check that its gradient has the shape of the argument."""

    def gradient(*dy):
        found = _run(name, function, *dy)
        if found is None or np.shape(found) != shape:
            what = "is not written yet" if found is None else f"has the shape {np.shape(found)}, not {shape}"
            raise InputError(f"ops: d{argument} of your {name} {what}. Check the function with numpygpt.check first")
        return found

    return gradient
