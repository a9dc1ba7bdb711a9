"""Read the rows of a data file: CSV, JSON, Parquet, Arrow or Excel."""

import csv
import json
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from textwrap import shorten

from ..system.errors import InputError, Note
from .columns import names_row
from .content import ARROW
from .encodings import find_encoding, read_lines, read_parts
from .quoting import quoted_as_csv
from .records import open_records

_CSV_LIMIT = threading.Lock()  # keeps two concurrent readers from restoring each other's field limit
_AT_ONCE = 1000  # rows
SEPARATORS = ",;|"  # besides the tab
_LINE = re.compile(r"[^\r\n]*")
_EXCEL = re.compile(r'"?sep=(.)"?[ \t,;]*', re.IGNORECASE)  # a first line in which Excel looks for the separator
_ESCAPE = re.compile(r'\\(["\\])')  # quotes in a text as R and Spark write them
_ESCAPED_NOTE = 'quotes in its texts are written \\", and a backslash \\\\; they are read so'
_SPACED_NOTE = "spaces after its separators are skipped, because quotes follow them"


@dataclass(frozen=True)
class Table:
    """The rows of a file. Iterating gives (number, fields); it reads the file anew each time, a part at a time.

    read    a function without arguments that gives such an iterator
    names   the columns' names, or None where the first row may have them
    unit    what is numbered: "line", "row" or "record"
    separator   a character, or None
    """

    read: object
    names: list | None = None
    unit: str = "line"
    separator: str | None = None

    def __iter__(self):
        return self.read()


def open_table(content, encoding=None, book_quotes=False, fits=lambda names: False):
    """Return the Table of a Content.

    encoding     the text's encoding (default: what `find_encoding` finds)
    book_quotes  read tab-separated text with CSV quoting
    fits         whether a row has the names of the columns that are read: then its separator is the right one
    """
    if content.kind in _PACKAGED:
        return _PACKAGED[content.kind](content)
    note = None
    if encoding is None:
        encoding, note = find_encoding(content)
    start = next((part.lstrip("\r\n") for part in read_parts(content, encoding) if part.strip("\r\n")), None)
    if note:
        warnings.warn(Note(note), stacklevel=2)
    if start is None:
        raise InputError(f"{content.path}: the file is empty; expected one labelled message per line")
    first = _LINE.match(start)[0]
    if records := open_records(content, encoding, first):
        names, read, unit = records
        return Table(read, names, unit)
    return _delimited(content, encoding, first, book_quotes, fits)


# Text with separators


def _delimited(content, encoding, first, book_quotes, fits):
    """Return the Table of a text with this first line. A Note says where its quoting is none of the usual ones."""
    chosen = _EXCEL.fullmatch(first)
    separators = chosen[1] if chosen else "\t" if "\t" in first else SEPARATORS

    def tables(**settings):
        return [
            Table(
                partial(_rows, content, encoding, int(bool(chosen)), delimiter=separator, **settings),
                separator=separator,
            )
            for separator in separators
        ]

    def right(table):
        return _is_right(table, fits)

    def noted(table, note):
        if note:
            warnings.warn(Note(f"{content.path}: {note}"), stacklevel=5)
        return table

    if separators == "\t":
        if book_quotes:
            return tables()[0]
        as_csv, note = quoted_as_csv(islice(read_lines(content, encoding), int(bool(chosen)), None))
        [literal], [escaped] = tables(quoting=csv.QUOTE_NONE), tables(strict=True, escaped=True)
        if as_csv:
            return tables(strict=True)[0]
        if names_row(_sample(escaped), fits) is not None and not right(literal):
            return noted(escaped, _ESCAPED_NOTE)
        return noted(literal, note)
    plain = tables(strict=True)
    for table, spaced in zip(plain, tables(strict=True, skipinitialspace=True)):
        if right(spaced) and _quotes_differ(table, spaced):
            return noted(spaced, _SPACED_NOTE)
    for table in filter(right, plain):
        return table
    for table in filter(right, tables(strict=True, escaped=True)):
        return noted(table, _ESCAPED_NOTE)
    if first.count('"') % 2 == 0 and not any(separator in first for separator in separators):
        raise InputError(
            f"{content.path}: line 1 is a single field, {first[:60]!r}. Separate the fields by commas, semicolons, "
            "tabs or |"
        )
    return plain[0]


def _is_right(table, fits):
    """Return whether the separator gives a row that fits, or many rows of the same length, above 1."""
    rows = _sample(table)
    return bool(rows) and (names_row(rows, fits) is not None or len(rows[0]) > 1 and len(set(map(len, rows))) == 1)


def _sample(table):
    try:
        return [fields for _, fields in islice(table, _AT_ONCE)]
    except InputError:
        return []


def _quotes_differ(table, spaced):
    """Return whether fields differ in more than spaces at the start, if those after a separator are skipped."""
    rows = [[[field.lstrip(" ") for field in fields] for fields in _sample(read)] for read in (table, spaced)]
    return rows[0] != rows[1]


def _rows(content, encoding, skipped, escaped=False, **dialect):
    """Yield (line number, fields) of each row that is not empty. A quoted field may span lines: its first counts.

    skipped   how many rows at the start are left out
    escaped   whether a quote in a text is written as \\"
    """
    lines = read_lines(content, encoding)
    if escaped:
        lines = (_ESCAPE.sub(lambda found: found[1] * (1 + (found[1] == '"')), line) for line in lines)
    reader = csv.reader(lines, **dialect)

    def numbered():
        line = 1
        try:
            for fields in reader:
                if any(fields):
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{content.path}, line {line}: {error}; look for a quote that is not closed or not doubled"
            ) from None

    rows = islice(numbered(), skipped, None)
    while True:
        with _long_fields():  # only while reading: the limit belongs to the whole process
            some = list(islice(rows, _AT_ONCE))
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


# Parquet and Excel, which have extra packages


def _imported(name, content, what):
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(
            f"{content.path}: {what}, for which {package} is missing. Install it: pip install {package}, or "
            "'numpygpt[files]'"
        ) from None


@contextmanager
def _damage(content, what):
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever the package raises for a damaged file
        raise InputError(f"{content.path}: {what} that cannot be read ({type(error).__name__}: {error})") from None


def _parquet(content):
    what = "a Parquet file"
    parquet = _imported("pyarrow.parquet", content, what)
    return _arrow_table(content, what, parquet.ParquetFile, lambda reader: reader.iter_batches(_AT_ONCE))


def _arrow(content):
    what = "an Arrow file"
    ipc = _imported("pyarrow.ipc", content, what)

    def opened(file):
        start = file.read(len(ARROW))
        file.seek(0)
        return ipc.open_file(file) if start == ARROW else ipc.open_stream(file)

    def batches(reader):
        return map(reader.get_batch, range(reader.num_record_batches)) if hasattr(reader, "get_batch") else reader

    return _arrow_table(content, what, opened, batches)


def _arrow_table(content, what, opened, batches):
    """Return the Table of a file that pyarrow reads. Numbered labels get the names that Hugging Face datasets keeps."""

    def rows():
        with content.open() as file, _damage(content, what):
            number = 0
            for batch in batches(opened(file)):
                for fields in zip(*(column.to_pylist() for column in batch.columns)):
                    number += 1
                    yield (
                        number,
                        [
                            value if classes is None else _class_name(value, classes)
                            for value, classes in zip(fields, named)
                        ],
                    )

    with content.open() as file, _damage(content, what):
        reader = opened(file)
        schema = reader.schema_arrow if hasattr(reader, "schema_arrow") else reader.schema
        named = _class_names(schema)
    for name, classes in zip(schema.names, named):
        if classes:
            shown = shorten(", ".join(f"{number} {name!r}" for number, name in enumerate(classes)), 100)
            note = f"{content.path}: column {name!r} has the names that its file gives: {shown}"
            warnings.warn(Note(note), stacklevel=4)
    return Table(rows, schema.names, "row")


def _class_names(schema):
    """Return, for each column, the names of its numbers (ClassLabel in Hugging Face datasets), or None."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return [
            [str(label) for label in features[name]["names"]] if features[name].get("_type") == "ClassLabel" else None
            for name in schema.names
        ]
    except (TypeError, KeyError, ValueError, AttributeError):  # no metadata, or others'
        return [None] * len(schema.names)


def _class_name(value, classes):
    """Return a numbered label's name. The number -1 means a missing label, as in the test sets on the hub."""
    if not isinstance(value, int) or value >= len(classes):
        return value
    return classes[value] if value >= 0 else None


def _excel(content):
    what = "an Excel file"
    openpyxl = _imported("openpyxl", content, what)
    noted = False

    def sheets(file, values=True):
        return openpyxl.load_workbook(file, read_only=True, data_only=values).worksheets

    def rows():
        nonlocal noted
        width, formulas = 0, None
        with content.open() as file, _damage(content, what):
            for number, row in enumerate(sheets(file)[0].iter_rows(), start=1):
                fields = [cell.value for cell in row]
                # A cell that is there, but has no value, may have a formula that was never computed.
                if formulas is None and any(cell.value is None and hasattr(cell, "row") for cell in row):
                    formulas = sheets(file, False)[0].iter_rows(min_row=number, values_only=True)
                for place, formula in enumerate(next(formulas) if formulas else ()):
                    if fields[place] is None and formula is not None and row[place].data_type == "n":
                        fields[place], noted = formula, noted or _note_formula(content, number)
                fields = ["" if value is None else str(value) for value in fields]
                filled = max((place for place, field in enumerate(fields, start=1) if field), default=0)
                width = width or filled  # of the first row that is not empty
                if filled:
                    yield number, fields[: max(width, filled)] + [""] * (width - len(fields))

    with content.open() as file, _damage(content, what):
        titles = [sheet.title for sheet in sheets(file)]
    if len(titles) > 1:
        warnings.warn(
            Note(f"{content.path}: of {len(titles)} sheets only the first is read, {titles[0]!r}"), stacklevel=3
        )
    return Table(rows, unit="row")


def _note_formula(content, number):
    note = "a formula without a stored value, as pandas writes a text that begins with =, is read as that text"
    warnings.warn(Note(f"{content.path}, row {number}: {note}"), stacklevel=4)
    return True


_PACKAGED = {"parquet": _parquet, "arrow": _arrow, "xlsx": _excel}
