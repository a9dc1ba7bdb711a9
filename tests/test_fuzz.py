"""The fuzz command runs on a few files of each kind."""

import pytest

from tests.calls import python


@pytest.mark.slow
def test_every_reader_handles_damaged_files():
    process = python("-m", "tests.fuzz", "--count", "300")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    assert b"300 damaged files, 0 failures" in out and b"messages, JSON" in out
