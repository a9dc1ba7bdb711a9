"""An exercise: an operation without its gradients, for a learner to write, and the known mistakes in writing them."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module

import numpy as np

from .. import exercises

EMPTY = "...  # not written yet"


@dataclass(frozen=True)
class Draw:
    """Inputs for a check. Their sizes differ, so that a transposed array or a sum over the wrong axis shows."""

    label: str  # "three messages", say
    arguments: dict
    sizes: dict = field(default_factory=dict)  # {"N": 5, …}: names for a wrong factor
    rows: dict = field(default_factory=dict)  # {"the first row of each message": indices, …}: names for wrong rows


@dataclass(frozen=True)
class Exercise:
    """An exercise. Its file defines HINTS, `draws`, and below them the known mistakes.

    A mistake is a function without arguments. Its docstring is the message. Its lines set the wrong value: `dx = …`
    replaces what the shipped `dx(dy)` returns, and can use that function's variables, also `dx`, the right value. In a
    function with one `backward`, or in a step, the lines stand in front of the `return`.
    """

    name: str  # of the exercise, its function and its file
    teaches: str
    function: Callable  # the shipped one
    hints: tuple  # the first two; the third is the algebra: the docstring from its third paragraph on, unless given
    draws: Callable  # rng -> [Draw]
    mistakes_in: str  # __name__ of the file
    imports: str = ""  # the lines above a function that is shipped in the exercise's own file
    gradients: tuple = ()  # names of the arguments that have a gradient; all float arrays unless given
    asked: str = ""  # the argument that says which gradients are wanted; the others are None, and must cost nothing
    is_step: bool = False  # no gradients: the results, `gradients` by name, are compared with the shipped ones

    def solution_text(self):
        """Return the shipped text: of an operation its file, without other exercises' operations."""
        if self.imports:
            return f"{self.imports}\n\n\n{inspect.getsource(self.function)}"
        text, shipped = inspect.getsource(inspect.getmodule(self.function)), self.function.__name__
        for node in reversed(ast.parse(text).body):
            if isinstance(node, ast.FunctionDef) and node.name != shipped and _nested(node):
                text = _replaced(text, node.lineno, node.end_lineno + 2, "")
        head = "" if "import numpy as np" in text else "import numpy as np\n\n\n"
        return f"{head}{text.rstrip()}\n".replace(f"def {shipped}(", f"def {self.name}(")

    def text(self):
        """Return a learner's file: what to do, and the function without its gradients."""
        return f"{self._task()}\n\n{self.without_gradients()}"

    def cell(self, solved):
        """Return the text of a notebook's cell, without its gradients or solved. It imports shipped operations."""
        text = self.solution_text() if solved else self.without_gradients()
        for name in re.findall(r"^from (\w+) import \1$", text, re.MULTILINE):
            shipped = exercises.exercise(name).function
            renamed = "" if shipped.__name__ == name else f" as {name}"
            by = f"from {shipped.__module__} import {shipped.__name__}{renamed}"
            text = text.replace(f"from {name} import {name}", by)
        return text.rstrip()

    def without_gradients(self):
        """Return the shipped text without the gradients' lines and the docstring's algebra."""
        text = self.solution_text()
        node = _function(ast.parse(text), self.name)
        docstring, *body = node.body
        for empty in reversed([f.body for f in _nested(node)] or [body]):
            text = _replaced(text, empty[0].lineno, empty[-1].end_lineno, " " * empty[0].col_offset + EMPTY)
        shown = textwrap.indent("\n\n".join(self._paragraphs[:2]), "    ").strip()
        return _replaced(text, docstring.lineno, docstring.end_lineno, f'    """{shown}\n    """')

    def _task(self):
        names = self.wanted(self.draws(np.random.default_rng(0))[0].arguments)
        listed = textwrap.fill(", ".join(f"d{name}" for name in names), 100)
        functions = [f.name for f in _nested(_function(ast.parse(self.solution_text()), self.name))]
        if self.is_step:
            what = f"Write the body. It returns the new {', '.join(names)}."
        elif functions == ["backward"]:
            what = (
                f"Write backward. It takes the gradient of the loss with respect to the result, and returns\n{listed}."
            )
        else:
            what = (
                "Write one function per gradient. Each takes the gradient of the loss with respect to the result, and\n"
                f"returns the gradient with respect to one input: {listed}."
            )
        return (
            f'"""Exercise {self.name}: {self.teaches}.\n\n{what}\nEach has the shape of its input. Check your file, as '
            f'often as you like:\n\n    python -m numpygpt.gradcheck {self.name}.py\n"""'
        )

    def solution_lines(self):
        """Return the lines that are missing in the learner's file."""
        text = self.solution_text()
        node, lines = _function(ast.parse(text), self.name), text.splitlines()
        parts = _nested(node) or node.body[1:]
        return "\n".join(
            textwrap.dedent("\n".join(lines[p.lineno - 1 : p.end_lineno])) + "\n" * bool(_nested(node)) for p in parts
        )

    @property
    def _paragraphs(self):
        return inspect.getdoc(self.function).split("\n\n")

    def hint(self, number):
        """Return hint 1, 2 or 3. Each says more."""
        return (*self.hints, "\n\n".join(self._paragraphs[2:]))[number - 1]

    @cached_property
    def mistakes(self):
        """The known mistakes: [(name, message, text of the whole file)]. Every check compares with all of them."""
        source = inspect.getsource(import_module(self.mistakes_in))
        own = {self.function.__name__, "draws"}
        found = []
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name not in own:
                message = " ".join(ast.get_docstring(node).split())
                found.append((node.name, message, self._with(node.body[1:])))
        return found

    def _with(self, lines):
        """Return the shipped text with the lines of a mistake in it."""
        tree = ast.parse(self.solution_text())
        function = _function(tree, self.name)
        sets = {
            n.id for line in lines for n in ast.walk(line) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        for place in _nested(function) or [function]:
            if place is function or place.name == "backward":
                place.body[-1:-1] = lines
            elif place.name in sets:
                right = ast.Assign([ast.Name(place.name, ast.Store())], place.body[-1].value)
                place.body[-1:] = [right, *lines, ast.Return(ast.Name(place.name, ast.Load()))]
        return ast.unparse(ast.fix_missing_locations(tree))

    def wanted(self, arguments):
        """Return the names of the arguments that have a gradient."""
        names = self.gradients or tuple(n for n, a in arguments.items() if is_float(a))
        return tuple(n for n, asked in zip(names, arguments[self.asked]) if asked) if self.asked else names


def _function(tree, name):
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)


def _nested(node):
    return [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]


def _replaced(text, first, last, by):
    lines = text.splitlines()
    lines[first - 1 : last] = [by] if by else []
    return "\n".join(lines) + "\n"


def sizes_of(arguments):
    """Return names for the numbers in an operation's arguments by which a gradient may be wrong."""
    floats = {name: a for name, a in arguments.items() if is_float(a)}
    sizes = {f"{name}.shape[{axis}]": n for name, a in floats.items() for axis, n in enumerate(a.shape)}
    return sizes | {name: v for name, v in arguments.items() if isinstance(v, int | float) and v > 0}


def is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


@cache
def built(text, name):
    """Return the function of that name in a text of ours."""
    namespace = {}
    exec(compile(text, f"<{name}>", "exec"), namespace)
    return namespace[name]
