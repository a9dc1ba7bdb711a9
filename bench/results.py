"""Format a subject's figures as a section of RESULTS.md: a table, its explanation, and the command that made it."""

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
    """A row of figures: all repetitions in `unit` of numpygpt, of the peer, and of the peer with numpygpt's shortcuts.

    The limit is the best that the machine allows, measured in the same run.
    """

    what: str
    unit: str
    ours: list
    peer: list = field(default_factory=list)
    fair: list = field(default_factory=list)
    limit: float | None = None
    higher_is_better: bool = False

    def times_better(self, others):
        """Return how many times better our median is than that of these figures, or None without figures."""
        if not others:
            return None
        ratio = median(self.ours) / median(others)
        return ratio if self.higher_is_better else 1 / ratio

    @property
    def share(self):
        """Return the reached share of the limit, or None without a limit."""
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
    """A subject's results. `about` explains the measurement. Each note has one or two sentences on the outcome."""

    subject: str
    about: str
    rows: list
    notes: list = field(default_factory=list)
    peer: str = "PyTorch"

    def markdown(self, made):
        """Return the section's text. `made` states the command, the day and the machine."""
        header = ["", "numpygpt", self.peer, "better", "the same, our shortcuts", "better", "limit", "share of it"]
        columns = [column for column in zip(header, *(row.cells() for row in self.rows)) if {*column[1:]} - {"", "–"}]
        parts = [f"## {self.subject}", self.about.strip(), table(list(zip(*columns)))]
        return "\n\n".join([*parts, *self.notes, made]) + "\n"


def last_line(log):
    """Return the last line of a log file: the error of a command that failed."""
    return log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2].removeprefix("error: ")


def figure(number):
    """Format a number with about three digits: 1,260; 24.1; 0.493."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def spread(numbers, unit):
    """Format median, unit and (smallest–largest), or a dash without figures."""
    if not numbers:
        return "–"
    extremes = f" ({figure(min(numbers))}–{figure(max(numbers))})" if len(numbers) > 1 else ""
    return f"{figure(median(numbers))} {unit}{extremes}"


def table(rows):
    """Return a Markdown table with aligned columns. The first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def with_section(text, section):
    """Return `text` with the section of the same title replaced, or with the section appended."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    title = section.partition("\n")[0]
    places = [i for i, part in enumerate(parts) if part.partition("\n")[0].rstrip() == title]
    if places:
        last = places[0] == len(parts) - 1
        parts[places[0]] = section if last else section + "\n"
        return "".join(parts)
    return text.rstrip("\n") + "\n\n" + section


def write_section(path, section):
    """Replace the section's predecessor in the file, or append the section. Keep all other text."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    with replacing(path) as file:
        file.write(with_section(text, section).encode())
