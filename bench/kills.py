"""Kill runs of numpygpt.train at random moments. Each resumed run must end with
the bits of an uninterrupted run.

    python -m bench.kills

Each of 200 runs is killed (SIGKILL) one to three times, at random moments of
its whole duration: also while the frozen blocks run, while its state is
written, and during the final accuracies. Then it is resumed to its end. Its
weights, history, sets, settings and printed lines are compared with those of an
uninterrupted run; only seconds may differ. Writes the section `kills` of
RESULTS.md.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpygpt.commands.train  # noqa: F401  before the forks, which would each import it
from numpygpt import train
from numpygpt.system import command
from numpygpt.system.errors import InputError
from numpygpt.system.settings import Number
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import find_messages

from . import machine
from .results import last_line, table, write_section

# Options of train. A state is written after every step, a few times in the run, or only after its two epochs.
WAYS = (
    "--save-every 0.1 --pad 128",
    "--save-every 0.3 --trainable all --accumulate 3",
    "--save-every 0 --trainable lora --schedule cosine --warmup 0.2 --pad none",
    "--save-every 1000 --position mean --features-cache cache",
)
MESSAGES = 80  # of the bundled sample
HERE = Path(__file__).parent


def start(arguments, log):
    """Start a process that runs train with these arguments and prints to the file `log`. Return its id.

    The process is a fork of this one with all imports done, so that kills hit the run and not Python's start.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout = os.fdopen(1, "w")
        sys.modules["matplotlib"] = None  # drawing would take most of the time
        train.main(arguments)
        sys.stdout.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def finish(process, log):
    """Wait for a process to end. It must succeed."""
    _, status = os.waitpid(process, 0)
    if status:
        raise InputError(f"a run ended with status {status}: {last_line(log)}")


def killed_in(folder, since):
    """Return what a process started at the time `since` was doing when killed, as its folder shows."""
    found = {path.name for path in folder.glob("*") if path.stat().st_mtime >= since}
    if not (folder / "settings.json").exists():
        return "before there was anything to resume"
    if "run.json" in found:
        return "after run.json, before its end"
    if "history.csv" not in found:
        return "loading, or in the frozen blocks"
    if any(name.endswith(".tmp") for name in (path.name for path in folder.glob(".resume*"))):
        return "while its state was written"
    epochs = json.loads((folder / "settings.json").read_bytes())["epochs"]
    evaluated = sum(not line.endswith(",,\n") for line in (folder / "history.csv").open()) - 1
    return "in training" if evaluated < epochs else "in the final accuracies, or writing the results"


def outcome(folder, log):
    """Return {name: content} of a run's files without seconds."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    run = json.loads(found["run.json"])
    del run["seconds"]
    printed = re.sub(r"^[\d.]+ s\.", "", log.read_text().replace(str(folder), "RUN"), flags=re.MULTILINE)
    return found | {"run.json": json.dumps(run).encode(), "printed": printed.encode()}


def run_with_kills(way, folder, seconds, kills, rng):
    """Run train in the folder, kill it `kills` times within its first `seconds`, and resume it to its end.

    Return the phases that the kills hit, at least one.
    """
    met, log = [], folder.with_suffix(".log")
    while True:
        again = (folder / "settings.json").exists()
        if folder.exists() and not again:
            shutil.rmtree(folder)  # killed while the folder was made: nothing to resume
        since = time.time()
        process = start([*way, "--resume", str(folder)] if again else [*way, "--out", str(folder)], log)
        if len(met) == kills:
            finish(process, log)
            return met
        time.sleep(rng.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] != signal.SIGKILL:  # the process had already ended
            if met:
                return met
            shutil.rmtree(folder)
            continue
        met.append(killed_in(folder, since))
        if (folder / "run.json").exists() and not (folder / "resume.safetensors").exists():
            return met  # the run was already complete


def measure(ways, runs, scratch, seed=1, most=3):
    """Return (kills of each phase as a Counter, the seconds of each way, differences [(run, file)])."""
    rng, met, wrong, progress = random.Random(seed), Counter(), [], command.Progress("kills", "runs")
    seconds, expected = [], []
    for number, way in enumerate(ways):
        folder, log = scratch / f"whole-{number}", scratch / f"whole-{number}.log"
        for _ in range(2):  # the first run fills the features cache and reads every file
            shutil.rmtree(folder, ignore_errors=True)
            began = time.monotonic()
            finish(start([*way, "--out", str(folder)], log), log)
        seconds.append(time.monotonic() - began)
        expected.append(outcome(folder, log))
    for number in range(runs):
        way = number % len(ways)
        folder = scratch / f"run-{number}"
        met.update(run_with_kills(ways[way], folder, seconds[way], rng.randint(1, most), rng))
        found = outcome(folder, folder.with_suffix(".log"))
        wrong += [(number, name) for name in found | expected[way] if found.get(name) != expected[way].get(name)]
        if not wrong:
            shutil.rmtree(folder)
        progress(number + 1, runs)
    progress.clear()
    return met, seconds, wrong


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=command.number(Number(int, 1)), default=200, help="how many (default: 200)")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the file of results")
    args = parser.parse_args(argv)
    with TemporaryDirectory(prefix="bench-kills-") as scratch:
        scratch = Path(scratch)
        read_messages(find_messages("sample"))[:MESSAGES].to_csv(scratch / "messages.csv", index=False)
        shared = f"--data {scratch}/messages.csv --epochs 2 --eval-every 5"
        ways = [f"{shared} {way}".replace(" cache", f" {scratch}/cache").split() for way in WAYS]
        met, seconds, wrong = measure(ways, args.runs, scratch)
    for number, name in wrong:
        print(f"run {number}: {name} differs")
    rows = [["killed", "times"], *([phase, str(count)] for phase, count in met.most_common())]
    notes = [
        f"{args.runs} runs on `mini`, killed {met.total()} times in all; "
        f"{len({number for number, _ in wrong})} of them ended differently from the uninterrupted run.",
        f"A run takes {min(seconds):.1f} to {max(seconds):.1f} s. The runs use these options of `train`: "
        + ", ".join(f"`{way}`" for way in WAYS)
        + ".",
    ]
    made = f"`python -m bench.kills --runs {args.runs}`, {date.today()}. {machine.describe()}."
    text = (
        "\n\n".join(["## kills", __doc__.split("\n\n")[2].rpartition(" Writes")[0], table(rows), *notes, made]) + "\n"
    )
    write_section(args.out, text)
    print(text)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
