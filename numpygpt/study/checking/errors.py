"""Tells an error in a learner's code by its line and, of shapes that do not fit, by the arrays' names and shapes."""

import ast
import linecache
import re
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .calls import name_of

CHANGING = {"at", "fill", "itemset", "partition", "put", "resize", "setflags", "sort"}  # methods that are not run again


@dataclass(frozen=True)
class Source:
    """Where a learner's code is: its name in messages, and the folder whose files' lines are named."""

    label: str
    folder: Path

    @classmethod
    def of(cls, function):
        """Return the Source of a function of this process. A notebook's cells are named after the function."""
        code = getattr(function, "__code__", None)
        path = Path(code.co_filename if code else "").resolve()
        label = path.name if path.is_file() else name_of(function)
        return cls(label, path.parent)


def where(error, source):
    """(file, line number, its text, function, message) of an error: the last place that is in the learner's folder."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return [Path(error.filename).name, error.lineno, (error.text or "").strip(), "", f"{name}: {error.msg}"]
    passed = error.__traceback__
    last = None
    while passed:
        if Path(passed.tb_frame.f_code.co_filename).resolve().parent == source.folder:
            last = passed
        passed = passed.tb_next
    message = f"{name}: {error}" if str(error) else name
    if last is None:
        return [source.label, None, "", "", message]
    code, line = last.tb_frame.f_code, last.tb_lineno
    if isinstance(error, ValueError) and (fit := misfit(last.tb_frame, line, error)):
        message = f"{name}: {fit}"
    if isinstance(error, UnboundLocalError) and (local := re.search("'(.+?)'", str(error))):
        own = f"{local[1]} gets a value in {code.co_name}, and is a name of its own there, without a value before"
        message = f"{name}: {own}. Use another name"
    path = Path(code.co_filename)
    label = path.name if path.is_file() else source.label
    text = linecache.getline(code.co_filename, line, last.tb_frame.f_globals).strip()
    return [label, line, text, code.co_name, message]


def misfit(frame, line, error):
    """Return which arrays in a line do not fit together, with their shapes, or None where it is something else."""
    statement = _statement(frame, line)
    if statement is None:
        return None
    for node in reversed(list(ast.walk(statement))):  # from the inside out
        parts = _parts(node, frame)
        if parts and _fails(node, frame):
            if called := _function_in(node, frame):
                return f"in `{ast.unparse(node)}` {called} is a function: call it, as in {called}(dy)"
            return _told(node, parts, error)
    return None


def _statement(frame, line):
    """Return the syntax tree of the innermost statement at a line."""
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals)))
    except SyntaxError:
        return None
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= (n.end_lineno or 0)]
    return found[-1] if found else None


def _parts(node, frame):
    """Return [(text, shape)] of the arrays that a node combines, none if running it again could change something."""
    if isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Assign | ast.AugAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        parts = [target, node.value] if isinstance(target, ast.Subscript | ast.Name) else []
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr not in CHANGING:
        owner = _evaluated(node.func.value, frame)
        parts = node.args if isinstance(owner, types.ModuleType) else [node.func.value, *node.args]
        parts = [inner for part in parts for inner in (part.elts if isinstance(part, ast.List | ast.Tuple) else [part])]
        parts = [] if any(keyword.arg == "out" for keyword in node.keywords) else parts
    else:
        return []
    values = [(ast.unparse(part), _evaluated(part, frame)) for part in parts]
    return [(text, value.shape) for text, value in values if isinstance(value, np.ndarray)]


def _evaluated(node, frame):
    """Return an expression's value in a frame, or None where it has none."""
    try:
        return eval(_code(node), frame.f_globals, frame.f_locals)
    except Exception:  # not an expression, or the one that fails
        return None


def _fails(node, frame):
    """Whether a node is what fails. An assignment is asked last, when nothing inside it failed."""
    if isinstance(node, ast.stmt):
        return _evaluated(node.value, frame) is not None
    try:
        eval(_code(node), frame.f_globals, frame.f_locals)
    except ValueError:
        return True
    except Exception:
        return False
    return False


def _function_in(node, frame):
    """Return the operand of a node that is a function, as text, or None."""
    operands = [node.left, node.right] if isinstance(node, ast.BinOp) else []
    return next((ast.unparse(part) for part in operands if callable(_evaluated(part, frame))), None)


def _code(node):
    return compile(ast.unparse(node), "<part>", "eval")


def _told(node, parts, error):
    shapes = " and ".join(f"{text} has shape {shape}" for text, shape in dict(parts).items())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        left, right = parts[0][1][-1:], parts[-1][1][-2:][:1]
        if left and right and left != right:
            return f"in `{ast.unparse(node)}` {shapes}: {left[0]} and {right[0]} must be equal"
    why = error if isinstance(node, ast.Call) else "they do not fit together"
    return f"in `{ast.unparse(node)}` {shapes}: {why}"
