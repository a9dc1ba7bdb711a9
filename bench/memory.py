"""Peak memory (largest resident set) of whole processes:
of the chapter with the book's padding, and of steps that train all layers.

Read-only weights are memory-mapped, and count once they have been read.
PyTorch's chapter is stopped after some steps and one evaluation of its losses, when it has reached its peak.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .chapter import QUICK_STEPS, run_numpygpt, run_pytorch
from .machine import installed
from .results import Row, Section
from .step import numpygpt_step, pytorch_step
from .turns import fresh

REPETITIONS = 2
STEPS = 3  # AdamW's moments exist from the second step on


def measure(options):
    chapters, steps = ([], []), ([], [])
    for _ in range(options.repetitions):
        with TemporaryDirectory(prefix="bench-memory-") as scratch:
            scratch = Path(scratch)
            chapters[0].append(fresh(peak, run_numpygpt, options, scratch / "run", []))
            steps[0].append(fresh(peak, repeat, numpygpt_step, options.model))
            if installed("torch"):
                chapters[1].append(fresh(peak, run_pytorch, options, scratch / "peer.json", QUICK_STEPS))
                steps[1].append(fresh(peak, repeat, pytorch_step, options.model))
    rows = [Row("chapter, book's padding", "GB", *chapters), Row("step, `all`", "GB", *steps)]
    return Section("memory", __doc__, rows)


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
