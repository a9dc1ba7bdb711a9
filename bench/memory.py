"""Peak memory (largest resident set) of a process that makes steps of all layers.

Read-only weights are memory-mapped, and count once they have been read. The subject `chapter` has its runs' peaks.
"""

import sys

from .machine import installed
from .results import Row, Section
from .step import numpygpt_step, pytorch_step
from .turns import fresh

REPETITIONS = 2
STEPS = 3  # AdamW's moments exist from the second step on


def measure(options):
    sides = [numpygpt_step, *([pytorch_step] if installed("torch") else [])]
    peaks = [[fresh(peak, repeat, side, options.model) for _ in range(options.repetitions)] for side in sides]
    return Section("memory", __doc__, [Row("step, `all`", "GB", *peaks)])


def repeat(make_step, model):
    """Make STEPS steps with all layers trainable."""
    step = make_step(model, "all")
    for _ in range(STEPS):
        step()


def peak(function, *args):
    """Call function(*args), and return the larger peak memory in GB of this process and its children.

    On Linux a process starts with its parent's peak, so its ancestors must be small.
    """
    import resource  # not on Windows

    function(*args)
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return largest * (1 if sys.platform == "darwin" else 1024) / 1e9
