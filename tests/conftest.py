"""What several tests share: the outside files, which the project does not commit;
and the line that says what was skipped."""

import os
import re
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

# A job that a shell started in the background ignores Ctrl-C,
# and so would all that the tests start, those of Ctrl-C too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def as_on_windows(monkeypatch):
    """No file is renamed or replaced while this process has it mapped or open: Windows refuses."""
    if not os.path.isdir("/proc/self/fd"):
        return
    replace = os.replace

    def strict(source, target):
        with open("/proc/self/maps") as maps:
            held = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if "/" in line}
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # that of the listing itself
                held.add(os.readlink(f"/proc/self/fd/{number}"))
        for path in map(os.path.realpath, (source, target)):
            assert path not in held, f"{path} is renamed or replaced while it is mapped or open"
        replace(source, target)

    monkeypatch.setattr(os, "replace", strict)


@pytest.fixture(scope="session")
def shared():
    """The folder with the real data set, the pretraining corpus and the reference logs; skips where it is absent."""
    folder = Path(os.environ.get("NUMPYGPT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "SMSSpamCollection").is_file():
        pytest.skip("without ../shared (or NUMPYGPT_SHARED)")
    return folder


def pytest_terminal_summary(terminalreporter):
    """One line on what did not run, and for want of what: `skipped: 12 without ../shared, …; 3 files without torch`."""
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
