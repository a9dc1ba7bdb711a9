"""Find message files and the data sets that have a name."""

from pathlib import Path

from ..system.files import path_of

SAMPLE = Path(__file__).parents[1] / "assets" / "sample" / "messages.tsv"


def find_messages(source):
    """Return the path of a message file: `source`, or if that does not exist, the data set of this name.

    The names are `sample`, which is bundled, and `sms`, which is downloaded once. Raises InputError if the download
    fails.
    """
    path = path_of(source)
    if path.exists():
        return path
    if str(source) == "sms":
        from .sms import fetch_sms

        return fetch_sms()
    return SAMPLE if str(source) == "sample" else path
