"""The data sets that go by a name."""

from pathlib import Path

from .sms import fetch_sms

SAMPLE = Path(__file__).parents[1] / "assets" / "sample" / "messages.tsv"


def find_messages(source):
    """The path of a message file: `source` itself, or where no such file exists,
    `sample`, bundled, or `sms`, downloaded once.

    Raises InputError where `sms` has to be downloaded and cannot.
    """
    path = Path(source)
    if path.exists():
        return path
    return {"sample": lambda: SAMPLE, "sms": fetch_sms}.get(str(source), lambda: path)()
