"""A checkout has the same bytes everywhere: git must not convert line endings, whatever the user's settings."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {".csv", ".json", ".npz", ".safetensors", ".tsv", ".txt"}


def git(*arguments):
    """Return git's output, split at the NULs of -z."""
    try:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or not in a git checkout")
    return run.stdout.split("\0")[:-1]


def test_git_checks_out_every_file_unchanged():
    files = git("ls-files", "-z")
    if not files:
        pytest.skip("not in a git checkout")
    fields = git("check-attr", "-z", "text", "eol", "--", *files)
    attributes = {(file, name): value for file, name, value in zip(*[iter(fields)] * 3)}
    for file in files:
        if attributes[file, "text"] == "unset":
            continue
        assert Path(file).suffix not in DATA, f"{file}: data, but git may change its bytes"
        assert attributes[file, "eol"] == "lf", f"{file}: its line endings would differ on Windows"
