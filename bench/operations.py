"""The time of each operation in a step, forward and backward, and of AdamW, slowest first.

"Products at sgemm's rate" is the time of the linear layers' and the output layer's matrix products at the rate of one
large product (960 rows by the MLP's first matrix), measured in turns with the steps. No step can take less. Operations
that take less than a hundredth of a step are added up. Here the update comes after the backward pass, so that it can be
measured; in training it comes during it.
"""

from collections import Counter
from statistics import median
from unittest import mock

import numpy as np

from numpygpt.model.tape import Tape
from numpygpt.training.adamw import AdamW

from .language import numpygpt_parts
from .results import Row, Section
from .step import numpygpt_step
from .turns import timed

REPETITIONS = 10
PRODUCTS = 20  # sgemms, whose median is used
LEAST = 0.01  # share of a step; operations that take less are added up


def measure(options):
    gradients, update = numpygpt_parts(options.model)
    steps = {
        "`last_block`": numpygpt_step(options.model, "last_block", at_once=False),
        "`all`": numpygpt_step(options.model, "all", at_once=False),
        "language": lambda: update(gradients()[1]),
    }
    clocked, rates = {}, []
    for what, step in steps.items():
        for _ in range(3):
            step()  # the first steps allocate memory
        clocked[what] = []
        for _ in range(options.repetitions):
            rates.append(_sgemm_rate())
            clocked[what].append(_clocked(step))
    rate, rows = median(rates), []
    for what, runs in clocked.items():
        whole = [1000 * seconds for seconds, _, _ in runs]
        shares = {part: [1000 * parts[part] for _, parts, _ in runs] for part in runs[0][1]}
        large = [part for part in shares if median(shares[part]) >= LEAST * median(whole)]
        rest = [total - sum(shares[part][i] for part in large) for i, total in enumerate(whole)]
        rows.append(Row(f"{what}, whole step", "ms", whole, []))
        rows.append(Row(f"{what}: products at sgemm's rate", "ms", [1000 * runs[0][2] / rate], []))
        for part in sorted(large, key=lambda part: -median(shares[part])):
            rows.append(Row(f"{what}: {part}", "ms", shares[part], []))
        rows.append(Row(f"{what}: all else", "ms", rest, []))
    return Section("operations", __doc__, rows, [f"sgemm: {rate / 1e9:.0f} GFLOP/s."])


def _clocked(step):
    """Return (seconds of a step, {part of it: seconds}, floating-point operations of its large matrix products)."""
    parts, products, tape, update = Counter(), [], Tape.__call__, AdamW.step

    def clocked(part, function, *args, **settings):
        seconds, value = timed(lambda: function(*args, **settings))
        parts[part] += seconds
        return value

    def clocked_walk(self, op, x, *names, **settings):
        name = getattr(op, "__name__", None) or op.func.__name__  # attention is a partial function
        needs = self.something_learns, bool({*names} & self.trainable)
        y, backward = clocked(f"{name}, forward", tape, self, op, x, *names, **settings)
        if name in ("linear", "output_loss"):
            products.append(2 * len(x) * self.params[names[0]].size * (1 + sum(needs)))
        return y, lambda dy: clocked(f"{name}, backward", backward, dy)

    with (
        mock.patch.object(Tape, "__call__", clocked_walk),
        mock.patch.object(AdamW, "step", lambda self, grads: clocked("AdamW", update, self, grads)),
    ):
        seconds, _ = timed(step)
    return seconds, parts, sum(products)


def _sgemm_rate():
    """Return the floating-point operations per second of the product that the subject `forward` measures."""
    a, b = (np.random.default_rng(123).standard_normal(shape, np.float32) for shape in ((960, 768), (768, 3072)))
    a @ b
    seconds = [timed(lambda: a @ b)[0] for _ in range(PRODUCTS)]
    return 2 * len(a) * b.size / median(seconds)
