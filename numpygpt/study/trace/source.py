"""The text of the traced functions, from their own files, and what each of their statements makes."""

import ast
import linecache
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Function:
    """A function's text.

    file, name     where it is defined
    outer          the name of the outermost function around it; its own name if there is none
    first, lines   the number of its first line, and its lines as they are in the file
    hidden         (first, last) line numbers of what is shown elsewhere: its docstring, and the functions inside it
    doc            the docstring's place in `hidden`, or None
    """

    file: Path
    name: str
    outer: str
    first: int
    lines: tuple[str, ...]
    hidden: tuple[tuple[int, int], ...]
    doc: tuple[int, int] | None

    @property
    def nested(self):
        """Whether this function is defined inside another one, as every gradient function is."""
        return self.outer != self.name

    def shown(self):
        """Return [(line number, text)] without blank and hidden lines."""
        numbered = enumerate(self.lines, self.first)
        return [
            (number, text)
            for number, text in numbered
            if text.strip() and not any(first <= number <= last for first, last in self.hidden)
        ]


@dataclass(frozen=True)
class Statement:
    """One statement: its first and last line (of a loop, its header's), and what it makes.

    makes     (text, code) of each target: `xhat`, `sums[number]`; once the statement has run, code evaluates to the
              target's value in the frame
    body      of a loop, the first and last line of what it repeats, else None
    returns   whether it is a return; then `makes` holds the returned parts in order, without code
    """

    first: int
    last: int
    makes: tuple
    body: tuple[int, int] | None = None
    returns: bool = False


def function_of(code):
    """Return the Function of a code object."""
    return _file(code.co_filename)[0][code.co_firstlineno]


def statement_at(code, line):
    """Return the Statement that a line belongs to, or None for the line of a `def`."""
    return _file(code.co_filename)[1].get(line)


def forget(filename):
    """Read a file again that may have changed."""
    linecache.checkcache(filename)
    _file.cache_clear()


@cache
def _file(filename):
    """Return ({first line: Function}, {line: Statement}) of a file, or of a notebook's cell."""
    text = "".join(linecache.getlines(filename))
    lines, functions, statements = text.splitlines(), {}, {}

    def visit(node, outer):
        for child in ast.iter_child_nodes(node):
            name = outer
            if isinstance(child, ast.FunctionDef):
                name = outer or child.name
                first = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                functions[first] = _function(Path(filename), lines, child, name)
            elif isinstance(child, ast.stmt) and outer:
                statement = _statement(child)
                for line in range(statement.first, statement.last + 1):
                    statements[line] = statement  # an inner statement comes later, and wins
            visit(child, name)

    visit(ast.parse(text), None)
    return functions, statements


def _function(file, lines, node, outer):
    doc = (node.body[0].lineno, node.body[0].end_lineno) if ast.get_docstring(node) is not None else None
    inner = [(child.lineno, child.end_lineno) for child in node.body if isinstance(child, ast.FunctionDef)]
    hidden = tuple([doc, *inner] if doc else inner)
    return Function(file, node.name, outer, node.lineno, tuple(lines[node.lineno - 1 : node.end_lineno]), hidden, doc)


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
    # Where a loop writes to an array, what one pass writes; otherwise the whole array.
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
