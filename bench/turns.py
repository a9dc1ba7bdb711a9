"""Timing programs against each other: the same work, in one process,
in turns, so that a slow minute of the machine meets all."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from numpygpt.system.command import Progress

# Seconds before each call. The threads of OpenBLAS and OpenMP go on spinning for a while after a product, in case
# another comes; those of the program that ran last would take the cores from the next one.
PAUSE = 0.3


def timed(function):
    """(seconds, value) of function()."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def in_turns(functions, repetitions, label):
    """{name: [(seconds, value) of each call]} for {name: function}: each called once a round.
    The first round, in which memory is touched for the first time and threads start, is not counted.
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
    """The largest difference between numpygpt's values, which are losses, and the others'; None without others."""
    pairs = [pair for name in runs if name != "numpygpt" for pair in zip(runs["numpygpt"], runs[name])]
    return max((abs(ours - theirs) for (_, ours), (_, theirs) in pairs), default=None)


def fresh(function, *args):
    """function(*args) in a new process, which has none of this one's memory, threads or imported libraries."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *args).result()
