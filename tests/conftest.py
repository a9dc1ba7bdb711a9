"""What several tests share: the outside files, which the project does not commit, and seeded arrays."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    """The folder with the real data set, the pretraining corpus and the reference logs; skips where it is absent."""
    folder = Path(os.environ.get("NUMPYGPT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "SMSSpamCollection").is_file():
        pytest.skip(f"the outside data is not at {folder} (set NUMPYGPT_SHARED)")
    return folder
