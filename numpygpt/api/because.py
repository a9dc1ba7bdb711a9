"""The training messages of a run, as the teachers of its classifier."""

import json
from copy import copy

from ..explain.because import Teachers
from ..system.errors import InputError
from ..text.split import SplitSet
from ..training.kept_epochs import kept_epochs
from ..training.label_weights import label_weights
from ..training.loader import message_frame


def teachers(clf, training=None, method=None) -> Teachers:
    """Return the Teachers of a classifier: of the messages `training`, or of those of the run that it was loaded from.

    Raises InputError where there is no such run, or it kept nothing that the method needs.
    """
    settings: dict = {}
    if clf._run is not None:
        settings = json.loads((clf._run / "run.json").read_bytes())
    if training is None:
        path = clf._run and clf._run / "train.csv"
        if not path or not path.is_file():
            raise InputError(
                "because: this classifier has no run folder with a train.csv. Load one that `python -m numpygpt.train` "
                "wrote, or give training=[(text, label), …]"
            )
        ignored = settings.get("ignore_index")
        training = [pair for pair in SplitSet(path, clf.labels) if ignored is None or pair[1] != clf.labels[ignored]]
    training = message_frame(training)
    choice = settings.get("label_weights")
    weights = label_weights(choice, clf.numbers(training["Label"]), len(clf.labels)) if choice else None
    return Teachers(clf, training, _epochs(clf), method, settings.get("label_smoothing") or 0.0, weights)


def _epochs(clf):
    """Return [(η/B, classifier)] of the epochs that the run kept."""
    found = []
    for rate, arrays in kept_epochs(clf._run) if clf._run is not None else ():
        params, scale = clf._unmerged
        if wrong := [name for name, array in arrays.items() if name not in params or params[name].shape != array.shape]:
            raise InputError(f"{clf._run}: the kept epochs have another {wrong[0]} than the model. Delete them")
        at = copy(clf)
        at.params, at.lora_scale, at._trainable = params | arrays, scale, frozenset(arrays)
        found.append((rate, at))
    return found
