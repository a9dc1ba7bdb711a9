"""Run a lesson's cells in a plain namespace, without Jupyter."""

import ast
import contextlib
import io
import linecache


def run(lesson, key=False, until=None):
    """Yield (cell, what it printed, the value of its last expression) of each code cell, in order.

    until   a heading at which to stop
    """
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(lesson.cells(key)):
        if until and cell.text.startswith(f"## {until}"):
            return
        if cell.kind != "markdown":
            yield cell, *executed(cell.text, f"<lesson {lesson.number}, cell {number}>", namespace)


def executed(text, name, namespace):
    """Run a cell's text. Return what it printed, and the value of its last expression, or None."""
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name  # for inspect
    *body, last = ast.parse(text).body
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if not isinstance(last, ast.Expr):
            exec(compile(text, name, "exec"), namespace)
            return printed.getvalue(), None
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
    return printed.getvalue(), value
