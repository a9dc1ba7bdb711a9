"""Define what a user can set, as a command's option or a function's argument: the bounds of numbers, and all choices.

Nothing here imports NumPy, so that `--help` of a command answers at once.
"""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class Number:
    """The set of allowed values: an int or float from `low` to `high`.

    above      exclude `low` itself
    optional   include None

    str(number) describes the values, for an error.
    """

    kind: type
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    optional: bool = False

    def __contains__(self, value):
        """Accept NumPy's numbers, but not True and False."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, Integral if self.kind is int else Real):
            return False
        try:
            value = self.kind(value)
        except OverflowError:
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self):
        noun = "whole number" if self.kind is int else "number"
        bounds = [f"{'above' if self.above else 'at least'} {self.low}"] if self.low > -math.inf else []
        bounds += [f"at most {self.high}"] if self.high < math.inf else []
        return " ".join([f"a {noun}", " and ".join(bounds)]).strip()


_SEED = Number(int, 0, 2**63 - 1)
_COUNT = Number(int, 1)
_RATE = Number(float, 0, 1e3, above=True)
_DECAY = Number(float, 0, 1e3)
_LIMIT = Number(float, 0, above=True)  # inf means no limit

CLASSIFIER = {"rank": _COUNT, "alpha": Number(float, 0, 1e6, above=True), "seed": _SEED}

LOADING = {"seed": _SEED, "heads": replace(_COUNT, optional=True)}

FINE_TUNING = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "lr": replace(_RATE, optional=True),
    "weight_decay": _DECAY,
    "warmup": Number(float, 0, 1),
    "clip": _LIMIT,
    "label_smoothing": Number(float, 0, 1),
    "accumulate": _COUNT,
    "eval_every": _COUNT,
    "eval_batches": _COUNT,
    "ignore_index": Number(int, optional=True),
    "seed": _SEED,
}

PRETRAINING = {
    "steps": _COUNT,
    "batch_size": _COUNT,
    "context": Number(int, 2),
    "lr": _RATE,
    "warmup": Number(int, 0),
    "weight_decay": _DECAY,
    "clip": _LIMIT,
    "seed": Number(int, 0, 2**32 - 1),
}

OPTIMIZER = {"lr": Number(float, 0, 1e3), "weight_decay": _DECAY, "eps": Number(float, 0)}

EXPLAINING = {"tolerance": Number(float, 0, 1)}

TEACHERS = {"k": _COUNT}

SAMPLING = {
    "tokens": _COUNT,
    "temperature": Number(float, 0, above=True),
    "top_k": replace(_COUNT, optional=True),
    "top_p": Number(float, 0, 1, above=True, optional=True),
    "seed": Number(int, 0),
}

INITIALISATIONS = ("random", "pytorch")
POSITIONS = ("last", "first", "mean")
SCHEDULES = ("constant", "cosine")
LABEL_WEIGHTS = ("balanced",)
BASELINES = ("padding", "zero")

# The messages of a label that are used
SMALLEST, ALL = "smallest", "none"  # what may be asked for instead of a number
FEWEST = 3  # the number of which a split by label gives one to every set

# Pretraining
HEADS = 5  # of a new model
PART = 1024  # tokens per core whose activations are in memory at a time: few enough for the cache


def checked(numbers: Mapping[str, Number], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return {name: value} with each value as a plain int or float, or None.

    Raises InputError for the first value outside its Number.
    """
    for name, value in values.items():
        if value not in numbers[name]:
            raise InputError(f"{name}: expected {numbers[name]}, got {textwrap.shorten(repr(value), 60)}")
    return {name: value if value is None else numbers[name].kind(value) for name, value in values.items()}
