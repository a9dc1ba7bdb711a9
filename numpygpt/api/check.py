"""Check hand-written gradients against the complex-step derivative: in a notebook, in a test, of any NumPy code."""

from collections.abc import Callable
from typing import Any

from ..study.checking.check import check_function
from ..study.checking.judge import Judge
from ..study.checking.verdict import Verdict
from ..study.trace.own import own_step
from ..study.trace.trace import Step


class Check:
    """What `check` found. It is true if every gradient holds, and prints the table.

    Examples
    --------
    >>> import numpygpt
    >>> from numpygpt.ops.softmax import softmax
    >>> found = numpygpt.check(softmax)
    >>> bool(found)
    True
    >>> found.require()
    """

    def __init__(self, function: Callable, verdict: Verdict, judge: Judge | None):
        self._function, self._verdict, self._judge = function, verdict, judge

    def __bool__(self) -> bool:
        return self._verdict.holds

    def __repr__(self) -> str:
        return "\n".join(self._verdict.lines)

    def _repr_html_(self) -> str:
        return self._verdict.html()

    def require(self) -> None:
        """Raise AssertionError with the table unless every gradient holds: for a test."""
        __tracebackhide__ = True  # pytest then shows the test's own line
        if not self:
            raise AssertionError(f"\n{self!r}")

    def trace(self) -> Step:
        """Return the trace of the function: its lines and its numbers, and beside each wrong array the right one.

        A notebook shows its page. `save(path)` writes the page, and `trace["dscores"]` is an array.

        Raises
        ------
        InputError
            If the function does not run, or is no operation.
        """
        return own_step(self._function, self._verdict, self._judge)


def check(f: Callable, /, **arguments: Any) -> Check:
    """Check the gradients of an operation, and every intermediate, against the complex-step derivative.

    An array `dscores` of the backward pass belongs to `scores` of the forward pass. It is compared with the derivative
    by `scores`, and the first line that is wrong is named. A name that stands for something else is left out.

    The loss is sum(y * dy) with a random dy, because a dy of ones hides mistakes. The complex step, Im L(x + ih) / h,
    has no cancellation error, so the derivative is right to the last digits, and a gradient must agree to ten of them.

    Parameters
    ----------
    f : function
        It returns its result and its gradients, in one of two forms:

            y, (dx, dweight, …)     one function of dy per gradient
            y, backward             one function of dy that returns all gradients

        A gradient function `d` + argument is recognized by its name, else by its place. The forward pass must accept
        complex numbers: it must not use abs, conj or .real on the way to the result.
    **arguments
        Sample arguments. Each NumPy array of floats has a gradient, and is used in double precision. Arrays of whole
        numbers (token ids), Python numbers and all else have none. A function with the name of an exercise
        (`python -m numpygpt.exercise`) needs no arguments, and the exercise's known mistakes are recognized.

    Returns
    -------
    Check
        True or false. It prints a table of the gradients, then the place and the cause of what is wrong. An error
        inside f is part of the report and is not raised. `require()` raises AssertionError unless all gradients hold.
        `trace()` shows every line of f with its numbers, and the right numbers beside the wrong ones.

    Raises
    ------
    InputError
        If f is no exercise and there are no arguments, f does not take these arguments, or none is an array of floats.

    Examples
    --------
    >>> import numpy as np, numpygpt
    >>> def scale(x, factor):
    ...     def dx(dy):
    ...         return dy * factor
    ...
    ...     def dfactor(dy):
    ...         return (dy * x).mean(axis=0)
    ...
    ...     return x * factor, (dx, dfactor)
    >>> found = numpygpt.check(scale, x=np.array([[1.0, -2.0], [3.0, 0.5]]), factor=np.array([2.0, 3.0]))
    >>> print(found)
    gradient        shape     digits   worst entry             yours          right
    ...
    first wrong: dfactor, line 6
        return (dy * x).mean(axis=0)
    dfactor is right but for the factor 1/x.shape[0] (x.shape[0] = 2).
    dx holds, dfactor is wrong
    """
    return Check(f, *check_function(f, arguments))
