"""The data sets that go by a name."""

from pathlib import Path

BUNDLED = {"sample": Path(__file__).parents[1] / "assets" / "sample" / "messages.tsv"}


def find_messages(source):
    """The path of a message file: `source` itself, or where no such file exists, the bundled one of that name."""
    path = Path(source)
    return path if path.exists() else BUNDLED.get(str(source), path)
