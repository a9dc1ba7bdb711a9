"""The file in which an unfinished training is kept, so that it goes on, bit for bit, as if nothing had been.

It is a safetensors file: the arrays, and the rest as JSON in a tensor of its own."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..checkpoints.safetensors import open_safetensors, write_safetensors
from ..system.errors import InputError
from ..system.interrupt import ctrl_c_waits

ANY = "any"  # a setting that may be another when going on


def save_state(path, arrays, progress, settings):
    """Write {name: array} and `progress`, a JSON-able dict, whole or not at all; `settings`, JSON-able, is what must
    be the same when going on."""
    text = json.dumps(progress | {"settings": settings})
    write_safetensors(path, arrays | {"progress": np.frombuffer(text.encode(), np.uint8)})


def load_state(path, arrays, settings):
    """(progress, {name: array} of what else is stored), after copying what save_state wrote into `arrays`.

    Raises InputError where the file's settings are others, naming the first difference, or it is damaged.
    """
    stored = open_safetensors(path)
    try:
        progress = json.loads(stored.pop("progress").read().tobytes())
        found = progress["settings"]
        differing = [
            key for key in settings if found.get(key) != settings[key] and ANY not in (found.get(key), settings[key])
        ]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged; remove it to start anew") from None
    if differing:
        key = differing[0]
        raise InputError(
            f"{path}: that run has {key} = {found.get(key)!r}, not {settings[key]!r}; repeat its settings or remove it"
        )
    for name, array in arrays.items():
        if name not in stored or stored[name].shape != array.shape:
            raise InputError(f"{path}: tensor {name} is missing or of another shape; remove it to start anew")
        array[...] = stored.pop(name).read()
    return progress, {name: np.array(tensor.read()) for name, tensor in stored.items()}


class ResumeFile:
    """Where `fine_tune` keeps its State: every so many seconds, after every epoch, and at Ctrl-C.

    path    where it finds the file, it goes on from there, with the same settings and messages; when all is done the
            caller removes it
    every   seconds between two saves
    """

    def __init__(self, path: str | Path, every: float = 60.0):
        self.path, self.every = Path(path), every
        self.began = self.saved = time.monotonic()

    def seconds(self):
        """Since this was made, and what the processes before had taken when they saved last."""
        return time.monotonic() - self.began

    def due(self):
        return time.monotonic() - self.saved >= self.every

    @contextmanager
    def keeping(self, state, settings, ranks):
        """`with` this, a function of a row that saves the state when it is due.

        Brings the state to where the file has it, first. Ctrl-C waits until the state is saved, then it is raised.
        """
        self.load(state, settings)
        with ctrl_c_waits() as ctrl_c_came:

            def keep(row):
                if any(ranks.gather(ctrl_c_came())):
                    ranks.once(self.save, state, settings)
                    raise KeyboardInterrupt
                if not ranks.rank and (self.due() or "train_accuracy" in row):
                    self.save(state, settings)

            yield keep

    def save(self, state, settings):
        arrays, progress = state.stored()
        save_state(self.path, arrays, progress | {"seconds": self.seconds()}, settings)
        self.saved = time.monotonic()

    def load(self, state, settings):
        """Bring the State to where the file has it, if there is a file. Raises InputError, see load_state."""
        if self.path.exists():
            progress, others = load_state(self.path, state.arrays(), settings)
            try:
                state.restore(progress, others)
                self.began -= progress["seconds"]
            except (KeyError, ValueError, TypeError):
                raise InputError(f"{self.path}: damaged; remove it to start anew") from None
