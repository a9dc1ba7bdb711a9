"""The options of all commands that read a file of labelled messages."""

import argparse

from .encodings import known_encoding

FORMATS = (
    "CSV with commas, semicolons, tabs or |, or JSON, each also as .gz, .zip, .bz2 or .xz; .parquet, .arrow or .xlsx "
    "with their packages (pip install 'numpygpt[files]')"
)


def add_options(group):
    """Add the options that say how a file of messages is read to a parser or a group of one."""
    group.add_argument(
        "--text-column", help="the column with the texts, a name or a number (default: found by its name)"
    )
    group.add_argument("--label-column", help="the column with the labels, likewise")
    group.add_argument("--no-header", action="store_true", help="line 1 is a message, and not the columns' names")
    group.add_argument(
        "--encoding",
        type=encoding,
        help="the text's encoding, such as latin-1 (default: UTF-8 or UTF-16, and otherwise Windows-1252, with a note)",
    )


def encoding(text):
    """An argparse type: the name of a text encoding."""
    try:
        return known_encoding(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an encoding such as utf-8 or latin-1, got {text!r}") from None


def as_options(args):
    """Return the options on a command line that give these arguments, for another command."""
    given = {"--" + name.replace("_", "-"): value for name, value in reading(args).items() if value}
    return [option if value is True else f"{option}={value}" for option, value in given.items()]


def reading(args):
    """Return the settings of `Messages` from a command's arguments."""
    return {name: getattr(args, name) for name in ("text_column", "label_column", "no_header", "encoding")}
