"""Compares what a learner's backward pass makes on its way, `dscores` say, with the derivative by `scores`.

The forward pass runs again with i h added to one entry right after the line that makes `scores`: Im L / h is the
derivative by that entry. A name that has another meaning in the backward pass is not compared, and nothing is said
of it.
"""

import re
import warnings
from dataclasses import dataclass, field

import numpy as np

from .calls import gradients_of
from .complex_step import STEP, agree
from .exercise import is_float
from .instrumented import instrumented
from .probes import Pushing, Recording, is_number
from .signs import close, ratio

MOST = 4096  # entries of an array that is compared
DIFFERENCE = 1e-6
LAST = 1_000_000  # the order of what is made in a lambda: it is not watched


@dataclass
class Local:
    """An array of the backward pass that belongs to one of the forward pass.

    name, scope    dscores, and the function in which it is made
    of             scores
    lines, order   the lines that make it, and its place in the order in which things are made
    given, right   its numbers, and the derivative
    mends          names of what becomes right if `right` takes the place of `given` in the rest of the backward pass
    breaks         whether something that was right becomes wrong then
    other          whether it may stand for something else: it is a multiple of `right`, or not linear in dy
    used           whether a gradient depends on it
    feeds          {name: [lines]} of what goes into it and is not compared
    """

    name: str
    scope: str
    of: str
    lines: list
    order: int
    given: np.ndarray
    right: np.ndarray
    mends: list = field(default_factory=list)
    breaks: bool = False
    other: bool = False
    used: bool = True
    feeds: dict = field(default_factory=dict)

    @property
    def wrong(self):
        return not agree(self.given, self.right)


@dataclass
class Inside:
    """What was found inside an operation.

    locals       [Local], in the order in which they are made
    left_out     {(scope, name)} of what has a forward name, but is something else: another shape, made in a loop
    places       {argument: (order, lines, name, feeds)}: where its gradient is made, the name it has there, or None,
                 and what goes into it and is not compared
    text         the text of a line
    """

    locals: list
    left_out: set
    places: dict
    text: object

    def facts(self, arrays, key):
        """Return what can be written as JSON. Put the arrays under names that start with `key`."""
        lines = {line for local in self.locals for line in local.lines}
        lines |= {line for place in self.places.values() if place for line in place[1]}
        found = []
        for i, local in enumerate(self.locals):
            arrays |= {f"{key}/inside/{i}/given": local.given, f"{key}/inside/{i}/right": local.right}
            values = {
                name: getattr(local, name) for name in ("name", "scope", "of", "lines", "order", "wrong", "mends")
            }
            found.append(values | {"breaks": local.breaks, "other": local.other, "feeds": local.feeds})
        return {
            "locals": found,
            "left_out": sorted(self.left_out),
            "places": self.places,
            "text": {str(line): self.text(line) for line in lines},
        }


def inside(function, arguments, dy, rights, expected):
    """Return the Inside of an operation, or None where it cannot be rewritten and run again.

    rights     {argument: derivative}
    expected   {argument: gradient or None} that the learner's own functions returned, in their order
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part would be lost
            rewritten = instrumented(function)
            return rewritten and _Looking(rewritten, arguments, dy, rights, expected).found()
    except Exception:  # the learner's code does not run in this way: nothing is said of its intermediates
        return None


def step_places(function, names):
    """Return the facts of an Inside of a step of an optimizer: where each of its results is made, from its text."""
    rewritten = instrumented(function)
    if rewritten is None or not rewritten.forward.returned:
        return None
    line, parts = list(rewritten.forward.returned.items())[-1]
    places = {}
    for name, (made, at) in zip(names, parts):
        lines = rewritten.forward.stored.get(made, [at])
        places[name] = lines[-1], lines, made, {}
    return Inside([], set(), places, rewritten.text).facts({}, "")


class _Looking:
    def __init__(self, rewritten, arguments, dy, rights, expected):
        self.rewritten, self.arguments, self.dy = rewritten, arguments, dy
        self.rights, self.expected = rights, expected
        self.forward, self.scopes = rewritten.forward, rewritten.scopes
        self.derivatives = {}

    def found(self):
        """Return the Inside, or None where the rewritten operation gives other numbers."""
        self.base, gradients = self.run(self.dy)
        if not all(_same(gradients[name], self.expected[name]) for name in self.expected):
            return None
        self.left_out = set()
        known = [local for key in self.base.values if (local := self.local(key)) is not None]
        self.known = {(local.scope, local.name) for local in known}
        self.right = self.all_right(self.base, gradients)
        self.linear = self.linear_ones()
        for local in known:
            if local.wrong:
                local.other = (local.scope, local.name) not in self.linear or ratio(
                    local.given, local.right
                ) is not None
                local.other |= local.given.size == 1
                self.replace(local, gradients)
        known = [local for local in known if local.used]
        self.hold = {(local.scope, local.name) for local in known if not local.wrong}
        for local in known:
            local.feeds = self.feeds(local.scope, local.lines)
        places = {name: self.place(i) for i, name in enumerate(self.expected)}
        known.sort(key=lambda local: local.order)
        return Inside(known, self.left_out, places, self.rewritten.text)

    def run(self, dy, fixes=None):
        """Return (probe, {argument: gradient}) of the whole operation, with `fixes` in place of arrays."""
        probe = Recording(fixes or {})
        copies = {n: np.array(a) if isinstance(a, np.ndarray) else a for n, a in self.arguments.items()}
        _, self.back = self.rewritten.built(probe)(**copies)
        gradients = dict(zip(self.expected, gradients_of(self.back, np.array(dy)[()], catch=True)))
        for scope, function in probe.functions.items():  # one that no gradient calls yet
            if scope not in probe.ends and self.of(self.scopes[scope].name) and len(self.scopes[scope].parameters) == 1:
                gradients_of([function], np.array(dy)[()], catch=True)
        probe.finish()
        return probe, gradients

    def of(self, name):
        """Return the forward name whose gradient this name stands for, or None."""
        found = re.fullmatch("d_?(.+)", name)
        names = {*self.forward.stored, *self.forward.parameters} - self.forward.loops
        return found[1] if found and found[1] in names else None

    def local(self, key):
        """Return the Local of (scope, name), or None where it is not compared."""
        scope, name = key
        of, values = self.of(name), [self.base.values[key][line] for line in self.base.lines[key]]
        if of is None or self.is_result(scope, name) or not is_number(last := values[-1]):
            return None
        rights = [d for v in self.versions(of) if (d := self.derivative(v)) is not None]
        if not np.ndim(last) and all(d.ndim for d in rights):
            return None  # 0.0, say, where nobody needs it
        self.left_out.add(key)  # unless it is compared
        if key in self.base.changing or name in self.scopes[scope].loops | self.scopes[scope].parameters:
            return None
        rights = [right for right in rights if right.shape == np.shape(last)]
        pairs = [(given, right) for given in values for right in rights if is_number(given)]
        same = [(given, right) for given, right in pairs if agree(np.asarray(given), right)]
        if not rights or (not same and not all(agree(right, rights[-1]) for right in rights)):
            return None
        self.left_out.discard(key)
        given, right = same[-1] if same else (last, rights[-1])
        return Local(name, scope, of, self.base.lines[key], self.base.order[key], np.asarray(given, float), right)

    def is_result(self, scope, name):
        """Whether this is what a gradient function returns: it is judged as a gradient."""
        functions = [] if callable(self.back) else list(self.back)
        if any(self.base.functions.get(scope) is not None and self.code(scope) is f.__code__ for f in functions):
            return name in (self.scopes[scope].name, *self.returned_names(scope))
        return callable(self.back) and self.code(scope) is self.back.__code__ and name in self.returned_names(scope)

    def code(self, scope):
        return getattr(self.base.functions.get(scope), "__code__", None)

    def returned_names(self, scope):
        return [name for parts in self.scopes[scope].returned.values() for name, _ in parts if name]

    def versions(self, name):
        """Return the numbers of the events in which the forward pass makes an array of this name."""
        made = self.base.made_values
        return [n for n, (of, value) in enumerate(made) if of == name and is_number(value) and np.size(value) <= MOST]

    def derivative(self, number):
        """Return the derivative of the loss by what was made in this event, or None where it cannot be taken."""
        if number not in self.derivatives:
            self.derivatives[number] = self.stepped(number)
        return self.derivatives[number]

    def stepped(self, number):
        shape = np.shape(self.base.made_values[number][1])
        derivative = np.empty(shape)
        for index in np.ndindex(shape):
            by = np.zeros(shape, complex)
            by[index] = STEP * 1j
            derivative[index] = self.loss(number, by).imag / STEP
        direction = np.random.default_rng(0).standard_normal(shape)
        ends = [self.loss(number, by * direction).real for by in (DIFFERENCE, -DIFFERENCE)]
        along, difference = (derivative * direction).sum(), (ends[0] - ends[1]) / (2 * DIFFERENCE)
        scale = max(abs(along), abs(difference), np.abs(derivative).max(initial=0))
        return derivative if np.isfinite(scale) and abs(along - difference) <= 1e-4 * scale else None

    def loss(self, number, by):
        """Return the loss with `by` added to what is made in an event of the forward pass."""
        # Complex, so that an array that is made like an argument keeps imaginary parts.
        copies = {n: a.astype(complex) if is_float(a) else a for n, a in self.arguments.items()}
        y, _ = self.rewritten.built(Pushing(number, by))(**copies)
        return (y * self.dy).sum()

    def all_right(self, probe, gradients):
        """Return the names of all gradients and (scope, name) of all locals that are right in a run."""
        found = {name for name, right in self.rights.items() if is_number(g := gradients.get(name)) and agree(g, right)}
        for key in self.known:
            rights = [d for v in self.versions(self.of(key[1])) if (d := self.derivative(v)) is not None]
            given = [np.asarray(value) for value in probe.values.get(key, {}).values() if is_number(value)]
            if any(agree(value, right) for value in given for right in rights):
                found.add(key)
        return found

    def replace(self, local, gradients):
        """Find out what becomes right, and what wrong, with the right numbers in place of a local's."""
        key = (local.scope, local.name)
        right = local.right if local.right.ndim else local.right[()]
        probe, now = self.run(self.dy, {(*key, local.lines[-1]): right})
        written = all(gradients[name] is not None for name in self.rights)
        if written and all(_same(now[name], gradients[name]) for name in gradients):
            local.used = False
        now = self.all_right(probe, now)
        local.breaks = bool(self.right - now)
        local.mends = sorted({n if isinstance(n, str) else n[1] for n in now - self.right} - {local.name})

    def linear_ones(self):
        """Return (scope, name) of the arrays that are linear in dy and not the same for every dy, as gradients are."""
        other = np.random.default_rng(1).standard_normal(np.shape(self.dy))
        runs = [self.base.values, *(self.run(dy)[0].values for dy in (other, self.dy + other))]
        found = set()
        for key in self.base.values:
            one, two, both = (np.asarray(list(run.get(key, {0: None}).values())[-1], object) for run in runs)
            same_shape = one.ndim > 0 and one.shape == two.shape == both.shape
            if same_shape and close(both.astype(complex), (one + two).astype(complex)):
                found.add(key)
        return found

    def place(self, number):
        """Return (order, lines, name, feeds) of where the gradient of this number is made, or None."""
        function = self.back if callable(self.back) else list(self.back)[number]
        code = getattr(function, "__code__", None)
        scope = next((scope for scope in self.base.functions if self.code(scope) is code), None)
        first, count = self.rewritten.first, len(self.rewritten.lines)
        if scope is None and code and first <= code.co_firstlineno < first + count:  # a lambda
            return LAST, [code.co_firstlineno], None, {}
        if scope is None or scope not in self.base.ends:
            return None
        order, line = self.base.ends[scope]
        parts = self.scopes[scope].returned[line]
        part = number if callable(self.back) and len(parts) == len(self.expected) else 0
        name, at = parts[part] if part < len(parts) else (None, line)
        lines = [at]
        if (scope, name) in self.base.values:
            order = self.base.order[scope, name]
            lines = sorted({*self.base.lines[scope, name], *self.scopes[scope].looped.get(name, ())})
        feeds = self.feeds(scope, lines)
        feeds.pop(name, None)  # before a loop, say
        return order, lines, name, feeds

    def feeds(self, scope, lines):
        """Return {name: [lines]} of the scope's own arrays that go into what these lines make and are not compared."""
        reads, found, left = self.scopes[scope].reads, {}, list(lines)
        while left:
            for name in reads.get(left.pop(), ()):
                values = self.base.values.get((scope, name))
                known = (scope, name) in self.hold or name in self.scopes[scope].parameters or name in found
                is_array = (
                    name != "_"
                    and values
                    and (list(values.values())[-1] is not None or (scope, name) in self.base.several)
                )
                if is_array and not known and self.base.lines[scope, name] != lines:
                    found[name] = self.base.lines[scope, name]
                    left += found[name]
        return found


def _same(a, b):
    if is_number(a) and is_number(b):
        return np.array_equal(a, b, equal_nan=True)
    return type(a) is type(b)
