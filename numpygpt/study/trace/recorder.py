"""What Python's own tracing sees of functions while they run: every line, with the values that it made."""

import inspect
import sys
from collections.abc import Iterator

import numpy as np

from .source import function_of, nested_name, statement_at


class Call:
    """One call of a watched function.

    function    the Function, or the one it is nested in
    nested      the name of the function inside it, such as `dx`; None of the outermost
    arguments   {name: value} it was called with
    lines       {line number: [{name: value}, …]} what each statement made, each time it ran, under its last line
    returned    its result
    keeps       {name of a function inside it: the names of the arrays and numbers that this function keeps}
    parent, calls   the watched call that it was made in, and those made in it

    Values are arrays, copied as they were at that moment, and numbers.
    """

    def __init__(self, code, parent, frame):
        self.code, self.function, self.nested = code, function_of(code), nested_name(code)
        self.parent, self.calls = parent, []
        self.arguments = {
            name: kept for name in _argument_names(code) if (kept := _kept(frame.f_locals[name])) is not None
        }
        self.lines, self.returned, self.keeps = {}, None, {}
        self._statement = None
        if parent is not None:
            parent.calls.append(self)

    def all(self) -> Iterator["Call"]:
        """This call and those inside it, in the order in which they began."""
        yield self
        for call in self.calls:
            yield from call.all()

    def makes_something(self):
        """Whether a line of it made an array."""
        return any(not statement_at(self.code, line).returns for line in self.lines)

    def line(self, frame):
        """A line is about to run: the statement before it, if it is another, has made what it makes."""
        statement = statement_at(self.code, frame.f_lineno)
        if statement is not self._statement:
            self._finish(frame, statement)
            self._statement = statement

    def end(self, frame, result):
        """The function returns."""
        statement, self._statement = self._statement, None
        if statement is None:
            return
        if not statement.returns:  # the last line of a function that returns nothing
            self._statement = statement
            self._finish(frame, None)
            return
        self.returned = tuple(map(_kept, result)) if isinstance(result, tuple) else _kept(result)
        parts = result if isinstance(result, tuple) else (result,)
        for text, part in zip((text for text, _ in statement.makes), parts):
            if (value := _kept(part)) is not None and self._is_new(text, value):
                unnamed = "result" if self.nested in (None, "backward") else self.nested
                self.lines.setdefault(statement.last, [{}])[0][text if text.isidentifier() else unnamed] = value
        for name, part in frame.f_locals.items():
            if inspect.isfunction(part) and part.__code__ in self.code.co_consts:
                kept = {free: frame.f_locals.get(free) for free in part.__code__.co_freevars}
                self.keeps[name] = [free for free, value in kept.items() if isinstance(value, np.ndarray | float)]

    def _finish(self, frame, following):
        statement = self._statement
        if statement is None or statement.returns:
            return
        if statement.body and (following is None or not statement.body[0] <= following.first <= statement.body[1]):
            return  # the loop is over: nothing new
        made = {text: value for text, code in statement.makes if (value := _evaluated(code, frame)) is not None}
        if made:
            self.lines.setdefault(statement.last, []).append(made)

    def _is_new(self, text, value):
        """Whether a returned value is not yet on view: an expression, or an array that was written to since it was
        made.
        """
        if not text.isidentifier():
            return True
        seen = [made[text] for runs in self.lines.values() for made in runs if text in made]
        return bool(seen) and not np.array_equal(seen[-1], value, equal_nan=True)


def _argument_names(code):
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _evaluated(code, frame):
    try:
        return _kept(eval(code, frame.f_globals, frame.f_locals))  # a name, or a name with an index: nothing runs
    except (NameError, KeyError, IndexError):  # the statement was left by an error
        return None


def _kept(value):
    """A copy of an array of numbers, a float as it is; None of anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fciu":
        return np.array(value)
    return value if isinstance(value, float | complex | np.inexact) else None


class Recorder:
    """with Recorder(watched) as recorder: … records the calls of functions whose code object `watched` accepts, of
    this thread.

    calls   the outermost of them, in order. Whoever was tracing before, a debugger or coverage, goes on afterwards.
    """

    def __init__(self, watched):
        self.watched, self.calls, self.open = watched, [], None

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error):
        sys.settrace(self.before)

    def _trace(self, frame, event, result):
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<") or not self.watched(code):
            return None
        call = self.open = Call(code, self.open, frame)
        if call.parent is None:
            self.calls.append(call)

        def local(frame, event, result):
            if event == "line":
                call.line(frame)
            elif event == "return":
                call.end(frame, result)
                self.open = call.parent
            return local

        return local
