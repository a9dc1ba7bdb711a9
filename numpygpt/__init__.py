"""GPT-2 in NumPy alone, every gradient written by hand, fine-tuned into a text classifier."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoints.gpt import GPT, load
    from .system.errors import InputError
    from .training.adamw import AdamW
    from .training.fine_tune import fine_tune
    from .training.plots import plot
    from .training.run_folder import load_run
    from .training.text_classifier import Classifier

__version__ = "0.1.0"
__all__ = ["GPT", "AdamW", "Classifier", "InputError", "fine_tune", "load", "load_run", "plot"]

# OpenBLAS reads this when it is loaded, with NumPy. After a product its threads wait for the next one in a busy loop,
# for 2^26 cycles unless told, and keep the cores from the Python threads of blas.parallel; 2^18 cycles, a tenth of a
# millisecond, bridge most gaps.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")

_HOME = {  # where each name lives, to be imported when it is first used
    "GPT": "checkpoints.gpt",
    "load": "checkpoints.gpt",
    "InputError": "system.errors",
    "AdamW": "training.adamw",
    "fine_tune": "training.fine_tune",
    "plot": "training.plots",
    "load_run": "training.run_folder",
    "Classifier": "training.text_classifier",
}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
