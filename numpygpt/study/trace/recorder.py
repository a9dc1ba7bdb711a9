"""Record functions with Python's own tracing while they run: every line, with the values that it computed."""

import inspect
import sys
from collections.abc import Iterator
from copy import copy

import numpy as np

from .source import function_of, statement_at


class Call:
    """One call of a watched function.

    function    the Function that ran
    arguments   {name: value} of the call; constants, {name: value} of its module's floats that it reads
    lines       {line number: [{name: value}, …]} what each statement made, each time it ran, under its last line
    returned    the result. `ended` is True instead where a call inside returned 0.0, as a tape's backward does where
                nothing below learns; what is computed from that 0.0 is not a gradient, and is not recorded
    functions   {name: Function} of the gradient functions that it returned
    kept        {name: names of the arrays and numbers that this function keeps}, of the same functions
    parent, calls   the watched call around this one, and the watched calls inside it
    called_from     the line of `parent` that made this call, or None
    title       what is shown above it instead of its name, or ""

    Values are numbers, and copies of arrays as they were at that moment.
    """

    def __init__(self, code, parent, frame):
        self.code, self.function = code, function_of(code)
        self.parent, self.calls = parent, []
        self.arguments = {
            name: value for name in _argument_names(code) if (value := _value(frame.f_locals[name])) is not None
        }
        self.constants = {
            name: value for name in code.co_names if isinstance(value := frame.f_globals.get(name), float)
        }
        self.lines, self.returned, self.ended, self.functions, self.kept = {}, None, False, {}, {}
        self.called_from, self.title = None, ""
        self._statement = None
        if parent is not None:
            parent.calls.append(self)
            self.called_from = _line_of(parent.code, frame)

    def all(self) -> Iterator["Call"]:
        """Return this call and those inside it, in the order in which they began."""
        yield self
        for call in self.calls:
            yield from call.all()

    def shown(self):
        """Return this call, and inside it the gradient functions and the helpers with more than a return."""
        return [call for call in self.all() if call is self or call.function.nested or call._makes_something()]

    def only(self, names, title):
        """Return a copy with this title that has the values of these names alone, and no calls inside."""
        part = copy(self)
        part.calls, part.title = [], title
        part.arguments = {name: value for name, value in self.arguments.items() if name in names}
        part.lines = {
            line: [{name: value for name, value in made.items() if name in names} for made in runs]
            for line, runs in self.lines.items()
            if any(name in names for made in runs for name in made)
        }
        return part

    def _makes_something(self):
        return any(not statement_at(self.code, line).returns for line in self.lines)

    def line(self, frame):
        """Note that a line is about to run. If it begins another statement, the one before has finished."""
        statement = statement_at(self.code, frame.f_lineno)
        if statement is not self._statement:
            self._finish(frame, statement)
            self._statement = statement

    def end(self, frame, result):
        """Note that the function returns."""
        if type(result) is float and result == 0 and self.parent is not None:
            self.parent.ended = True
        statement, self._statement = self._statement, None
        if statement is None or self.ended:
            return
        if not statement.returns:  # the last line of a function that returns nothing
            self._statement = statement
            self._finish(frame, None)
            return
        self.returned = tuple(map(_value, result)) if isinstance(result, tuple) else _value(result)
        parts = result if isinstance(result, tuple) else (result,)
        several = sum(_value(part) is not None for part in parts) > 1
        for number, (text, part) in enumerate(zip((text for text, _ in statement.makes), parts)):
            for function in part if isinstance(part, tuple) else (part,):
                if inspect.isfunction(function):
                    if not function.__name__.startswith("<"):  # not a lambda
                        self.functions[function.__name__] = function_of(function.__code__)
                    self.kept[function.__name__] = list(dict.fromkeys(_kept_by(function, self.function.outer)))
            if (value := _value(part)) is not None and self._is_new(text, value):
                result_name = self.function.name if self.function.nested else "result"
                result_name += f"[{number}]" * (several and self.function.nested)
                self.lines.setdefault(statement.last, [{}])[0][text if text.isidentifier() else result_name] = value

    def _finish(self, frame, following):
        statement = self._statement
        if statement is None or statement.returns or self.ended:
            return
        if statement.body and (following is None or not statement.body[0] <= following.first <= statement.body[1]):
            return  # the loop is over
        made = {text: value for text, code in statement.makes if (value := _evaluated(code, frame)) is not None}
        if made:
            self.lines.setdefault(statement.last, []).append(made)

    def _is_new(self, text, value):
        """Whether a returned value was not recorded yet: an expression, or an array written to since it was made."""
        if not text.isidentifier():
            return True
        seen = [made[text] for runs in self.lines.values() for made in runs if text in made]
        return bool(seen) and not np.array_equal(seen[-1], value, equal_nan=True)


def _line_of(code, frame):
    """Return the line at which the innermost frame of `code` around `frame` is."""
    while frame.f_code is not code:
        frame = frame.f_back
    return frame.f_lineno


def _argument_names(code):
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _evaluated(code, frame):
    try:
        return _value(eval(code, frame.f_globals, frame.f_locals))  # a name, or a name with an index: nothing runs
    except (NameError, KeyError, IndexError):  # the statement was left by an error
        return None


def _kept_by(function, outer):
    """Yield the names in `outer` whose arrays or numbers a gradient function keeps, also through other functions."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        if inspect.isfunction(cell.cell_contents):
            yield from _kept_by(cell.cell_contents, outer)
        elif function.__qualname__.startswith(f"{outer}.") and isinstance(cell.cell_contents, np.ndarray | float):
            yield name


def _value(value):
    """Return a copy of an array of numbers, a float as it is, and None for anything else, also for an empty array."""
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "fciu":
        return np.array(value)
    return value if isinstance(value, float | complex | np.inexact) else None


class Recorder:
    """Record this thread's calls of functions whose code object `watched` accepts. Use it in a `with` statement.

    calls   the outermost calls, in order. A debugger or coverage that was tracing before continues afterwards.
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
