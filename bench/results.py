"""A subject's figures as a section of RESULTS.md: a table, what it shows, and how it was made."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from numpygpt.system.files import replacing

HEADER = """# Measured side by side

Written by `python -m bench`; each section names the command that made it, the day and the machine, and making it again
replaces that section only. A figure is the median of several repetitions, in which numpygpt and its peer took turns,
with the smallest and the largest in brackets; "better" says how many times. "The same, our shortcuts" is PyTorch that
leaves out the same work. "Limit" is the best that the machine allows, from the rates of its matrix products and of its
memory on all cores, measured in the same run.
"""


@dataclass
class Row:
    """One thing that was measured: all repetitions of the figures in `unit`, of numpygpt, of the peer, and of the peer
    with numpygpt's shortcuts; and the best that the machine allows, measured beside them."""

    what: str
    unit: str
    ours: list
    peer: list = field(default_factory=list)
    fair: list = field(default_factory=list)
    limit: float | None = None
    higher_is_better: bool = False

    def times_better(self, others):
        """How many times better than these our median is, or None where there are none."""
        if not others:
            return None
        ratio = median(self.ours) / median(others)
        return ratio if self.higher_is_better else 1 / ratio

    @property
    def share(self):
        """The part of what the machine allows that is reached, or None where that is not known."""
        return None if self.limit is None else self.times_better([self.limit])

    def cells(self):
        cells = [self.what, spread(self.ours, self.unit)]
        for others in (self.peer, self.fair):
            times = self.times_better(others)
            cells += [spread(others, self.unit), "" if times is None else f"{figure(times)} ×"]
        share = ["–", ""] if self.limit is None else [f"{figure(self.limit)} {self.unit}", f"{self.share:.0%}"]
        return cells + share


@dataclass
class Section:
    """All that is known of a subject. `about` explains what was measured;
    each note is a sentence or two on what came out."""

    subject: str
    about: str
    rows: list
    notes: list = field(default_factory=list)
    peer: str = "PyTorch"

    def markdown(self, made):
        """The section's text. `made` says how, when and on what it was made."""
        header = ["", "numpygpt", self.peer, "better", "the same, our shortcuts", "better", "limit", "share of it"]
        columns = [column for column in zip(header, *(row.cells() for row in self.rows)) if {*column[1:]} - {"", "–"}]
        parts = [f"## {self.subject}", self.about.strip(), table(list(zip(*columns)))]
        return "\n\n".join([*parts, *self.notes, made]) + "\n"


def figure(number):
    """A number in about three digits: 1,260; 24.1; 0.493."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def spread(numbers, unit):
    """Median, unit and (smallest–largest), or a dash where nothing was measured."""
    if not numbers:
        return "–"
    extremes = f" ({figure(min(numbers))}–{figure(max(numbers))})" if len(numbers) > 1 else ""
    return f"{figure(median(numbers))} {unit}{extremes}"


def table(rows):
    """A Markdown table with aligned columns, the first of the rows its header."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def with_section(text, section):
    """`text` with the section of the same title replaced, or where there is none, with the section added at its end."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    title = section.partition("\n")[0]
    places = [i for i, part in enumerate(parts) if part.partition("\n")[0].rstrip() == title]
    if places:
        last = places[0] == len(parts) - 1
        parts[places[0]] = section if last else section + "\n"
        return "".join(parts)
    return text.rstrip("\n") + "\n\n" + section


def write_section(path, section):
    """Put the section into the file, in place of its predecessor; all else in the file stays as it is."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    with replacing(path) as file:
        file.write(with_section(text, section).encode())
