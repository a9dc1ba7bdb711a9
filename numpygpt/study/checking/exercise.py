"""An exercise: an operation whose backward pass is to be written, and the wrong ways of writing it that are known."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import exercise_text

MISTAKES = Path(__file__).with_name("mistakes")


@dataclass(frozen=True)
class Draw:
    """Inputs to check with. Sizes differ, so that what is transposed or summed over the wrong axis shows."""

    label: str  # "three messages", say
    arguments: dict
    sizes: dict = field(default_factory=dict)  # {"N": 5, …}: by which a wrong factor is named
    rows: dict = field(default_factory=dict)  # {"the first row of each message": indices, …}: by which wrong rows are


@dataclass(frozen=True)
class Exercise:
    name: str  # of the exercise, its function and its file
    teaches: str
    function: Callable  # the shipped one
    hints: tuple  # the first and the second; the third is the algebra: the rest of the docstring, unless it is given
    draws: Callable  # rng -> [Draw]
    without: tuple = ()  # arguments of the shipped function that are left out, with the lines that they decide
    docstring: str = ""  # in place of the shipped function's
    paragraphs: int = 2  # of the shipped docstring, that are shown
    gradients: tuple = ()  # names of the arguments whose gradients are wanted; all float arrays unless given
    pieces: tuple = ()  # exercises that it is made of, imported from the learner's own files
    asked: str = ""  # the argument that says which gradients are asked for; the others are None, and cost nothing
    is_step: bool = False  # no backward: its results, `gradients` by name, are compared with the shipped ones
    split: dict = field(default_factory=dict)  # {"qkv": ("q", "k", "v")}: shown and explained apart

    @property
    def parts(self):
        return exercise_text.parts(self.function, self.name, self.without, self.pieces)

    @property
    def shown_docstring(self):
        return self.docstring or "\n\n".join(self.parts.paragraphs[: self.paragraphs])

    def text(self):
        """The file that a learner gets."""
        return f"{self.task()}\n\n{exercise_text.exercise(self.parts, self.shown_docstring)}"

    def task(self):
        """What is to be done, as the docstring of that file."""
        names = self.wanted(self.draws(np.random.default_rng(0))[0].arguments)
        listed = textwrap.fill(", ".join(f"d{name}" for name in names), 100)
        if self.is_step:
            what = f"Write the body: it returns the new {', '.join(names)}."
        else:
            what = (
                "Write the lines of backward. It is handed the gradient of the loss with respect to the result, and\n"
                f"returns that with respect to each input, in this order:\n{listed}."
            )
        return (
            f'"""Exercise {self.name}: {self.teaches}.\n\n{what} Each has the shape of what it belongs to. Then:\n\n'
            f'    python -m numpygpt.gradcheck {self.name}.py\n"""'
        )

    def solution_text(self):
        """The same with the shipped lines in it."""
        return exercise_text.solution(self.parts, self.shown_docstring)

    def solution_lines(self):
        """The shipped lines alone, with what they use."""
        lines = textwrap.dedent(self.parts.solution)
        extra = "" if self.pieces else self.parts.above_all.removeprefix(self.parts.above).strip()
        return f"{lines}\n\n\n{extra}\n" if extra else f"{lines}\n"

    def hint(self, number):
        """Hint 1, 2 or 3, each saying more."""
        hints = (*self.hints, "\n\n".join(self.parts.paragraphs[self.paragraphs :]))
        return hints[number - 1]

    def mistakes(self):
        """The known wrong backward passes: [(name, message, text of the whole function)]."""
        source = (MISTAKES / f"{self.name}.py").read_text(encoding="utf-8")
        lines, found = source.splitlines(), []
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                docstring, *body = node.body
                message = " ".join(inspect.cleandoc(docstring.value.value).split())
                code = textwrap.dedent("\n".join(lines[body[0].lineno - 1 : node.end_lineno]))
                text = exercise_text.solution(self.parts, "", before_the_return=code)
                found.append((node.name, message, text))
        return found

    def wanted(self, arguments):
        """The names of the arguments that have a gradient."""
        names = self.gradients or tuple(n for n, a in arguments.items() if is_float(a))
        return tuple(n for n, asked in zip(names, arguments[self.asked]) if asked) if self.asked else names


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def built(text, name):
    """The function of that name in a text of ours."""
    namespace = {}
    exec(compile(text, f"<{name}>", "exec"), namespace)
    return namespace[name]
