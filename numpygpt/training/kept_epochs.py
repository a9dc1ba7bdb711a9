"""The trained parameters at the end of the last epochs, kept in a run folder: what TracIn follows a training by."""

import re
from pathlib import Path

import numpy as np

from ..checkpoints.safetensors import read_safetensors, write_safetensors
from ..system.errors import InputError
from .schedule import learning_rate

LIMIT = 256 << 20  # bytes of all kept epochs together
RATE = "rate_of_a_message"


def keep_epoch(folder, params, epoch, rate, limit=LIMIT):
    """Write the parameters {name: array} at the end of an epoch to epoch_N.safetensors.

    As many of the last epochs are kept as `limit` bytes hold; older files are deleted.

    rate   the learning rate per message, η/B
    """
    folder = Path(folder)
    most = limit // sum(array.nbytes for array in params.values())
    if most:
        write_safetensors(_path(folder, epoch), params | {RATE: np.array([rate])})
    for old in range(1, epoch - most + 1):
        _path(folder, old).unlink(missing_ok=True)


def kept_epochs(folder):
    """Return [(η/B, {name: array})] of the epochs that a run kept, in order. Raises InputError for a damaged file."""
    found = []
    for path in sorted(Path(folder).glob("epoch_*.safetensors"), key=_number):
        arrays = read_safetensors(path)
        rate = arrays.pop(RATE, np.empty(0))
        if rate.shape != (1,) or not np.isfinite(rate[0]):
            raise InputError(f"{path} is damaged: it has no {RATE}. Delete it")
        found.append((float(rate[0]), arrays))
    return found


def mean_rate(epoch, updates, epochs, lr, warmup, schedule):
    """Return the mean learning rate over the `updates` of an epoch, 1 to epochs."""
    steps = range((epoch - 1) * updates, epoch * updates)
    every = epochs * updates
    return float(np.mean([learning_rate(step, every, lr, round(warmup * every), schedule) for step in steps]))


def _path(folder, epoch):
    return folder / f"epoch_{epoch}.safetensors"


def _number(path):
    digits = re.search(r"\d+", path.name)
    return int(digits[0]) if digits else 0
