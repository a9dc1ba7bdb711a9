"""Read the rows of a data file: CSV, JSON Lines, a JSON array of records, Parquet or Excel."""

import csv
import json
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice

from ..system.errors import InputError, Note
from .encodings import find_encoding, read_lines, read_parts
from .quoting import quoted_as_csv

_CSV_LIMIT = threading.Lock()  # keeps two concurrent readers from restoring each other's field limit
_AT_ONCE = 1000  # rows
_RECORD = re.compile(r'\s*\{\s*("|$)')  # how a line begins that is a JSON object,
_ARRAY = re.compile(r'\s*\[\s*([\[{"\]]|$)')  # and a JSON array
_LINE = re.compile(r"[^\r\n]*")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Table:
    """The rows of a file. Iterating gives (number, fields); it reads the file anew each time, a part at a time.

    read    a function without arguments that gives such an iterator
    names   the columns' names, or None where the first row may have them
    unit    what is numbered: "line", "row" or "record"
    separator   "\\t", "," or ";", or None
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
    if content.kind == "parquet":
        return _parquet(content)
    if content.kind == "xlsx":
        return _excel(content)
    note = None
    if encoding is None:
        encoding, note = find_encoding(content)
    start = next((part.lstrip("\r\n") for part in read_parts(content, encoding) if part.strip("\r\n")), None)
    if note:
        warnings.warn(Note(note), stacklevel=2)
    if start is None:
        raise InputError(f"{content.path}: the file is empty; expected one labelled message per line")
    first = _LINE.match(start)[0]
    if _ARRAY.match(first):
        return _records(lambda: _array(content, encoding), "record")
    if _RECORD.match(first):
        return _records(lambda: _json_lines(content, encoding), "line")
    return _delimited(content, encoding, first, book_quotes, fits)


# Text with separators


def _delimited(content, encoding, first, book_quotes, fits):
    def table(separator, **dialect):
        return Table(lambda: _rows(content, encoding, delimiter=separator, **dialect), separator=separator)

    if "\t" not in first:
        tables = [table(separator, strict=True) for separator in ",;"]
        return next(filter(lambda table: _is_right(table, fits), tables), tables[0])
    if book_quotes:
        return table("\t")
    as_csv, note = quoted_as_csv(read_lines(content, encoding))
    if note:
        warnings.warn(Note(f"{content.path}: {note}"), stacklevel=3)
    return table("\t", strict=True) if as_csv else table("\t", quoting=csv.QUOTE_NONE)


def _is_right(table, fits):
    """Return whether the separator gives a row that fits, or many rows of the same length, above 1."""
    try:
        rows = [fields for _, fields in islice(table, _AT_ONCE)]
    except InputError:
        return False
    return fits(rows[0]) or len(rows[0]) > 1 and len(set(map(len, rows))) == 1


def _rows(content, encoding, **dialect):
    """Yield (line number, fields) of each row, without empty lines. A quoted field may span lines: its first counts."""
    reader = csv.reader(read_lines(content, encoding), **dialect)

    def numbered():
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{content.path}, line {line}: {error}; look for a quote that is not closed or not doubled"
            ) from None

    rows = numbered()
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


# JSON


def _records(read, unit):
    """Return the Table of a function that gives an iterator of (number, dict). The first record has all the names."""
    _, first = next(read(), (0, {}))
    names = list(first)
    return Table(lambda: ((number, [record.get(name) for name in names]) for number, record in read()), names, unit)


def _json_lines(content, encoding):
    for number, line in enumerate(read_lines(content, encoding), start=1):
        if line.strip():
            try:
                yield number, _record(json.loads(line))
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else error
                raise InputError(f"{content.path}, line {number}: expected a JSON object, {reason}") from None


def _array(content, encoding):
    """Yield (number, record) of the records in a JSON array, with one part of the file in memory."""
    parts, decoder = read_parts(content, encoding), json.JSONDecoder()
    text, number, wanted = "", 0, "["

    def problem(what):
        return InputError(f"{content.path}, record {number}: {what}; expected a JSON array of objects")

    while True:
        text = text[_SPACE.match(text).end() :]
        if not text:
            text = next(parts, "")
            if not text:
                raise problem("the file ends in the array")
            continue
        if text[0] == "]" and wanted != "[":
            break
        if wanted:
            if text[0] != wanted:
                raise problem(f"{text[0]!r} where {wanted!r} should be")
            text, wanted, number = text[1:], "", number + 1
            continue
        try:
            record, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            more = "".join(islice(parts, 1 + len(text) // (1 << 16)))  # twice as much: few attempts are in vain
            if not more:
                raise problem(error.msg if isinstance(error, json.JSONDecodeError) else error) from None
            text += more
            continue
        try:
            _record(record)
        except ValueError as error:
            raise problem(error) from None
        yield number, record
        text, wanted = text[end:], ","
    if text[1:].strip() or any(part.strip() for part in parts):
        raise problem("the file goes on after the array")


def _record(value):
    if not isinstance(value, dict):
        raise ValueError(f"found {json.dumps(value)[:40]}")
    return value


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

    def rows():
        with content.open() as file, _damage(content, what):
            number = 0
            for batch in parquet.ParquetFile(file).iter_batches(_AT_ONCE):
                for fields in zip(*(column.to_pylist() for column in batch.columns)):
                    number += 1
                    yield number, list(fields)

    with content.open() as file, _damage(content, what):
        names = parquet.ParquetFile(file).schema_arrow.names
    return Table(rows, names, "row")


def _excel(content):
    what = "an Excel file"
    openpyxl = _imported("openpyxl", content, what)

    def sheets(file):
        return openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets

    def rows():
        width = 0
        with content.open() as file, _damage(content, what):
            for number, row in enumerate(sheets(file)[0].iter_rows(values_only=True), start=1):
                fields = ["" if value is None else str(value) for value in row]
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
