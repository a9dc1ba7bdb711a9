"""Run a lesson's cells in a plain namespace, without Jupyter.

python -m tests.lessons        writes what each cell prints into the lessons' files
"""

import ast
import contextlib
import io
import linecache
import re
import sys

from numpygpt.study import lessons


def run(lesson, key=False, until=None):
    """Yield (cell, what it printed, the value of its last expression) of each code cell, in order.

    until   a heading at which to stop
    """
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(lesson.cells(key)):
        if until and cell.text.startswith(f"## {until}"):
            return
        if cell.kind == "markdown":
            continue
        name = f"<lesson {lesson.number}, cell {number}>"
        linecache.cache[name] = len(cell.text), None, cell.text.splitlines(keepends=True), name  # for inspect
        *body, last = ast.parse(cell.text).body
        value, printed = None, io.StringIO()
        with contextlib.redirect_stdout(printed):
            if isinstance(last, ast.Expr):
                exec(compile(ast.Module(body, []), name, "exec"), namespace)
                value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            else:
                exec(compile(cell.text, name, "exec"), namespace)
        yield cell, printed.getvalue(), value


def write(number):
    """Write into the lesson's file what its cells print, where it says anything about that."""
    path = lessons.FILES[number]
    printed = iter([printed for cell, printed, _ in run(lessons.lesson(number), key=True) if cell.prints is not None])
    text = path.read_text(encoding="utf-8")
    fence = re.compile(r"^```output\n.*?^```$", re.MULTILINE | re.DOTALL)
    path.write_text(
        fence.sub(lambda _: f"```output\n{next(printed).rstrip()}\n```", text), encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]) if sys.argv[1:] else lessons.FILES:
        write(number)
