"""The text of the traced functions, from their own files, and what each of its statements makes."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Function:
    """A function's text.

    file, name   where it stands
    first, lines   the number of its first line (a decorator's, if it has one), and its lines as they are in the file
    doc          (first, last) line numbers of its docstring; None without
    nested       (name, first, last) of each function inside it: of its gradients
    """

    file: Path
    name: str
    first: int
    lines: tuple[str, ...]
    doc: tuple[int, int] | None
    nested: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Statement:
    """One statement: its first and last line (of a loop, its header's), and what it makes.

    makes   (text, code) of each: `xhat`, `dtable[number]`; code evaluates to its value in the frame, once the
            statement has run
    body    of a loop the first and last line of what it repeats, else None
    returns   whether it is a return: then `makes` are the parts of what is returned, in order, without code
    """

    first: int
    last: int
    makes: tuple
    body: tuple[int, int] | None = None
    returns: bool = False


def function_of(code):
    """The Function that this code object is, or is nested in."""
    return _file(code.co_filename)[1][_place(code)]


def nested_name(code):
    """Return the name of a function inside another, such as `dx`; None of an outermost function."""
    return None if _place(code) == (code.co_name, code.co_firstlineno) else code.co_name


def statement_at(code, line):
    """The Statement that a line belongs to; None of the line of a `def`."""
    return _file(code.co_filename)[2].get(line)


def _place(code):
    return _file(code.co_filename)[0][code.co_name, code.co_firstlineno]


@cache
def _file(filename):
    """({(name, first line): the same of the outermost function}, {(name, first line): Function}, {line:
    Statement}) of a file.
    """
    text = Path(filename).read_text(encoding="utf-8")
    lines, outer, functions, statements = text.splitlines(), {}, {}, {}
    for node in ast.walk(ast.parse(text)):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef) and isinstance(node, ast.Module | ast.ClassDef):
                place = child.name, _first(child)
                functions[place] = _function(Path(filename), lines, child)
                for inner in ast.walk(child):
                    if isinstance(inner, ast.FunctionDef):
                        outer[inner.name, _first(inner)] = place
                    elif isinstance(inner, ast.stmt):
                        statement = _statement(inner)
                        for line in range(statement.first, statement.last + 1):
                            statements[line] = statement  # an inner statement comes later, and wins
    return outer, functions, statements


def _first(node):
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _function(file, lines, node):
    first, doc = _first(node), None
    if ast.get_docstring(node) is not None:
        doc = node.body[0].lineno, node.body[0].end_lineno
    nested = tuple((n.name, n.lineno, n.end_lineno) for n in node.body if isinstance(n, ast.FunctionDef))
    return Function(file, node.name, first, tuple(lines[first - 1 : node.end_lineno]), doc, nested)


def _statement(node):
    first, last, body = node.lineno, node.end_lineno, None
    if isinstance(getattr(node, "body", None), list):  # a loop, a branch: here only its header
        last = max(first, node.body[0].lineno - 1)
    if isinstance(node, ast.For | ast.While):
        body = node.body[0].lineno, node.body[-1].end_lineno
    if isinstance(node, ast.Return):
        parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] if node.value else []
        return Statement(first, last, tuple((ast.unparse(part), None) for part in parts), returns=True)
    targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
    made = [part for target in targets if target is not None for part in _flat(target) if ast.unparse(part) != "_"]
    # Of an array that is written to in a loop, what one pass writes; else the whole array.
    return Statement(first, last, tuple((text, _code(text)) for text in map(_made, made)), body)


def _flat(target):
    if isinstance(target, ast.Tuple | ast.List):
        return [part for element in target.elts for part in _flat(element)]
    return [target]


def _made(target):
    while isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Name):
        target = target.value
    return ast.unparse(target)


def _code(text):
    return compile(text, "<target>", "eval")
