"""The check of a trace: entries of every hand-written gradient, beside the derivative by complex step and by finite
difference.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...model.tape import Tape
from ...ops.linear import linear
from ..checking.complex_step import STEP

DIFFERENCE = 1e-6  # of the finite difference
ENOUGH = 10  # digits in which a gradient and the complex step must agree
ENTRIES = 3
HS = [10.0**-exponent for exponent in range(1, 16)]


@dataclass(frozen=True)
class Check:
    """One entry of an argument's gradient: by hand, by complex step, and by central difference.

    digits              the number of digits in which the first two agree
    difference_digits   the number of digits in which the last two agree
    """

    argument: str
    index: tuple[int, ...]
    by_hand: float
    complex_step: float
    difference: float

    @property
    def digits(self):
        return _digits(self.by_hand, self.complex_step)

    @property
    def difference_digits(self):
        return _digits(self.difference, self.complex_step)

    @property
    def holds(self):
        return bool(self.digits >= ENOUGH)  # false for a NaN, too


class PushedTape(Tape):
    """A Tape that repeats a forward pass from one step on, for several copies of the message laid end to end.

    pushes   [(argument, index, by)], one for each copy: the entry of the step's argument that is changed

    Only this step sees the changed argument; other users of the same array see the original. The loss is an array with
    one number for each copy.
    """

    def __init__(self, params, steps, at, pushes):
        super().__init__(params)
        self.steps, self.at, self.pushes, self.count = steps, at, pushes, 0

    def __call__(self, op, x, *names, **settings):
        number, self.count = self.count, self.count + 1
        if number == self.at:
            y = [pushed(self.steps[number], *push) for push in self.pushes]
            return (np.concatenate(y) if y[0].ndim else np.array(y)), None
        if number < self.at:
            return np.concatenate([self.steps[number].result] * len(self.pushes)), None
        if op is self.steps[-1].op:  # the loss, of each copy
            parameters, settings = [self.params[name] for name in names], self.steps[-1].settings
            return np.array([op(copy, *parameters, **settings)[0] for copy in np.split(x, len(self.pushes))]), None
        if op is linear and np.iscomplexobj(x):
            return self.linear(x, *names), None
        return super().__call__(op, x, *names, **settings)

    def linear(self, x, weight, bias):
        """Return the result of a linear layer whose x alone is complex, with real products: a complex one takes longer.

        Such a layer treats the two parts alone. The real part is the same in all copies.
        """
        weight, bias, copies = self.params[weight], self.params[bias], len(self.pushes)
        real, _ = linear(x[: len(x) // copies].real, weight, bias)
        imaginary, _ = linear(x.imag, weight, np.zeros_like(bias))
        return np.tile(real, (copies, 1)) + 1j * imaginary


def pushed(step, argument, index, by):
    """Return the step's result with one entry of one argument changed by `by`. It is complex if `by` is."""
    moved = np.array(step.arguments[argument], np.result_type(type(by)))
    moved[index] += by
    return _result(step, argument, moved)


def _result(step, argument, moved):
    return step.op(**step.arguments | {argument: moved}, **step.settings)[0]


def checks(trace, step, entries=ENTRIES):
    """Return [Check] for entries of each of the step's gradients, by repeating the forward pass from this step on."""
    operations = [step for step in trace.steps if step.number is not None]
    last_block = next(s.number for s in operations if s.name.startswith(f"h.{trace.config.n_layer - 1}."))
    how = {}
    if trace.pooling and step.number < last_block:  # then the row that is read is all that the last block must compute
        how["pooling"] = replace(trace.pooling, folded=True)

    def losses(pushes):
        return trace.run(PushedTape(trace.params, operations, step.number, pushes), len(pushes), **how)[0]

    return _checks(step, losses, entries)


def operation_checks(step, entries=ENTRIES):
    """Return [Check] of the operation alone, for the loss sum(result * dy), with the dy of its backward pass."""
    return _checks(step, lambda pushes: np.array([(pushed(step, *push) * step.dy).sum() for push in pushes]), entries)


def _checks(step, losses, entries):
    places = [(name, index) for name in step.gradients for index in entries_of(step, name, entries)]
    complex_step = losses([(*place, STEP * 1j) for place in places]).imag / STEP
    up, down = np.split(losses([(*place, by) for by in (DIFFERENCE, -DIFFERENCE) for place in places]), 2)
    difference = (up - down) / (2 * DIFFERENCE)
    return [
        Check(name, index, float(step.gradients[name][index]), *map(float, pair))
        for (name, index), *pair in zip(places, complex_step, difference)
    ]


def entries_of(step, argument, entries):
    """Return indices of entries of the argument's gradient. Of qkv, the queries, keys and values have equal shares."""
    gradient = step.gradients[argument]
    if argument != "qkv":
        return chosen(gradient, entries)
    D = gradient.shape[1] // 3
    parts = [chosen(part, -(-entries // 3)) for part in np.split(gradient, 3, axis=1)]
    return [(row, column + number * D) for number, part in enumerate(parts) for row, column in part]


def chosen(gradient, entries):
    """Return indices of the largest entry, and of others at least a hundredth as large, spread over the array."""
    sizes = np.abs(gradient).ravel()
    largest = int(sizes.argmax())
    others = np.flatnonzero(sizes >= sizes[largest] / 100)
    spread = others[np.linspace(0, len(others) - 1, min(entries, len(others))).astype(int)]
    places = list(dict.fromkeys([largest, *map(int, spread)]))[:entries]
    return [tuple(map(int, np.unravel_index(place, gradient.shape))) for place in places]


def errors_by_step(step, argument, index):
    """Return [(h, error of the central difference, error of the complex step)] of one entry, for decreasing h.

    The errors are those of the operation alone, for the loss sum(result * dy), relative to the hand-written gradient.
    """
    exact = float(step.gradients[argument][index])
    arrays = {dtype: np.array(step.arguments[argument], dtype) for dtype in (float, complex)}

    def loss(by):
        moved = arrays[type(by)]
        before, moved[index] = moved[index], moved[index] + by
        found = (_result(step, argument, moved) * step.dy).sum()
        moved[index] = before
        return found

    def error(value):
        return abs(float(value) - exact) / abs(exact) if exact else float("nan")

    return [(h, error((loss(h) - loss(-h)) / (2 * h)), error(loss(h * 1j).imag / h)) for h in HS]


def _digits(a, b):
    """Return the number of decimal digits in which two numbers agree, at most 16."""
    if a == b:
        return 16.0
    return float(np.clip(-np.log10(abs(a - b) / max(abs(a), abs(b))), 0, 16)) if np.isfinite(a - b) else 0.0
