"""An exercise as text, made from the shipped source: the forward pass as it is, the backward pass emptied.

An exercise stands by itself, with NumPy only. So what the shipped function uses of other functions (softmax in
attention, say) is written above it; and what serves only speed goes: the decorator that takes some rows at a time, and
`needs`, which spares gradients that nobody asks for.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from types import FunctionType, ModuleType

EMPTY = "return None  # nothing written yet"
NOT_TAUGHT = ("needs", "check_lengths")


@dataclass(frozen=True)
class Parts:
    """The text of a function, in pieces: what stands above it, its `def` line, docstring, forward and backward pass."""

    above: str  # what the forward pass uses
    above_all: str  # and the solution
    signature: str
    paragraphs: tuple  # of the docstring
    forward: str  # up to `def backward`; all of it indented as in the function, as are the next two
    backward_signature: str  # "" for a function without a backward, whose body is then all the exercise
    solution: str
    end: str


@cache
def parts(function, name, without=(), pieces=()):
    """Parts of a function, called `name` in them, less the arguments in `without` and what depends on them.

    pieces: functions that a learner has written, each in a file of its name; they are imported, not shown.
    """
    function = inspect.unwrap(function)
    unwanted = {*NOT_TAUGHT, *without}
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    docstring, *body = node.body
    signature = " ".join(line.strip() for line in lines[node.lineno - 1 : docstring.lineno - 1])
    signature = signature.replace("( ", "(").replace(",)", ")").replace(f"def {function.__name__}", f"def {name}")
    for argument in unwanted:
        signature = re.sub(rf", {argument}=(\([^)]*\)|[^,)]*)", "", signature)
    backward = next((s for s in body if isinstance(s, ast.FunctionDef) and s.name == "backward"), None)
    paragraphs = inspect.cleandoc(docstring.value.value).split("\n\n")
    kept = [statement for statement in body if not _mentions(_head(statement), unwanted)]
    if backward is None:
        texts = ["", "", _lines(lines, kept), ""]
    else:
        at = kept.index(backward)
        head = lines[backward.lineno - 1]
        texts = [_lines(lines, kept[:at]), head, _without_needs(lines, backward.body), _lines(lines, kept[at + 1 :])]
    taught = [s for s in kept if s is not backward]
    above = _above(function, taught if backward else [], pieces), _above(function, [node])
    return Parts(*above, signature, tuple(paragraphs), *texts)


def _lines(lines, statements):
    """The lines of these statements, with the comments and blank lines between them."""
    if not statements:
        return ""
    kept, end = [], None  # lines; the number of the last one
    for statement in statements:
        gap = lines[end : statement.lineno - 1] if end is not None else []
        if all(not line.strip() or line.strip().startswith("#") for line in gap):
            kept += gap
        kept += lines[statement.lineno - 1 : statement.end_lineno]
        end = statement.end_lineno
    return "\n".join(kept)


def _without_needs(lines, statements):
    """A backward's lines as if all gradients were asked for: `if needs[0]` is true."""
    kept = []
    for statement in statements:
        if isinstance(statement, ast.If) and _mentions(statement.test, NOT_TAUGHT):
            inner = lines[statement.body[0].lineno - 1 : statement.end_lineno]
            kept += [line[4:] for line in inner]
        elif not (isinstance(statement, ast.Assign) and _is_none(statement.value)):
            kept += lines[statement.lineno - 1 : statement.end_lineno]
    return re.sub(r" if needs\[\d\] else None", "", "\n".join(kept))


def _is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def _head(statement):
    """What decides whether a statement is taught: of an `if` its test, of a function nothing, else all of it."""
    if isinstance(statement, ast.If):
        return statement.test
    return ast.Pass() if isinstance(statement, ast.FunctionDef) else statement


def _mentions(node, names):
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))


def _above(function, nodes, pieces=()):
    """What these nodes of a function use: imports, constants and functions of this package, as text; callees first."""
    imports, own, constants, functions = {"import numpy as np"}, set(), {}, {}

    def gather(function, node):
        for name in [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]:
            value = function.__globals__.get(name)
            if name in NOT_TAUGHT or name in functions or value is function:
                continue
            if isinstance(value, ModuleType) and value.__name__ != "numpy":
                imports.add(f"import {name}")
            elif isinstance(value, int | float):
                constants[name], uses = _assignment(inspect.getmodule(function), name)
                gather(function, uses)
            elif name in pieces:
                own.add(f"from {name} import {name}")
            elif isinstance(value, FunctionType) and _is_mathematics(value):
                value = inspect.unwrap(value)
                source = inspect.getsource(value)
                source = source[source.index("def ") :].replace(f"def {value.__name__}(", f"def {name}(", 1)
                gather(value, ast.parse(source))
                functions[name] = source.rstrip()

    for node in nodes:
        gather(function, node)
    own = ["\n".join(sorted(own))] if own else []
    imports = "\n\n".join([*sorted(imports), *own])  # Python's, NumPy, the learner's
    constants = ["\n".join(constants.values())] if constants else []
    return "\n\n\n".join(["\n\n".join([imports, *constants]), *functions.values()])


def _is_mathematics(function):
    package = __name__.split(".")[0]
    return function.__module__.startswith(f"{package}.") and not function.__module__.startswith(f"{package}.system")


def _assignment(module, name):
    """The module's line that sets a constant, and its node."""
    source = inspect.getsource(module)
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            return source.splitlines()[statement.lineno - 1], statement.value
    raise LookupError(name)


def exercise(parts, docstring):
    """The text that a learner gets: all but the backward pass (or, where there is none, the body)."""
    return filled(parts, parts.above, docstring, EMPTY)


def solution(parts, docstring, before_the_return=""):
    """The whole text, with lines put in front of the solution's last `return`, where a mistake stands."""
    lines = textwrap.dedent(parts.solution).splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("return"))
    return filled(parts, parts.above_all, docstring, "\n".join([*lines[:last], before_the_return, *lines[last:]]))


def filled(parts, above, docstring, body):
    head = f'{above}\n\n\n{parts.signature}\n    """{textwrap.indent(docstring, "    ").strip()}\n    """\n'
    if not parts.backward_signature:
        return f"{head}{textwrap.indent(body, '    ')}\n"
    backward = f"{parts.backward_signature}\n{textwrap.indent(body, '        ')}"
    return f"{head}{parts.forward}\n\n{backward}\n\n{parts.end}\n"
