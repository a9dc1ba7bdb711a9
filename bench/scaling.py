"""Time and memory of numpygpt.train, or of numpygpt.evaluate, for more and more messages.

    python -m bench.scaling --sizes 1000,10000,50000,200000 --pad end
    python -m bench.scaling --sizes 10000,100000,1000000 --evaluate

Train `mini` for one epoch in a separate process, on the bundled sample, repeated
with a number before each message so that all messages differ. With --evaluate,
the default run evaluates such messages. Writes the section `scaling, --pad …`
or `scaling, evaluate` of RESULTS.md.
"""

import argparse
import csv
import sys
from datetime import date
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.system import command
from numpygpt.system.errors import InputError
from numpygpt.system.settings import Number
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import find_messages
from numpygpt.training.experiments import run_process

from . import machine
from .results import last_line, table, write_section
from .turns import timed

ONCE = "--epochs 1 --batch-size 64 --eval-every 1000000 --eval-batches 1"
HERE = Path(__file__).parent


def write_messages(path, count):
    """Return the given number of messages, all different."""
    sample = read_messages(find_messages("sample"))
    pairs = islice(cycle(zip(sample["Label"], sample["Text"])), count)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("Label", "Text"))
        writer.writerows((label, f"{number} {text}") for number, (label, text) in enumerate(pairs))


def training(scratch, data, pad, memory):
    """Return the command that trains on a file, in a folder named after it."""
    command = ["numpygpt.train", "--data", data, "--out", scratch / f"run-{data.stem}"]
    return [*command, *ONCE.split(), "--pad", pad, "--memory", memory]


def evaluating(scratch, data):
    """Return the command that evaluates a default run, which is made before the first file, on a file."""
    run = scratch / "run"
    if not run.exists():
        run_module(["numpygpt.train", "--out", run], scratch / "run.log")
    return ["numpygpt.evaluate", run, data]


def run_module(command, log):
    """Run a module with this Python. Return (seconds, peak bytes)."""
    seconds, (status, peak) = timed(lambda: run_process([sys.executable, "-m", *map(str, command)], log))
    if status:
        raise InputError(f"python -m {command[0]} ended with status {status}: {last_line(log)}")
    return seconds, peak


def measure(sizes, command, scratch):
    """Return [(messages, seconds, peak bytes)] of a run of command(scratch, file) on each size."""
    found = []
    for size in sizes:
        data = scratch / f"{size}.csv"
        write_messages(data, size)
        seconds, peak = run_module(command(scratch, data), scratch / f"{size}.log")
        found.append((size, seconds, peak))
        print(f"{size:,} messages: {seconds:.1f} s, {peak / 1e9:.2f} GB", flush=True)
        data.unlink()
    return found


def markdown(title, about, found, made):
    """Return the section of RESULTS.md."""
    rows = [["messages", "seconds", "ms a message", "peak memory, GB"]]
    rows += [
        [f"{size:,}", f"{seconds:.1f}", f"{1000 * seconds / size:.2f}", f"{peak / 1e9:.2f}"]
        for size, seconds, peak in found
    ]
    return "\n\n".join([f"## {title}", about, table(rows), made]) + "\n"


def numbers(text):
    """An argparse type: "1000,10000" -> [1000, 10000]."""
    return [command.number(Number(int, 1))(size) for size in text.split(",")]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default="1000,10000,50000,200000", help="numbers of messages")
    parser.add_argument("--evaluate", action="store_true", help="measure numpygpt.evaluate instead of training")
    parser.add_argument("--pad", default="end", help="as in numpygpt.train")
    parser.add_argument("--memory", default="1GB", help="as in numpygpt.train")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the file of results")
    args = parser.parse_args(argv)
    given = f"--pad {args.pad} --memory {args.memory}"
    title, about = f"scaling, --pad {args.pad}", f"`mini`, the last two blocks: `{ONCE} {given}`, whole processes."
    about, work = (
        f"{about} All other settings have their defaults.",
        partial(training, pad=args.pad, memory=args.memory),
    )
    if args.evaluate:
        title, given, work = "scaling, evaluate", "--evaluate", evaluating
        about = "`python -m numpygpt.evaluate` of the default run: whole processes."
    with TemporaryDirectory(prefix="bench-scaling-") as scratch:
        found = measure(args.sizes, work, Path(scratch))
    made = f"`python -m bench.scaling --sizes {','.join(map(str, args.sizes))} {given}`"
    text = markdown(title, about, found, f"{made}, {date.today()}. {machine.describe()}.")
    write_section(args.out, text)
    print("\n" + text)


if __name__ == "__main__":
    command.run(main)
