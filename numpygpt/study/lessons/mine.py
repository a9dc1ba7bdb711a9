"""The learner's own functions: from the notebooks of the lessons and the files of the exercises."""

import ast
import json
import linecache
import re
from pathlib import Path

from ...system.errors import InputError
from .. import exercises
from ..checking.check import check_function

# The operations of a classifier's training that the lessons have.
TRAINING = (
    "linear",
    "softmax",
    "cross_entropy",
    "gelu",
    "layernorm",
    "embedding",
    "mean_rows",
    "attention",
    "causal_attention",
)


class Mine(dict):
    """{exercise: function} of the functions that hold. It prints where each came from, and what became of the others.

    rows   (exercise, file, what the check found)
    """

    def __init__(self, rows, functions):
        super().__init__(functions)
        self.rows = rows

    def __repr__(self):
        if not self.rows:
            return "none of your functions was found here, in lesson_1.ipynb and so on or in a file of an exercise"
        return "\n".join(f"{name:<18}{file:<18}{found}" for name, file, found in self.rows)


def mine(names=TRAINING, folder=".") -> Mine:
    """Return your own functions of these exercises, as far as the check finds them right.

    It looks in `lesson_1.ipynb` and so on, and in `linear.py` and so on, of the folder. The newest text wins. Save a
    notebook before you call this. The cells and files run in this process.
    """
    rows, functions = [], {}
    texts = list(_texts(Path(folder)))
    for name in names:
        own = [(file, text) for file, text in texts if re.search(rf"^def {name}\(", text, re.MULTILINE)]
        if not own:
            continue
        file, text = own[-1]
        function, found = _checked(name, file, text)
        rows.append((name, file.name, found))
        if function:
            functions[name] = function
    if {"attention", "causal_attention"} <= functions.keys():  # the model has one place for both
        del functions["attention"]
        rows = [(n, file, "holds; causal_attention is used" if n == "attention" else what) for n, file, what in rows]
    return Mine(rows, functions)


def _texts(folder):
    """Yield (file, text) of every file and every notebook's code cell in which a function may be, the newest last."""
    files = [*folder.glob("lesson_[0-9].ipynb"), *(folder / f"{name}.py" for name in exercises.NAMES)]
    for file in sorted(filter(Path.is_file, files), key=lambda file: file.stat().st_mtime_ns):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".py":
            yield file, text
            continue
        try:
            cells = json.loads(text)["cells"]
            yield from ((file, "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code")
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file}: not a notebook: open it in Jupyter and save it again") from None


def _checked(name, file, text):
    """Return (function or None, what the check found)."""
    label = f"<{name} of {file.name}>"
    linecache.cache[label] = len(text), None, text.splitlines(keepends=True), label  # for inspect
    namespace = {"__name__": name}
    try:
        tree = ast.parse(text)
        tree.body = [node for node in tree.body if not isinstance(node, ast.Expr)]  # no checks and prints
        exec(compile(tree, label, "exec"), namespace)
    except Exception as error:
        return None, f"does not run: {type(error).__name__}: {error}"
    verdict, _ = check_function(namespace[name], {})
    return (namespace[name], "holds") if verdict.holds else (None, "does not hold: the shipped one is used")
