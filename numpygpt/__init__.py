"""GPT-2 in NumPy alone, every gradient written by hand, fine-tuned into a text classifier."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api.check import check
    from .api.classifier import Classifier
    from .api.estimators import GPTClassifier, GPTFeatures
    from .api.gpt import GPT, load
    from .api.run import load_run
    from .system.errors import InputError
    from .training.adamw import AdamW
    from .training.curvature import hessian_product
    from .training.fine_tune import fine_tune
    from .training.plots import plot

__version__ = "0.1.0"
__all__ = ["GPT", "AdamW", "Classifier", "GPTClassifier", "GPTFeatures", "InputError", "check", "fine_tune"]
__all__ += ["hessian_product", "load", "load_run", "plot"]

# The module of each name, which is imported when the name is first used.
_HOME = {
    "check": "api.check",
    "GPT": "api.gpt",
    "load": "api.gpt",
    "InputError": "system.errors",
    "AdamW": "training.adamw",
    "fine_tune": "training.fine_tune",
    "hessian_product": "training.curvature",
    "plot": "training.plots",
    "load_run": "api.run",
    "Classifier": "api.classifier",
    "GPTClassifier": "api.estimators",
    "GPTFeatures": "api.estimators",
}


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*__all__, "__version__"])  # Python adds to globals() what was imported
