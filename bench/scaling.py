"""Time and memory of numpygpt.train for more and more messages.

    python -m bench.scaling --sizes 1000,10000,50000,200000 --pad end

Train `mini` for one epoch in a separate process, on the bundled sample, repeated
with a number before each message so that all messages differ. Writes the
section `scaling, --pad …` of RESULTS.md.
"""

import argparse
import csv
import json
import sys
from datetime import date
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.system.command import memory_size
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import find_messages
from numpygpt.training.experiments import run_process

from . import machine
from .results import table, write_section

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


def measure(sizes, options, scratch):
    """Return [(messages, seconds, peak bytes)] of a run on each size."""
    found = []
    for size in sizes:
        data, folder, log = scratch / f"{size}.csv", scratch / f"run-{size}", scratch / f"{size}.log"
        write_messages(data, size)
        command = [sys.executable, "-m", "numpygpt.train", "--data", str(data), "--out", str(folder)]
        status, peak = run_process([*command, *ONCE.split(), *options], log)
        if status:
            raise SystemExit(f"{size} messages: ended with status {status}\n{log.read_text()}")
        seconds = json.loads((folder / "run.json").read_bytes())["seconds"]
        found.append((size, seconds, peak))
        print(f"{size:,} messages: {seconds:.1f} s, {peak / 1e9:.2f} GB", flush=True)
        data.unlink()
    return found


def markdown(found, options, made):
    """Return the section of RESULTS.md."""
    rows = [["messages", "seconds", "ms a message", "peak memory, GB"]]
    rows += [
        [f"{size:,}", f"{seconds:.1f}", f"{1000 * seconds / size:.2f}", f"{peak / 1e9:.2f}"]
        for size, seconds, peak in found
    ]
    about = f"`mini`, the last block: `{ONCE} {' '.join(options)}`. All other settings have their defaults."
    return "\n\n".join([f"## scaling, {' '.join(options[:2])}", about, table(rows), made]) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,50000,200000", help="numbers of messages")
    parser.add_argument("--pad", default="end", help="as in numpygpt.train")
    parser.add_argument("--memory", default="1GB", help="as in numpygpt.train")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the file of results")
    args = parser.parse_args(argv)
    memory_size(args.memory)
    options = ["--pad", args.pad, "--memory", args.memory]
    with TemporaryDirectory(prefix="bench-scaling-") as scratch:
        found = measure([int(size) for size in args.sizes.split(",")], options, Path(scratch))
    command = f"python -m bench.scaling --sizes {args.sizes} --pad {args.pad} --memory {args.memory}"
    text = markdown(found, options, f"`{command}`, {date.today()}. {machine.describe()}.")
    write_section(args.out, text)
    print("\n" + text)


if __name__ == "__main__":
    main()
