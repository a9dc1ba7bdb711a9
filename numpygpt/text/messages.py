"""Read labelled messages from a file: the UCI SMS Spam Collection as published, or any CSV or TSV with a header."""

import csv
import io
import textwrap
import threading
from collections import Counter
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import pandas as pd

from ..system.errors import InputError

# Column names, in lower case, that need no --label-column and --text-column. Kaggle's copy of the UCI data has v1 and
# v2.
_USUAL = {
    "label": {"label", "class", "category", "v1"},
    "text": {"text", "message", "sms", "v2"},
}

_CSV_LIMIT = threading.Lock()  # keeps two concurrent readers from restoring each other's field limit


def read_messages(path, text_column=None, label_column=None, book_quotes=False):
    """Read the messages of a UTF-8 file. Return a DataFrame of strings with columns Label and Text, in file order.

    A tab in the first line makes the file tab-separated, without quoting: a quote is an ordinary character (as in
    IANA's TSV). Any other file is comma-separated, with standard CSV quoting and a header in line 1. A tab-separated
    file with two fields has no header, unless you name a column or line 1 is a usual pair of names. Its fields are
    label and text.

    Labels lose surrounding whitespace; texts stay unchanged. `NA`, `None` and `nan` are ordinary texts. Empty lines are
    skipped. book_quotes reads a tab-separated file with CSV quoting, as the book does: in the UCI file, a message that
    begins with a quote then swallows its neighbours (5,572 rows instead of 5,574).

    Raises InputError, naming the file and if possible the line, for a file that cannot be read, is empty or not UTF-8;
    a line with too few or too many fields; an unclosed quote; a missing label or text; unknown columns; fewer than two
    labels.
    """
    has_header, messages = _open(path, text_column, label_column, book_quotes)
    frame = pd.DataFrame(messages, columns=["Text", "Label"])[["Label", "Text"]]
    counts = Counter(frame["Label"])
    if len(counts) < 2:
        found = f"every message has the label {frame['Label'][0]!r}" if counts else "there are no messages"
        raise InputError(f"{path}: {found}; a classifier needs at least two labels")
    if not has_header and len(counts) > 2 and counts[frame["Label"][0]] == 1:
        raise InputError(
            f"{path}, line 1: no other message has the label {frame['Label'][0]!r}; "
            "if this line is a header, pass --text-column and --label-column"
        )
    return frame


def stream_messages(path, text_column=None, label_column=None, book_quotes=False):
    """Return an iterator of (text, label) over the messages that read_messages reads, for files of any length.

    The file may have any number of labels, including none. Raises InputError like read_messages: for the columns at
    once, and for a line when the iterator reaches it.
    """
    return _open(path, text_column, label_column, book_quotes)[1]


def _open(path, text_column, label_column, book_quotes):
    """Return (whether line 1 is a header, an iterator of (text, label))."""
    path = Path(path)
    lines, head = _lines(path), []
    for line in lines:
        head.append(line)
        if line.strip("\r\n"):
            break
    tabbed = bool(head) and "\t" in head[-1]
    rows = _rows(path, chain(head, lines), tabbed, book_quotes)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: the file is empty; expected one labelled message per line")
    names = [name.strip() for name in first[1]]
    asked = text_column is not None or label_column is not None
    usual = all(usual_names.intersection(map(str.lower, names)) for usual_names in _USUAL.values())
    has_header = asked or usual or not tabbed or len(names) != 2
    if has_header:
        label_at = _column(path, names, "label", label_column)
        text_at = _column(path, names, "text", text_column)
        if label_at == text_at:
            raise InputError(f"{path}: column {names[text_at]!r} cannot be both the text and the label")
    else:
        label_at, text_at, rows = 0, 1, chain([first], rows)
    separators = "tabs" if tabbed else "commas outside quotes"

    def messages():
        for line, fields in rows:
            if len(fields) != len(names):
                raise InputError(
                    f"{path}, line {line}: expected {len(names)} fields, found {len(fields)}; check its {separators}"
                )
            label, text = fields[label_at].strip(), fields[text_at]
            if not label:
                raise InputError(f"{path}, line {line}: the label is missing; add it or remove the line")
            if not text.strip():
                raise InputError(f"{path}, line {line}: the message has no text; add it or remove the line")
            yield text, label

    return has_header, messages()


def label_names(frame):
    """Return the sorted distinct labels of a frame. A label's index in this list is its number, 0 … C-1."""
    return sorted(set(frame["Label"]))


def _lines(path):
    """Yield the lines of a UTF-8 file, with their line ends: \\n, \\r\\n or \\r."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot read the messages ({error.strerror})") from None
    with file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from None
            if "\0" in text:
                raise InputError(f"{path}, line {number}: a NUL character; save the file as UTF-8 text")
            yield from io.StringIO(text, newline="")


def _rows(path, lines, tabbed, book_quotes):
    """Yield (line number, fields) of each row, without empty lines. A quoted field may span lines: its first counts."""
    if not tabbed:
        dialect = dict(delimiter=",", strict=True)
    elif book_quotes:
        dialect = dict(delimiter="\t")
    else:
        dialect = dict(delimiter="\t", quoting=csv.QUOTE_NONE)
    reader = csv.reader(lines, **dialect)

    def numbered():
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{path}, line {line}: {error}; look for a quote that is not closed or not doubled"
            ) from None

    rows = numbered()
    while True:
        with _long_fields():  # only while reading: the limit belongs to the whole process
            some = list(islice(rows, 1000))
        if not some:
            return
        yield from some


@contextmanager
def _long_fields():
    """Allow fields of any length inside the block. Restore csv's limit, 131,072 characters, which is process-wide."""
    with _CSV_LIMIT:
        before = csv.field_size_limit(2**31 - 1)  # a C long has 32 bits on Windows
        try:
            yield
        finally:
            csv.field_size_limit(before)


def quoted(text):
    """Return the text as a CSV field. Quote where pandas does, and around a lone carriage return as well.

    The csv module does not quote a lone carriage return before Python 3.13.
    """
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in ',"\r\n') else text


def _column(path, names, kind, wanted):
    """Return the index of the label or text column: the column `wanted`, or if None, the one with a usual name."""
    places = [i for i, name in enumerate(names) if (name.lower() in _USUAL[kind] if wanted is None else name == wanted)]
    if len(places) == 1:
        return places[0]
    columns = textwrap.shorten(", ".join(map(repr, names)), 300, placeholder=" …")
    if wanted is None:
        raise InputError(
            f"{path}: cannot tell which column is the {kind}; pass --text-column and --label-column; "
            f"line 1 has {columns}"
        )
    raise InputError(f"{path}: {len(places) or 'no'} columns have the name {wanted!r}; line 1 has {columns}")
