"""The file that stores an unfinished training run. A resumed run continues bit for bit.

It is a safetensors file with the arrays, and with everything else as JSON in a tensor of its own.
"""

import json
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..checkpoints.safetensors import open_safetensors, write_safetensors
from ..system.errors import InputError
from ..system.interrupt import ctrl_c_waits

ANY = "any"  # a setting that may differ when a run is resumed


def save_state(path, arrays, progress, settings):
    """Write {name: array} and the JSON-able dicts `progress` and `settings` to a file, atomically.

    `load_state` compares the settings.
    """
    text = json.dumps(progress | {"settings": settings})
    write_safetensors(path, arrays | {"progress": np.frombuffer(text.encode(), np.uint8)})


def load_state(path, arrays, settings):
    """Read a file of save_state into `arrays`. Return (progress, {name: array} of the other arrays in the file).

    Raises InputError where the file's settings differ, naming the first difference, or the file is damaged.
    """
    stored = open_safetensors(path)
    try:
        progress = json.loads(stored.pop("progress").read().tobytes())
        found = progress["settings"]
        differing = [
            key for key in settings if found.get(key) != settings[key] and ANY not in (found.get(key), settings[key])
        ]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged. Delete it to start again") from None
    if differing:
        key = differing[0]
        raise InputError(
            f"{path}: that run has {key} = {found.get(key)!r}, not {settings[key]!r}. Use its settings or delete it"
        )
    for name, array in arrays.items():
        if name not in stored or stored[name].shape != array.shape:
            raise InputError(f"{path}: tensor {name} is missing or has another shape. Delete the file to start again")
        array[...] = stored.pop(name).read()
    return progress, {name: np.array(tensor.read()) for name, tensor in stored.items()}


class ResumeFile:
    """The file where `fine_tune` saves its State: every few seconds, after every epoch, and at Ctrl-C.

    Parameters
    ----------
    path : str or Path
        The file. If it exists, `fine_tune` resumes from it, and settings and messages must be the same. Delete the file
        when the run is finished.
    every : float
        Seconds between saves.

    Examples
    --------
    >>> import numpygpt, os
    >>> messages = [("See you at six", "ham"), ("You have won a prize", "spam")] * 4
    >>> def train(epochs, resume):
    ...     clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
    ...     return numpygpt.fine_tune(clf, messages, messages, epochs=epochs, resume=resume)
    >>> len(train(2, ResumeFile("run.safetensors"))) == len(train(2, ResumeFile("run.safetensors")))
    True
    """

    def __init__(self, path: str | Path, every: float = 60.0):
        self.path, self.every = Path(path), every
        self.began = self.saved = time.monotonic()

    def seconds(self):
        """Return the seconds since this object was created, plus those of earlier processes up to their last save."""
        return time.monotonic() - self.began

    def due(self):
        return time.monotonic() - self.saved >= self.every

    @contextmanager
    def keeping(self, state, settings, ranks):
        """Restore the state from the file. As a context manager, give keep(row), which saves the state when it is due.

        After Ctrl-C, keep saves the state first and then raises KeyboardInterrupt.
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
        """Restore the State from the file, if there is one. Raises InputError as load_state does."""
        if self.path.exists():
            progress, others = load_state(self.path, state.arrays(), settings)
            try:
                state.restore(progress, others)
                self.began -= progress["seconds"]
            except (KeyError, ValueError, TypeError):
                raise InputError(f"{self.path} is damaged. Delete it to start again") from None
