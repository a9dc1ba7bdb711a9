"""What watches a rewritten operation while it runs: one that records, and one that changes an array."""

import numpy as np


def is_number(value):
    """Whether a value is an array of floats, or a float."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "fc"
    return isinstance(value, float | complex)


class Recording:
    """Records what an operation makes, and puts `fixes` in its place.

    fixes         {(scope, name, line): array}
    made_values   [(name, value)] of the forward pass, in order
    values        {(scope, name): {line: value}} of the gradient functions; of what one returns, under its own name
    lines         {(scope, name): [line]}: those that make its last value
    order         {(scope, name): n}: the order in which they got their last value
    changing      (scope, name) of what was not the same at each call, or is written to in a way that is not seen
    several       (scope, name) of lists and tuples, of arrays say
    functions     {scope: function}
    ends          {scope: (order, line)}: where it returned
    """

    def __init__(self, fixes):
        self.fixes, self.made_values, self.values, self.lines = fixes, [], {}, {}
        self.order, self.changing, self.functions, self.ends = {}, set(), {}, {}
        self.several, self.held, self.count = set(), {}, 0

    def made(self, name, line, value):
        self.made_values.append((name, np.array(value) if is_number(value) else None))
        return value

    def defined(self, scope, line, function):
        self.functions[scope] = function

    def seen(self, scope, fresh, name, line, value):
        value = self.fixes.get((scope, name, line), value)
        if fresh:  # what the name stood for before is gone
            self.lines[scope, name] = []
        self.note(scope, name, line, value)
        return value

    def returned(self, scope, name, line, value):
        value = self.fixes.get((scope, name, line), value)
        if (scope, name) not in self.held:  # a local of the function's name is noted already
            self.note(scope, name, line, value)
        self.ends.setdefault(scope, (self.count, line))
        return value

    def note(self, scope, name, line, value):
        self.count += 1
        lines = self.values.setdefault((scope, name), {})
        now = np.array(value) if is_number(value) else None
        if isinstance(value, list | tuple):
            self.several.add((scope, name))
        if line in lines and not _equal(lines[line], now):
            self.changing.add((scope, name))
        if line not in lines:
            lines[line], self.order[scope, name] = now, self.count
        if line not in (made_at := self.lines.setdefault((scope, name), [])):
            made_at.append(line)
        self.held[scope, name] = value, now

    def finish(self):
        """Note what was written to through another name."""
        for key, (value, now) in self.held.items():
            if not _equal(value if now is not None else None, now):
                self.changing.add(key)


class Pushing:
    """Adds `by` to what the forward pass makes in one event."""

    def __init__(self, number, by):
        self.number, self.by, self.count = number, by, 0

    def made(self, name, line, value):
        self.count += 1
        return value + self.by if self.count - 1 == self.number else value

    def defined(self, scope, line, function):
        pass


def _equal(a, b):
    return a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))
