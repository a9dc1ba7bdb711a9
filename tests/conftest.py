"""Shared fixtures: external files, which the project does not contain, and a tiny model with its run.

The summary says what was skipped.
"""

import os
import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from numpygpt import train
from tests.calls import set_in
from tests.tiny import WORDS, save_messages, save_model, written

# A shell's background job ignores Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, because the machine may be busy. tests/fuzz.py damages files far more often.
settings.register_profile("short", max_examples=60, deadline=None)
settings.load_profile("short")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    from tests.browsing import chromium  # needs selenium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Start a server in place of every source of downloads."""
    from tests.downloading import posing

    with posing(monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture(autouse=True, scope="session")
def disk_cache():
    """Leave written files to the system's cache: thousands of waits for the disk would take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def as_on_windows():
    """Fail if a file is renamed or replaced while this process has it mapped or open, which Windows refuses."""
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    replace = os.replace

    def strict(source, target):
        mapped, opened = Path("/proc/self/maps").read_text(), set()
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the descriptor of the listing itself
                opened.add(os.readlink(f"/proc/self/fd/{number}"))
        for path in map(os.path.realpath, (source, target)):
            held = path in opened or f" {path}\n" in mapped
            assert not held, f"{path} is renamed or replaced while it is mapped or open"
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", strict)
        yield


@pytest.fixture(scope="session")
def shared():
    """Return the folder with the real data set, the pretraining corpus and the reference logs, or skip without it."""
    folder = Path(os.environ.get("NUMPYGPT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "SMSSpamCollection").is_file():
        pytest.skip("without ../shared (or NUMPYGPT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return a folder with a model `model`, messages `two.csv` and `three.csv`, a run `run`, and `text.txt`."""
    folder = tmp_path_factory.mktemp("made")
    save_model(folder / "model")
    save_messages(folder / "two.csv")
    save_messages(folder / "three.csv", WORDS)
    lines = [text for label in WORDS for text in written(label, 30, seed=1)]
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = f"--model {folder}/model --data {folder}/two.csv --out {folder}/run --epochs 1 --lr 0.01"
    command += " --trainable last_block --pad end --position last"
    train.main(command.split())
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Copy `made` to the current folder, where a test may damage it."""
    for path in made.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(made)).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("numpygpt.commands.train.save_plot", lambda *_: False)  # drawing would take most of the time
    return tmp_path


@pytest.fixture
def here_with_run(here):
    """Return `here`, with a run that uses the copied model."""
    set_in("run/run.json", model=str(here / "model"))
    return here


def pytest_terminal_summary(terminalreporter):
    """Print one line on skipped tests and the reasons: `skipped: 12 without ../shared, …; 3 files without torch`."""
    tests, files = Counter(), Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if library := re.match(r"could not import '(\w+)", reason):
            reason = f"without {library[1]}"
        (files if isinstance(report, pytest.CollectReport) else tests)[reason] += 1
    parts = [f"{count} {reason}" for reason, count in tests.most_common()]
    parts += [f"{count} whole file{'s' * (count > 1)} {reason}" for reason, count in files.most_common()]
    if left := terminalreporter.stats.get("deselected"):
        parts.append(f"{len(left)} left out by -m")
    if parts:
        terminalreporter.write_line(f"skipped: {'; '.join(parts)}")
