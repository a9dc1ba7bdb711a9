"""Decide whether the fields of a tab-separated file are quoted as in CSV, which is what pandas and Excel write."""

import re

from .columns import is_number

_QUOTED = '"[^"]*(?:""[^"]*)*"'
_FIELD = rf"(?:{_QUOTED}|[^\"\t]*)"
_ROW = re.compile(rf"{_FIELD}(?:\t{_FIELD})*")
_FIELDS = re.compile(rf"(?:^|\t)({_FIELD})")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SIGNATURE = re.compile(
    r'(?:^|\t)"[^"]*(?:""[^"]*)+"(?:$|\t)'
)  # a quoted field with doubled quotes, which only CSV has


class _Style:
    """What has been seen of the fields so far, and which of three ways of quoting it still fits.

    Writers quote fields where they must (pandas), also those with commas (Excel), or all that are no numbers (R, and
    pandas where told to).
    """

    def __init__(self):
        self.some, self.where_needed, self.with_commas, self.all_texts = False, True, True, True

    def add(self, field):
        if field.startswith('"'):
            needed = any(character in field[1:-1] for character in '"\t\r\n')
            self.some = True
            self.where_needed &= needed
            self.with_commas &= needed or "," in field
        else:
            self.with_commas &= "," not in field
            self.all_texts = self.all_texts and (not field or is_number(field))

    def fits(self):
        return self.some and (self.where_needed or self.with_commas or self.all_texts)


def quoted_as_csv(lines):
    """Return (whether all fields are quoted as in CSV, None or a sentence for the user), from the lines of a file.

    They are if every line holds whole fields, every quote is in a quoted field and doubled there, and fields are quoted
    in one of the ways of `_Style`. No line inside a quoted field may have as many tabs as a row, or more: it could be a
    message that the field swallows. The sentence is for a file in which a field is quoted and others contradict.
    """
    style, signature, wrong, tabs = _Style(), None, None, None
    row, began, open_quote = [], 1, False
    for number, line in enumerate(lines, start=1):
        if signature is None and '""' in line and _SIGNATURE.search(line.rstrip("\r\n")):
            signature = number
        if wrong is not None:
            continue
        if not row:
            began = number
        row.append(line)
        open_quote ^= line.count('"') % 2 == 1
        if open_quote:
            continue
        text = "".join(row).rstrip("\r\n")
        row = []
        if not text:
            continue
        fields = _FIELDS.findall(text) if _ROW.fullmatch(text) else []
        tabs = len(fields) - 1 if tabs is None else tabs
        if not fields or any(line.count("\t") >= tabs for field in fields for line in _LINE_END.split(field)[1:]):
            wrong = began
        for field in fields:
            style.add(field)
    if wrong is None and row:
        wrong = began
    if wrong is None and style.fits():
        return True, None
    if signature is None:
        return False, None
    contradiction = f"line {wrong} is not" if wrong else "other fields are not"
    return False, (
        f"line {signature} looks quoted as in CSV, but {contradiction}. All quotes are read as they are; "
        "write the file as CSV if they are not meant"
    )
