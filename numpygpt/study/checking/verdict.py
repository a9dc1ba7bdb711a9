"""What a check found: a table of the gradients, and below it what is wrong, or that all hold. As text and as HTML."""

from dataclasses import dataclass, field
from html import escape


@dataclass
class Row:
    """One line of the table: an array in the draw in which it is worst."""

    name: str
    shape: str
    digits: int
    entry: str  # the index of the worst entry
    yours: float
    right: float
    wrong_in: str | None = None  # the label of that draw, if it is wrong there

    def cells(self):
        mark = "" if self.wrong_in is None else f"  wrong ({self.wrong_in})"
        return self.name, self.shape, f"{self.digits}", self.entry, f"{self.yours:.9g}", f"{self.right:.9g}", mark


@dataclass
class Verdict:
    """Whether an operation holds, and what there is to say about it."""

    holds: bool
    messages: list
    rows: list = field(default_factory=list)
    title: str = "gradient"  # of the first column
    printed: list = field(default_factory=list)  # what the learner's file printed, with a title

    @property
    def lines(self):
        """Return the text, line by line."""
        head = (self.title, "shape", "digits", "worst entry", "yours", "right", "")
        table = [_row(cells) for cells in (head, *(row.cells() for row in self.rows))] if self.rows else []
        return [*self.printed, *table, *self.messages]

    def html(self):
        """Return the same as HTML, for a notebook. Its colours suit a light and a dark page."""
        head = (self.title, "shape", "digits", "worst entry", "yours", "right", "")
        rows = [_html_row("th", head, "")] if self.rows else []
        for row in self.rows:
            colour = "" if row.wrong_in is None else "background:#c01f2e33"
            rows.append(_html_row("td", row.cells(), colour))
        style = "font-family:monospace;color:inherit;border-collapse:collapse"
        table = f'<table style="{style}">{"".join(rows)}</table>' if rows else ""
        messages = "".join(map(_html_message, self.messages))
        printed = "".join(f"<pre>{escape(text)}</pre>" for text in self.printed)
        colour = "#1c7a3d" if self.holds else "#c01f2e"
        return f'<div style="border-left:4px solid {colour};padding-left:.7em">{printed}{table}{messages}</div>'


def _row(cells):
    name, shape, digits, entry, yours, right, mark = cells
    return f"{name:<16}{shape:<10}{digits:>6}   {entry:<14}{yours:>15}{right:>15}{mark}"


def _html_message(text):
    """Return a message. Its lines of code are indented."""
    first, *code = escape(text).splitlines()
    strong = f"<b>{first}</b>" if first.startswith("first wrong") else first
    return f"<div>{strong}</div>" + "".join(f'<pre style="margin:0;color:inherit">{line}</pre>' for line in code)


def _html_row(tag, cells, style):
    aligned = ("left", "left", "right", "left", "right", "right", "left")
    texts = [
        f'<{tag} style="text-align:{a};padding:0 .6em 0 0">{escape(cell.strip())}</{tag}>'
        for a, cell in zip(aligned, cells)
    ]
    return f'<tr style="{style}">{"".join(texts)}</tr>'
