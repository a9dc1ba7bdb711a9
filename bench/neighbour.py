"""The same work on an idle machine, and beside one other program that uses all cores.

The work is the default run (`python -m numpygpt.train`, `mini` and the sample, timed as a whole process), training
steps at the model's sizes, and, once, `python -m numpygpt.train --model gpt2 --data sms`. The neighbour multiplies
matrices in an endless loop, on as many threads as there are cores. Each program's fair share is half of the machine, so
twice the time is the best possible result.
"""

import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from numpygpt.system.command import Progress
from numpygpt.system.memory import keep_freed_memory

from . import default
from .chapter import DEFAULT, run_numpygpt
from .results import Row, Section
from .step import numpygpt_step
from .turns import fresh, timed

REPETITIONS = 5
NEIGHBOUR = "import numpy as np\na = np.ones((2000, 2000), np.float32)\nwhile True:\n    a @ a"
STARTED = 1.0  # seconds until the neighbour has imported NumPy


def measure(options):
    work = {"the default run": (default_run, options.repetitions)}
    for choice, steps in (("last_block", 30), ("all", 1)):
        run = partial(fresh, seconds_a_step, options.model, choice, steps)
        work[f"step, `{choice}`"] = (run, options.repetitions)
    work[DEFAULT] = (partial(chapter, options), 1)
    progress, done = Progress("neighbour", "runs"), 0
    rows, total = [], 2 * sum(repetitions for _, repetitions in work.values())
    for what, (run, repetitions) in work.items():
        alone, beside = [], []
        for _ in range(repetitions):
            alone.append(run())
            with neighbour():
                beside.append(run())
            done += 2
            progress(done, total)
        rows += [
            Row(f"{what}, alone", "s", alone, []),
            Row(f"{what}, beside a neighbour", "s", beside, []),
            Row(f"{what}: times as long", "×", [median(beside) / median(alone)], []),
        ]
    progress.clear()
    return Section("neighbour", __doc__, rows)


def default_run():
    """Return the seconds of one `python -m numpygpt.train`."""
    return timed(default.run_numpygpt)[0]


def chapter(options):
    """Return the seconds of one `python -m numpygpt.train` with the default recipe."""
    with TemporaryDirectory(prefix="bench-neighbour-") as folder:
        return run_numpygpt(options, Path(folder, "run"), [])["seconds"]


def seconds_a_step(model, choice, steps):
    """Return the mean seconds of `steps` steps, after one warm-up step."""
    keep_freed_memory()
    step = numpygpt_step(model, choice)
    step()
    return timed(lambda: [step() for _ in range(steps)])[0] / steps


@contextmanager
def neighbour():
    """Run another program on all cores."""
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) as process:
        try:
            time.sleep(STARTED)
            yield
        finally:
            process.kill()
