"""A subject's figures as a section of RESULTS.md: a table, what it shows, and how it was made."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from numpygpt.system.files import replacing

HEADER = """# Measured side by side

Written by `python -m bench`; each section names the command that made it, the day and the machine, and making it again
replaces that section only. A figure is the median of several repetitions, in which numpygpt and its peer took turns,
with the smallest and the largest in brackets; "better" says how many times.
"""


@dataclass
class Row:
    """One thing that was measured: all repetitions of numpygpt's and the peer's figures, in `unit`."""

    what: str
    unit: str
    ours: list
    peer: list
    higher_is_better: bool = False

    @property
    def better(self):
        """How many times better than the peer's our median is, or None where there is no peer."""
        if not self.peer:
            return None
        ratio = median(self.ours) / median(self.peer)
        return ratio if self.higher_is_better else 1 / ratio

    def cells(self):
        better = "" if self.better is None else f"{figure(self.better)} ×"
        return [self.what, spread(self.ours, self.unit), spread(self.peer, self.unit), better]


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
        header = ["", "numpygpt", self.peer, "better"]
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
