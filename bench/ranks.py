"""Data-parallel ranks: one process with two threads compared with two ranks with
one thread each, and an estimate for many machines.

    python -m bench.ranks

GPT-2 124M's sizes, random weights, messages of 120 tokens. Both sides run in
turns, each time in new processes. The table of many machines is computed, not
measured. It uses the rates measured here and the bytes that an all-reduce must
send. Writes the section `ranks` of RESULTS.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes, random_parameters
from numpygpt.system import command
from numpygpt.system.errors import InputError
from numpygpt.system.memory import keep_freed_memory
from numpygpt.training.adamw import AdamW
from numpygpt.training.batch import batch_loss
from numpygpt.training.frozen_features import FrozenPrefix
from numpygpt.training.launch import on_every_rank

from . import machine
from .results import figure, spread, table, write_section
from .turns import timed

HERE = Path(__file__).parent
MESSAGES, TOKENS, BATCH = 64, 120, 8  # messages of the frozen blocks, tokens of each, messages of a step
STEPS, ROUNDS = 3, 2
XL = Config(n_embd=1600, n_layer=48, n_head=25)
XL_BATCH = 128  # messages, of TOKENS each
SIZES, GIGABITS = (1, 2, 4, 8, 16, 32, 64), (10, 100)


def side(config, ranks):
    """Return {part: [seconds]} of this rank. The ranks share the messages."""
    gpt = GPT(config, random_parameters(config, 1), None, "random")
    return frozen_blocks(gpt, ranks) | step(gpt, "last_block", ranks) | step(gpt, "all", ranks)


def frozen_blocks(gpt, ranks):
    ids = messages(gpt.config, MESSAGES)
    run = partial(FrozenPrefix, gpt.params, gpt.config, ids, gpt.config.n_layer - 1, ranks=ranks)
    return {"frozen blocks": [timed(run)[0] for _ in range(2)][1:]}


def step(gpt, choice, ranks):
    """Measure the parts of a training step. The first step, which allocates memory, is discarded."""
    clf = Classifier(gpt, ["ham", "spam"], choice, position="last")
    prefix = FrozenPrefix(clf.params, gpt.config, messages(gpt.config, BATCH), clf.frozen_blocks)
    optimizer = AdamW(clf.params, clf.trainable, lr=5e-5)
    places, lengths, labels = np.arange(BATCH), np.full(BATCH, TOKENS), np.arange(BATCH) % 2

    def mean(some):
        return batch_loss(clf, *prefix.batch(some), labels[some], clf.frozen_blocks)

    parts = []
    for _ in range(1 + STEPS):
        ranks.gather(None)  # so that waiting for another rank is not measured
        gradient, (_, grads) = timed(partial(ranks.gradient, mean, places, lengths))
        exchange, _ = timed(partial(ranks.gradient, lambda some, grads=grads: (0.0, grads), places, lengths))
        adamw, _ = timed(partial(optimizer.step, grads))
        parts.append({"gradient": gradient, "of that, exchange": exchange, "AdamW": adamw, "step": gradient + adamw})
    return {f"{choice}: {what}": [part[what] for part in parts[1:]] for what in parts[0]}


def messages(config, count):
    rng = np.random.default_rng(1)
    return list(rng.integers(config.vocab_size, size=(count, TOKENS)).astype(np.int32))


def block_flops(config):
    """Return the operations of every block's four products for one token: 24 D² forward, and twice that backward."""
    return 3 * 24 * config.n_embd**2 * config.n_layer


def estimate(ours, theirs, machines, gigabits):
    """Return the seconds of one step of all layers of GPT-2 XL, XL_BATCH messages, on this many such machines.

    compute     the machine's part of the batch, at the rate of block products that 124M's gradient reached
    AdamW       at the measured rate of parameters
    exchange    the ranks' work on gradients in memory, at the measured rate of bytes; and the bytes that a ring
                all-reduce sends, 2 (n - 1) / n of all gradients, over the network, while nothing else runs
    """
    small = Config()
    parameters = {size: sum(int(np.prod(shape)) for shape in parameter_shapes(size).values()) for size in (small, XL)}
    flops = BATCH * TOKENS * block_flops(small) / median(ours["all: gradient"])
    compute = XL_BATCH * TOKENS * block_flops(XL) / flops / machines
    grown = parameters[XL] / parameters[small]
    adamw = grown * median(ours["all: AdamW"])
    if machines == 1:
        return compute + adamw
    local = grown * median(theirs["all: of that, exchange"])
    wire = 2 * (machines - 1) / machines * 4 * parameters[XL] / (gigabits * 1e9 / 8)
    return compute + adamw + local + wire


def tables(ours, theirs):
    """Return the Markdown of the measurements of both sides, and of the estimate for many machines."""
    rows = [["", "1 process, 2 threads", "2 ranks, 1 thread", "ranks better"]]
    for what in ours:
        a, b = ([1000 * seconds for seconds in side[what]] for side in (ours, theirs))
        if "exchange" in what:
            rows.append([what, "–", spread(b, "ms"), ""])
        else:
            rows.append([what, spread(a, "ms"), spread(b, "ms"), f"{figure(median(a) / median(b))} ×"])
    alone = estimate(ours, theirs, 1, 0)
    paper = [
        ["machines", *(f"{gigabits} Gbit/s" for gigabits in GIGABITS)],
        ["1", *[f"{alone:,.0f} s"] * len(GIGABITS)],
    ]
    for n in SIZES[1:]:
        seconds = [estimate(ours, theirs, n, gigabits) for gigabits in GIGABITS]
        paper.append([str(n), *(f"{figure(s)} s ({alone / s:.1f} ×)" for s in seconds)])
    return table(rows), table(paper)


def run_sides(rounds):
    """Return (seconds of one process, seconds of two ranks), each side `rounds` times, in turns."""
    clean = {name: value for name, value in os.environ.items() if name not in machine.OVERRIDES}
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not mpiexec:
        raise InputError("this needs mpiexec: pip install mpi4py mpich")
    sides = [{}, {}]
    for _ in range(rounds):
        for found, launcher in zip(sides, ([], [mpiexec, "-n", "2"])):
            line = [*launcher, sys.executable, "-m", "bench.ranks", "--side"]
            run = subprocess.run(line, env=clean, stdout=subprocess.PIPE)
            if run.returncode:
                raise InputError(f"{' '.join(launcher) or 'one process'}: ended with status {run.returncode}")
            for what, seconds in json.loads(run.stdout).items():
                found.setdefault(what, []).extend(seconds)
    return sides


@on_every_rank
def main(argv, ranks):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each side runs")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the file of results")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)  # used by the processes of each round
    args = parser.parse_args(argv)
    keep_freed_memory()
    if args.side:
        print(json.dumps(side(Config(), ranks)))
        return
    measured, paper = tables(*run_sides(args.rounds))
    about = __doc__.split("\n\n")[2].rpartition(" Writes")[0]
    many = (
        f"Computed: one step of all layers of GPT-2 XL, {XL_BATCH} messages of {TOKENS} tokens, on machines like this "
        f"one, and how many times faster than on one of them. `estimate` in bench/ranks.py has the formula: nothing "
        "overlaps, and the network runs at its full rate."
    )
    made = f"`python -m bench.ranks`, {date.today()}. {machine.describe()}."
    text = "\n\n".join(["## ranks", about, measured, many, paper, made]) + "\n"
    write_section(args.out, text)
    print(text)


if __name__ == "__main__":
    command.run(main)
