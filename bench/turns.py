"""Time programs in turns in one process, so that a slow minute of the machine affects all of them."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from numpygpt.system.command import Progress

# Seconds before each call. The threads of OpenBLAS and OpenMP spin for a while after a product, in case another
# follows. The last program's threads would take the cores from the next one.
PAUSE = 0.3


def timed(function):
    """Call function and return (seconds, value)."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def in_turns(functions, repetitions, label):
    """Call each function of {name: function} once per round. Return {name: [(seconds, value) of each call]}.

    The first round, in which memory is allocated and threads start, is discarded.
    """
    runs, progress = {name: [] for name in functions}, Progress(label, "rounds")
    for done in range(repetitions + 1):
        for name, function in functions.items():
            time.sleep(PAUSE)
            runs[name].append(timed(function))
        progress(done + 1, repetitions + 1)
    progress.clear()
    return {name: counted for name, (_, *counted) in runs.items()}


def worst_difference(runs):
    """Return the largest difference between numpygpt's losses and the others', or None without others."""
    pairs = [pair for name in runs if name != "numpygpt" for pair in zip(runs["numpygpt"], runs[name])]
    return max((abs(ours - theirs) for (_, ours), (_, theirs) in pairs), default=None)


def fresh(function, *args):
    """Return function(*args), computed in a new process without this one's memory, threads or imports."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *args).result()
