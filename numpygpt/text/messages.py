"""Labelled messages from a file: the UCI SMS Spam Collection as published, or any CSV or TSV with a header."""

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

# Column names that need no --label-column and --text-column, in lower case.
# v1 and v2 are Kaggle's copy of the UCI data.
_USUAL = {
    "label": {"label", "class", "category", "v1"},
    "text": {"text", "message", "sms", "v2"},
}

_CSV_LIMIT = threading.Lock()  # two readers at once must not take each other's limit for that of the process


def read_messages(path, text_column=None, label_column=None, book_quotes=False):
    """The messages of a UTF-8 file: a DataFrame of strings with columns Label and Text, in file order.

    A tab in the first line makes it tab-separated: no quoting, a quote is a character like any other (as IANA's TSV has
    it). Otherwise it is comma-separated with standard CSV quoting, and its first line is a header. Tab-separated, two
    fields, no column asked for: label and text without a header, unless line 1 itself is a usual pair of names.

    Labels lose surrounding blanks, texts nothing; `NA`, `None` and `nan` are texts like others. Empty lines are
    skipped. book_quotes reads a tab-separated file with CSV quoting, as the book does: in the UCI file a message that
    opens with a quote then swallows its neighbours (5,572 rows instead of 5,574).

    Raises InputError, naming the file and where it can the line: a file that cannot be read, is empty or not
    UTF-8, a line with too few or too many fields, an unclosed quote, a missing label or text, columns that
    cannot be told, fewer than two labels.
    """
    has_header, messages = _open(path, text_column, label_column, book_quotes)
    frame = pd.DataFrame(messages, columns=["Text", "Label"])[["Label", "Text"]]
    counts = Counter(frame["Label"])
    if len(counts) < 2:
        found = f"every message has the label {frame['Label'][0]!r}" if counts else "there are no messages"
        raise InputError(f"{path}: {found}; at least two labels are needed")
    if not has_header and len(counts) > 2 and counts[frame["Label"][0]] == 1:
        raise InputError(
            f"{path}, line 1: no other message has the label {frame['Label'][0]!r}; "
            "if the line is a header, pass --text-column and --label-column"
        )
    return frame


def stream_messages(path, text_column=None, label_column=None, book_quotes=False):
    """The same messages one by one, (text, label), for a file of any length; of any number of labels, one or none too.

    Raises InputError as read_messages does: for the columns at once, for a line when its turn comes.
    """
    return _open(path, text_column, label_column, book_quotes)[1]


def _open(path, text_column, label_column, book_quotes):
    """(whether line 1 is a header, an iterator of (text, label))"""
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
        raise InputError(f"{path}: the file is empty; expected one labelled message a line")
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
    """The distinct labels of read_messages' frame, sorted. A label's place in this list is its number, 0 … C-1."""
    return sorted(set(frame["Label"]))


def _lines(path):
    """The lines of a UTF-8 file, with what ends them: \\n, \\r\\n or \\r."""
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
                raise InputError(f"{path}, line {number}: a NUL character; expected a text file saved as UTF-8")
            yield from io.StringIO(text, newline="")


def _rows(path, lines, tabbed, book_quotes):
    """(line number, fields) of each row that is not an empty line.
    A quoted field may span lines; the number is its first."""
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
                f"{path}, line {line}: {error}; is there a quote that is not closed, or not doubled?"
            ) from None

    rows = numbered()
    while True:
        with _long_fields():  # not while others have the turn: the limit is the process's
            some = list(islice(rows, 1000))
        if not some:
            return
        yield from some


@contextmanager
def _long_fields():
    """Inside, a field may have any length. csv's own limit, 131,072 characters, is the process's, and comes back."""
    with _CSV_LIMIT:
        before = csv.field_size_limit(2**31 - 1)  # a C long has 32 bits on Windows
        try:
            yield
        finally:
            csv.field_size_limit(before)


def quoted(text):
    """A CSV field: in quotes where pandas would quote, and around a lone carriage return too; before Python 3.13 the
    csv module forgot that one."""
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in ',"\r\n') else text


def _column(path, names, kind, wanted):
    """The place of the label or the text column: the one called `wanted`,
    or where that is None, the one with a usual name."""
    places = [i for i, name in enumerate(names) if (name.lower() in _USUAL[kind] if wanted is None else name == wanted)]
    if len(places) == 1:
        return places[0]
    columns = textwrap.shorten(", ".join(map(repr, names)), 300, placeholder=" …")
    if wanted is None:
        raise InputError(
            f"{path}: which column is the {kind}? Pass --text-column and --label-column; line 1 has {columns}"
        )
    raise InputError(f"{path}: {len(places) or 'no'} columns are called {wanted!r}; line 1 has {columns}")
