"""Read labelled messages from a file, in any usual format: the UCI SMS Spam Collection as published, CSV, JSON, …"""

import math
import re
import warnings
from collections import Counter
from itertools import islice

from ..system.errors import InputError, Note
from .columns import find_columns, is_number, names_row, usual
from .content import Content
from .tables import open_table

SAMPLE = 1000  # rows that tell the columns apart
_RULE = re.compile(r"\s*[:|+-]*--[:|+-]*\s*")


class Messages:
    """The labelled messages of a file, of any length. Iterating yields (text, label), as often as you like.

    The file's content decides how it is read, not its name: CSV with commas, semicolons, tabs or |; JSON Lines, a JSON
    array of records, or an object in one of pandas' layouts; Parquet, Arrow or Excel; any text also compressed by gzip,
    bzip2 or xz, or alone in a zip archive. All of this is streamed, except an object.

    A tab in the first line makes a text tab-separated. Its quotes are ordinary characters (as in IANA's TSV), except
    where the whole file is quoted as in CSV, see `quoted_as_csv`. A file of two such fields has no header, unless you
    name a column or line 1 is a usual pair of names: its fields are label and text, unless their values say the
    opposite. Other files have standard CSV quoting, and a header in line 1, unless the values tell label and text
    apart. Excel's `sep=;` and titles may be above the header, and rows may begin with R's numbers. Quotes after spaces,
    and quotes in a text written as \\", are understood where standard quoting fails.

    Labels lose surrounding whitespace; texts stay unchanged. `NA`, `None` and `nan` are ordinary texts. Empty lines are
    skipped. Whatever the user might want to know of the choices is a Note.

    text_column, label_column   the name or the number of the column (default: found by its name)
    no_header     whether line 1 is a message
    encoding      of a text (default: its mark's, UTF-8, else Windows-1252)
    book_quotes   read a tab-separated file with CSV quoting, as the book does: in the UCI file, a message that begins
                  with a quote then swallows its neighbours (5,572 rows instead of 5,574)

    Raises InputError, naming the file and if possible the line, for a file that cannot be read or is empty, and unknown
    columns; and when the iterator reaches it, for a row with too few or too many fields, an unclosed quote, and a
    missing label or text.
    """

    def __init__(self, path, text_column=None, label_column=None, no_header=False, encoding=None, book_quotes=False):
        def fits(names):
            asked = [wanted for wanted in (text_column, label_column) if wanted is not None]
            return all(wanted in names for wanted in asked) if asked else usual(names)

        self.path = path
        self.table = open_table(Content(path), encoding, book_quotes, fits)
        rows = list(islice(self.table, SAMPLE))
        if not rows and self.table.names is None:
            raise InputError(f"{path}: the file is empty; expected one labelled message per line")
        fields = [fields for _, fields in rows]
        self._skipped = 0
        if self.table.names is None and not no_header:
            self._skipped = names_row(fields, fits) or 0
        fields = fields[self._skipped :]
        self.columns = find_columns(path, self.table, fields, text_column, label_column, no_header)
        if self.table.separator and len(fields) > 1 and all(map(_RULE.fullmatch, filter(None, fields[1]))):
            raise InputError(
                f"{path}: below the columns' names is a rule of dashes, as in a printed table. Export the table as CSV"
            )
        self._noted = False
        if self._skipped:
            unit, (number, _) = self.table.unit, rows[self._skipped]
            self._note(f"{path}: the columns' names are in {unit} {number}; what is above them is not read")
        self._skipped += int(self.columns.header and self.table.names is None)
        self._note(self.columns.note)

    def _note(self, note):
        if note:
            warnings.warn(Note(note), stacklevel=3)

    def __iter__(self):
        columns, unit = self.columns, self.table.unit
        width, further, began = len(columns.names), 0, None
        separators = {"\t": "tabs", ",": "commas outside quotes", ";": "semicolons outside quotes"}
        unnamed = [i for i, name in enumerate(columns.names) if columns.header and not name and i > columns.text]
        for line, fields in islice(self.table, self._skipped, None):
            where = f"{self.path}, {unit} {line}"
            if len(fields) != width:
                separator = self.table.separator
                check = f"; check its {separators.get(separator, f'{separator!r} outside quotes')}" if separator else ""
                raise InputError(f"{where}: expected {width} fields, found {len(fields)}{check}")
            label, text = _text(fields[columns.label], where).strip(), _text(fields[columns.text], where)
            if not label:
                raise InputError(f"{where}: the label is missing; add it or remove the {unit}")
            if not text.strip():
                raise InputError(f"{where}: the message has no text; add it or remove the {unit}")
            if any(fields[i] for i in unnamed):
                further, began = further + 1, began or line
            yield text, label
        if further and not self._noted:
            self._noted = True
            self._note(
                f"{self.path}: {further:,} messages have more text in columns without a name, which is not read (the "
                f"first: {unit} {began})"
            )


def _text(value, where):
    """Return the text of a field. A missing value is empty; numbers and truth values become text, as in a CSV file."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes | list | tuple | dict):
        raise InputError(f"{where}: expected a text or a number, found {str(value)[:40]}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise InputError(f"{where}: {half} is half of a character; write the character or remove it") from None
    return text


def read_messages(path, **reading):
    """Read the messages of a file. Return a DataFrame of strings with columns Label and Text, in file order.

    reading   the settings of `Messages`

    Raises InputError like Messages, for fewer than two labels, and where the labels look like texts.
    """
    import pandas as pd

    messages = Messages(path, **reading)
    frame = pd.DataFrame(messages, columns=["Text", "Label"])[["Label", "Text"]]
    counts = Counter(frame["Label"])
    if len(counts) < 2:
        found = f"every message has the label {frame['Label'][0]!r}" if counts else "there are no messages"
        raise InputError(f"{path}: {found}; a classifier needs at least two labels")
    crowded = len(counts) > max(2, len(frame) / 2)
    if not (crowded and len(counts) > frame["Text"].nunique()) and messages.columns.assumed:
        if len(counts) > 2 and counts[frame["Label"][0]] == 1:
            raise InputError(
                f"{path}, line 1: no other message has the label {frame['Label'][0]!r}; "
                "if this line is a header, pass --text-column and --label-column"
            )
    if crowded:
        raise InputError(
            f"{path}: {len(counts):,} labels for {len(frame):,} messages, such as {frame['Label'][0][:40]!r}; choose "
            f"the columns, by name or number: --text-column {messages.columns.label + 1} --label-column "
            f"{messages.columns.text + 1}, for instance"
        )
    if pair := alike(counts):
        warnings.warn(Note(f"{path}: the labels {pair} are two labels"), stacklevel=2)
    return frame


def alike(labels):
    """Return two labels that differ in case or as 1 and 1.0 do, in words, or None."""
    seen = {}
    for label in labels:
        other = seen.setdefault(float(label) if is_number(label) else label.casefold(), label)
        if other != label:
            return f"{other!r} and {label!r}, which differ in {'notation' if is_number(label) else 'case'} only,"
    return None


def label_names(frame):
    """Return the sorted distinct labels of a frame. A label's index in this list is its number, 0 … C-1."""
    return sorted(set(frame["Label"]))


def quoted(text):
    """Return the text as a CSV field. Quote where pandas does, and around a lone carriage return as well.

    The csv module does not quote a lone carriage return before Python 3.13.
    """
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in ',"\r\n') else text
