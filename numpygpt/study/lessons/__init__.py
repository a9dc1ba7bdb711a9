"""The lessons: a Markdown file each, which you can read as it is, and a notebook made of it.

A lesson's file begins with `# Lesson 3: its title` and `About 15 minutes.` Four kinds of fences mean something to the
notebook; all other text is Markdown:

    ```python           a code cell
    ```output           what the code cell above prints; a test compares it, and the notebook leaves it out
    ```exercise NAME    a code cell: an exercise's function with its gradients taken out, in the key the shipped one
    ```formula NAME PASS   the formulas of an operation's pass, forward or backward, typeset

A heading begins a new cell. The last cell has the entries of `glossary.md` to which the lesson links.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ...ops.attention import attention
from .. import exercises
from ..checking.exercise import Exercise
from ..formulas import formula
from .plain_loss import plain_loss

FOLDER = Path(__file__).parent
FILES = dict(sorted((int(path.name.split("_")[0]), path) for path in FOLDER.glob("[0-9]*_*.md")))
GLOSSARY = FOLDER / "glossary.md"
TURN = re.compile(r"^(\w+) = (.+?)  # try (.+)$", re.MULTILINE)
# Not among the exercises: lessons 7 and 2 check them as operations of the learner's own.
OWN = {
    "heads": Exercise("heads", "splitting and merging heads only moves numbers", attention, (), lambda rng: [], ""),
    "plain_loss": Exercise(
        "plain_loss", "a mean over rows", plain_loss, (), lambda rng: [], "", imports="import numpy as np"
    ),
}


@dataclass(frozen=True)
class Cell:
    kind: str  # "markdown", "python" or "exercise"
    text: str
    prints: str | None = None  # what a code cell prints, if the lesson says so

    @property
    def turn(self) -> tuple[str, list[str]] | None:
        """Return (name, values) of the number that the reader may change, the cell's own value first; or None.

        A line of such a cell reads `step = 0.1  # try 0.01, 0.3`.
        """
        found = TURN.search(self.text)
        return found and (found[1], [found[2], *re.split(r", (?![^\[]*\])", found[3])])

    def turned(self, value) -> str:
        """Return the cell's text with another value of that number."""
        return TURN.sub(rf"\1 = {value}", self.text)


@dataclass(frozen=True)
class Lesson:
    number: int
    title: str
    minutes: int
    text: str  # the file

    def cells(self, key=False) -> list[Cell]:
        """Return the notebook's cells. With `key`, the exercises are solved."""
        found: list[Cell] = []
        for kind, argument, text in parts(self.text):
            match kind:
                case "output":
                    found[-1] = Cell(found[-1].kind, found[-1].text, text)
                case "exercise":
                    exercise = OWN.get(argument) or exercises.exercise(argument)
                    found.append(Cell(kind, exercise.cell(key)))
                case "python":
                    found.append(Cell(kind, text))
                case "markdown":
                    found.append(Cell(kind, text))
        return [*found, Cell("markdown", f"## Words\n\n{words_of(self.text)}")]


def lesson(number) -> Lesson:
    """Return the lesson of this number."""
    text = FILES[number].read_text(encoding="utf-8")
    title = re.match(rf"# Lesson {number}: (.+)\n", text)[1]
    return Lesson(number, title, int(re.search(r"^About (\d+) minutes\.", text, re.MULTILINE)[1]), text)


def parts(text):
    """Yield (kind, argument, text) of each part of a lesson's file, in order."""
    text = re.sub(r"^```formula (\w+) (forward|backward)\n```$", _typeset, text, flags=re.MULTILINE)
    fence = re.compile(r"^```(python|output|exercise)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    end = 0
    for found in fence.finditer(text):
        yield from _sections(text[end : found.start()])
        yield found[1], found[2], found[3].rstrip("\n")
        end = found.end()
    yield from _sections(text[end:])


def _typeset(found):
    lines = getattr(formula(found[1]), f"{found[2]}_latex")()
    return "\n\n".join(f"$$ {line} $$" for line in lines)


def _sections(text):
    for section in re.split(r"^(?=#{1,3} )", text, flags=re.MULTILINE):
        if section.strip():
            yield "markdown", None, section.strip()


def glossary() -> dict[str, str]:
    """Return {word: what it means}, in the order of the file."""
    entries = re.split(r"^## ", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {word: meaning.strip() for word, meaning in (entry.split("\n", 1) for entry in entries)}


def words_of(text) -> str:
    """Return the entries of the glossary to which a text links, as Markdown. A heading is a link's target."""
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))
    return "\n\n".join(f"### {word}\n\n{meaning}" for word, meaning in glossary().items() if word in linked)
