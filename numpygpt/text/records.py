"""Read the records of a JSON file: JSON Lines, an array, or one object, in every layout of pandas' to_json."""

import json
import re
from itertools import islice

from ..system.errors import InputError
from .columns import usual
from .encodings import read_lines, read_parts

_OBJECT = re.compile(r'\s*\{\s*("|$)')  # how a line begins that is a JSON object,
_ARRAY = re.compile(r'\s*\[\s*([\[{"\]]|$)')  # and a JSON array
_SPACE = re.compile(r"\s*")


def open_records(content, encoding, first):
    """Return (names or None, a function that gives an iterator of (number, fields), what is numbered), or None.

    first   the first line of the text, which tells whether it is JSON

    JSON Lines and arrays are streamed. An object over several lines is read at once: its columns lie one after another.
    """
    if _ARRAY.match(first):
        return _by_name(lambda: _array(content, encoding), "record")
    if not _OBJECT.match(first):
        return None
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):  # the object goes on in the next line, or is damaged
        record = None
    lines = (line for line in read_lines(content, encoding) if line.strip())
    if record is not None and (next(islice(lines, 1, None), None) or _is_flat(record)):
        return _by_name(lambda: _json_lines(content, encoding), "line")
    return _document(content, list(_values(content, encoding)))


def _is_flat(record):
    return not any(isinstance(value, dict | list) for value in record.values())


def _by_name(read, unit):
    """Like open_records, for a function that gives (number, dict or list). The first record has all the names."""
    _, first = next(read(), (0, {}))
    if isinstance(first, list):  # the fields become texts as in CSV, because the first may be names
        return None, lambda: ((n, ["" if value is None else str(value) for value in row]) for n, row in read()), unit
    names = list(first)
    return names, lambda: ((number, [record.get(name) for name in names]) for number, record in read()), unit


def _json_lines(content, encoding):
    for number, line in enumerate(read_lines(content, encoding), start=1):
        if line.strip():
            try:
                yield number, _record(json.loads(line), dict)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else error
                raise InputError(f"{content.path}, line {number}: expected a JSON object, {reason}") from None


def _array(content, encoding):
    """Yield (number, record) of the records in a JSON array, with one part of the file in memory."""
    parts, decoder = read_parts(content, encoding), json.JSONDecoder()
    text, number, wanted, kind = "", 0, "[", None

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
        kind = kind or (list if isinstance(record, list) else dict)
        try:
            _record(record, kind)
        except ValueError as error:
            raise problem(error) from None
        yield number, record
        text, wanted = text[end:], ","
    if text[1:].strip() or any(part.strip() for part in parts):
        raise problem("the file goes on after the array")


def _record(value, kind):
    if not isinstance(value, kind) or kind is list and any(isinstance(item, dict | list) for item in value):
        raise ValueError(f"found {json.dumps(value)[:40]}")
    return value


def _values(content, encoding):
    """Yield the objects in a text, one after another."""
    text, decoder, place = "".join(read_parts(content, encoding)), json.JSONDecoder(), 0
    while (place := _SPACE.match(text, place).end()) < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
            yield _record(value, dict)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, getattr(error, "pos", place)) + 1
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{content.path}, line {line}: expected a JSON object, {reason}") from None
        place = end


def _document(content, values):
    """Like open_records, for objects that were read at once: records, or one object that holds a table.

    pandas' to_json writes such an object unless told otherwise: {column: {index: value}}; with orient="index" the other
    way round, with "split" columns and data, with "table" a list of records. R writes {column: [value, …]}.
    """
    value, parts = values[0], list(values[0].values())
    lists = [part for part in parts if isinstance(part, list)]
    records = [part for part in lists if part and all(isinstance(item, dict) for item in part)]
    names, rows = None, None
    if len(values) > 1 or _is_flat(value):
        records = [values]
    elif {"columns", "data"} <= value.keys():
        names, rows = value["columns"], value["data"]
    elif parts and all(isinstance(part, dict) for part in parts):
        if usual(value) or len(value) <= len(parts[0]) and not usual(parts[0]):
            keys = dict.fromkeys(key for part in parts for key in part)
            names, rows = list(value), [[part.get(key) for part in parts] for key in keys]
        else:
            records = [parts]
    elif len(lists) == len(parts) and len(set(map(len, parts))) == 1:
        names, rows = list(value), list(map(list, zip(*parts)))
    if names is None and len(records) == 1:
        return _by_name(lambda: enumerate(records[0], start=1), "record")
    if not (_is_list_of(names, str) and _is_list_of(rows, list)):
        raise InputError(
            f"{content.path}: a JSON object without a table of messages: {json.dumps(value)[:60]} … Write an array of "
            'records: [{"text": …, "label": …}, …]'
        )
    return names, lambda: enumerate(rows, start=1), "record"


def _is_list_of(value, kind):
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)
