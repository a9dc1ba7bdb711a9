"""Find the column with the labels and the column with the texts, and whether the first row has their names."""

import textwrap
from dataclasses import dataclass

from ..system.errors import InputError

# Column names, in lower case, that need no --label-column and --text-column. Kaggle's copy of the UCI data has v1 and
# v2.
_USUAL = {
    "label": {"label", "class", "category", "v1"},
    "text": {"text", "message", "sms", "v2"},
}
_ABOVE = 10  # rows that may be above the columns' names
FEW = 4  # a column has few values if each stands for so many rows, on average


@dataclass(frozen=True)
class Columns:
    """The places of the label and the text, and the fields of the first row.

    header    whether these are the columns' names
    assumed   whether places and header are those of the UCI file, for want of a sign
    note      None or a sentence for the user
    """

    label: int
    text: int
    names: list
    header: bool
    assumed: bool = False
    note: str | None = None


def usual(names):
    """Return whether the names have one for the label and one for the text that are known."""
    return all(usual_places(names, kind) for kind in _USUAL)


def usual_places(names, *kinds):
    """Return the places of the names that are usual for the label or the text, in any case."""
    return [i for i, name in enumerate(names) if any(name.strip().lower() in _USUAL[kind] for kind in kinds)]


def column(where, names, kind, wanted=None):
    """Return the place of the label or text column: that with the name or number `wanted`, or None for a usual name.

    where   the file or the argument, for the error
    """
    places = usual_places(names, kind)
    if wanted is not None:
        places = [i for i, name in enumerate(names) if name == wanted]
    if len(places) == 1:
        return places[0]
    if not places and (place := _place(wanted, len(names))) is not None:
        return place
    columns = textwrap.shorten(", ".join(map(repr, names)), 300, placeholder=" …")
    if wanted is None:
        raise InputError(
            f"{where}: cannot tell which column is the {kind}; pass --text-column and --label-column, a name or a "
            f"number; line 1 has {columns}"
        )
    raise InputError(f"{where}: {len(places) or 'no'} columns have the name {wanted!r}; line 1 has {columns}")


def names_row(rows, fits):
    """Return the place of the row with the columns' names, or None. A title or an empty field may be above it.

    fits   whether names are those of the columns that are read
    """
    for place, row in enumerate(rows[:_ABOVE]):
        if fits([field.strip() for field in row]):
            return place
        if sum(map(bool, row)) > 1:
            break
    return None


def _place(wanted, count):
    """Return the place of a column's number, counted from 1, or None if it is no such number."""
    return int(wanted) - 1 if wanted and wanted.isdecimal() and 0 < int(wanted) <= count else None


def find_columns(where, table, rows, text_column=None, label_column=None, no_header=False):
    """Return the Columns of a Table.

    rows   its first rows, lists of fields
    text_column, label_column   a name, a number counted from 1, or None
    no_header   whether the first row is a message

    Raises InputError if they cannot be told.
    """
    if table.names is not None:
        if no_header:
            raise InputError(f"{where}: its columns have names; leave --no-header out")
        return _named(where, table.names, text_column, label_column)
    names = [field.strip() for field in rows[0]]
    if _has_row_names(rows):
        names = ["", *names]
    asked = [wanted for wanted in (label_column, text_column) if wanted is not None]
    numbers = [wanted for wanted in asked if _place(wanted, len(names)) is not None]
    by_name = len(numbers) < len(asked) or asked and all(_is_name(wanted, names, rows) for wanted in asked)
    if not no_header and (by_name or usual(names)):
        return _named(where, names, text_column, label_column)
    if unknown := [wanted for wanted in asked if wanted not in numbers]:
        raise InputError(f"{where}: {unknown[0]!r} is no column's number; without a header they are 1 to {len(names)}")
    if asked:
        return _numbered(where, rows, names, text_column, label_column, no_header)
    return _by_values(where, rows, names, no_header, label_first=table.separator == "\t" and len(names) == 2)


def _has_row_names(rows):
    """Return whether the rows begin with numbers that have no name in the first row, as R writes them.

    The first name must be one of the label or the text, because their values are not all different numbers.
    """
    first = [row[0] for row in rows[1:] if len(row) == len(rows[0]) + 1 and row[0].isdecimal()]
    return usual_places(rows[0][:1], *_USUAL) != [] and 0 < len(set(first)) == len(rows) - 1


def _is_name(wanted, names, rows):
    """Return whether a number is a column's name. The names of a table without names are numbers in some programs."""
    return wanted in names and not _recurs(rows, names.index(wanted))


def _named(where, names, text_column, label_column):
    asked = {"label": label_column, "text": text_column}
    first, second = sorted(asked, key=lambda kind: asked[kind] is None)  # a wrong name is reported before a missing one
    places = {kind: column(where, names, kind, asked[kind]) for kind in (first, second)}
    label, text = places["label"], places["text"]
    if label == text:
        raise InputError(f"{where}: column {names[text]!r} cannot be both the text and the label")
    return Columns(label, text, names, True)


def _numbered(where, rows, names, text_column, label_column, no_header):
    """The first row is a message if its label recurs. Of two columns one number is enough."""
    label, text = (_place(wanted, len(names)) for wanted in (label_column, text_column))
    if len(names) == 2:
        label, text = 1 - text if label is None else label, 1 - label if text is None else text
    if label is None or text is None:
        raise InputError(f"{where}: pass both --text-column and --label-column as numbers, 1 to {len(names)}")
    if label == text:
        raise InputError(f"{where}: column {label + 1} cannot be both the text and the label")
    header, note = not no_header and not _recurs(rows, label), None
    if header:
        note = (
            f"{where}: line 1 is read as the columns' names, because {names[label]!r} is the label of no other of the "
            f"first {len(rows):,} rows. If it is a message, pass --no-header"
        )
    return Columns(label, text, names, header, note=note)


def _by_values(where, rows, names, no_header, label_first):
    """Tell the columns apart by their values: few for the label, many for the text.

    label_first   whether a file that leaves it open has label and text, without a header, as the UCI file
    """
    found = _few_and_many(rows, len(names))
    as_assumed = found is None or label_first and found == (0, 1)
    if not as_assumed and (no_header or _recurs(rows, found[0])):
        label, text = found
        note = (
            f"{where}: no names of columns in line 1. Column {label + 1}, which has few values, is read as the label, "
            f"and column {text + 1} as the text; --label-column and --text-column name others"
        )
        return Columns(label, text, names, False, note=note)
    if label_first:
        return Columns(0, 1, names, False, assumed=True)
    column(where, names, "label")
    column(where, names, "text")
    raise InputError(f"{where}: cannot tell the columns apart; pass --text-column and --label-column as numbers")


def _few_and_many(rows, width):
    """Return the places of the only column with few values and of the only one with many, no numbers; or None."""
    columns = list(zip(*(row for row in rows if len(row) == width)))
    values = [set(column) for column in columns]
    few = [i for i in range(len(columns)) if 1 < len(values[i]) <= len(columns[i]) / FEW]
    many = [
        i for i in range(len(columns)) if len(values[i]) > len(columns[i]) / 2 and not all(map(is_number, values[i]))
    ]
    return (few[0], many[0]) if len(few) == len(many) == 1 else None


def _recurs(rows, label):
    """Return whether another row has the first row's label."""
    return rows[0][label].strip() in {row[label].strip() for row in rows[1:] if len(row) > label}


def is_number(field):
    try:
        float(field)
    except ValueError:
        return False
    return True
