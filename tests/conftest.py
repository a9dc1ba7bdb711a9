"""What several tests share: the outside files, which the project does not commit, and seeded arrays."""

import os
import signal
from pathlib import Path

import pytest

# A job that a shell started in the background ignores Ctrl-C,
# and so would all that the tests start, those of Ctrl-C too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared():
    """The folder with the real data set, the pretraining corpus and the reference logs; skips where it is absent."""
    folder = Path(os.environ.get("NUMPYGPT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "SMSSpamCollection").is_file():
        pytest.skip(f"the outside data is not at {folder} (set NUMPYGPT_SHARED)")
    return folder
