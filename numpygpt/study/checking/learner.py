"""Runs in a process of its own: a learner's file, as the program of theirs that it is, and what it did with each draw.

    python -m numpygpt.study.checking.learner REPORT < pickled {path, function, draws, derive, limit}

The report is an .npz file: arrays by name, and "facts", a JSON text that refers to them. Nothing is judged here.
"""

import ast
import faulthandler
import importlib.util
import json
import os
import pickle
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .calls import gradients_of, is_way_back, kept_arrays, positions, products
from .complex_step import complex_step
from .intermediates import inside


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
        label = path.name if path.is_file() else getattr(function, "__name__", type(function).__name__)
        return cls(label, path.parent)


class Stop(Exception):
    """There is nothing to run; the argument is a fact that says why."""


def main():
    job = pickle.load(sys.stdin.buffer)
    path, report = Path(job["path"]).resolve(), sys.argv[1]
    source = Source(path.name, path.parent)
    sys.stdin = open(os.devnull, encoding="utf-8")
    sys.path[0] = str(path.parent)  # the learner's folder, as if the file had been started
    with open(f"{report}.stack", "w", encoding="utf-8") as stack:
        faulthandler.dump_traceback_later(job["limit"], exit=True, file=stack)
        arrays = {}
        try:
            function = loaded(path, job["function"], source)
            facts = facts_of_draws(function, source, job["draws"], job["derive"], arrays)
        except Stop as stop:
            facts = stop.args[0]
        faulthandler.cancel_dump_traceback_later()
    np.savez(report, facts=np.array(json.dumps(facts)), **arrays)


def facts_of_draws(function, source, draws, derive, arrays):
    """Return what the function does with each draw. Put its arrays into `arrays`."""
    found = [facts_of(function, source, draw, arrays, f"{i}", derive) for i, draw in enumerate(draws)]
    return {"draws": found}


def loaded(path, name, source):
    """The function of that name in a file; without a name the file's own, or its only one."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        text = path.read_text(encoding="utf-8")
        defined = [node.name for node in ast.parse(text, str(path)).body if isinstance(node, ast.FunctionDef)]
        spec.loader.exec_module(module)
    except BaseException as error:
        raise Stop({"fails": where(error, source)}) from None
    if name is None:
        name = path.stem if path.stem in defined else defined[0] if len(defined) == 1 else None
    if not callable(getattr(module, name or "", None)):
        raise Stop({"no_function": name, "defined": defined})
    return getattr(module, name)


def where(error, source):
    """(file, line number, its text, function, message) of an error: the last place that is in the learner's folder."""
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return [
            Path(error.filename).name,
            error.lineno,
            (error.text or "").strip(),
            "",
            f"{type(error).__name__}: {error.msg}",
        ]
    passed = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in passed if Path(frame.filename).resolve().parent == source.folder]
    if not frames:
        return [source.label, None, "", "", message]
    last, path = frames[-1], Path(frames[-1].filename)
    return [path.name if path.is_file() else source.label, last.lineno, last.line, last.name, message]


def facts_of(function, source, draw, arrays, key, derive):
    """Return what the function does with one draw's arguments. Put its arrays under names that start with `key`."""
    arguments = {name: np.array(a) if isinstance(a, np.ndarray) else a for name, a in draw["arguments"].items()}
    given = {name: np.array(a) for name, a in arguments.items() if isinstance(a, np.ndarray)}
    dy = draw["dy"]
    try:
        result = function(**arguments)
        if not draw["backward"]:
            listed = [result] if not isinstance(result, tuple) else list(result)
            return {"gradients": described(listed, source, arrays, key), "written": changed(arguments, given)}
        if not (isinstance(result, tuple) and len(result) == 2 and is_way_back(result[1])):
            return {"no_pair": type(result).__name__}
        y, back = result
        facts = {"y": value(y, arrays, f"{key}/y"), "names": None if callable(back) else [f.__name__ for f in back]}
        if dy is None:  # the first time: its shape is not known yet
            dy = np.random.default_rng(draw["seed"]).standard_normal(np.shape(y))
            arrays[f"{key}/dy"] = dy
        kept = kept_arrays(back)
        given |= {"dy": np.array(dy)} | {name: np.array(a) for name, a in kept.items()}
        now = arguments | {"dy": dy if np.ndim(dy) else dy[()]} | kept
        first = gradients_of(back, now["dy"], catch=True)
        facts["gradients"] = described(first, source, arrays, key)
        facts["written"] = changed(now, given)
        arrays |= {f"{key}/kept/{name}": given[name] for name in kept}
        facts["views"] = views(first, arguments | kept | {"the result": y})
        facts["is_dy"] = views(first, {"dy": dy})
        if not facts["written"]:
            again = {}
            described(gradients_of(back, now["dy"], catch=True), source, again, key)
            facts["again"] = all(np.array_equal(a, arrays.get(n), equal_nan=True) for n, a in again.items())
        float32 = {n: a.astype("f4") if isinstance(a, np.ndarray) and a.dtype == float else a for n, a in given.items()}
        back = function(**{n: float32.get(n, a) for n, a in arguments.items()})[1]
        found = gradients_of(back, np.asarray(dy, np.float32)[()], catch=True)
        facts["float32"] = [str(getattr(g, "dtype", "")) for g in found]
        if draw["count"]:
            facts["products"] = products(function, draw["arguments"], dy)
        rights = draw["right"]
        if derive:
            rights = derivatives(function, draw["arguments"], dy, derive, arrays, key)
        facts["inside"] = inside_of(function, draw["arguments"], dy, rights, facts, first, arrays, key)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"fails": where(error, source)}
    return facts


def inside_of(function, arguments, dy, rights, facts, gradients, arrays, key):
    """Return what was found of the operation's own intermediates, or None."""
    at = positions(arguments, rights, facts)
    if at is None or facts["written"]:
        return None
    names = {place: name for name, place in at.items()}
    expected = {names.get(place, f"#{place}"): gradient for place, gradient in enumerate(gradients)}
    found = inside(function, arguments, dy, rights, expected)
    return found and found.facts(arrays, f"{key}")


def derivatives(function, arguments, dy, names, arrays, key):
    """Return {name: complex-step derivative}. Put it in `arrays`, beside a finite difference along a direction."""
    complexes = {n: arguments[n].astype(complex) for n in names}
    rng = np.random.default_rng(0)

    def loss(now):
        return (function(**arguments | now)[0] * dy).sum()

    found = {}
    for name in names:
        derivative = arrays[f"{key}/derivative/{name}"] = found[name] = complex_step(loss, complexes, name)
        direction = rng.standard_normal(derivative.shape)
        ends = [loss({name: arguments[name] + step * direction}) for step in (1e-6, -1e-6)]
        arrays[f"{key}/differences/{name}"] = np.array([(derivative * direction).sum(), (ends[0] - ends[1]) / 2e-6])
    return found


def described(gradients, source, arrays, key):
    """Return [what each gradient is]. Put their numbers in `arrays`."""
    return [
        {"type": "fails", "where": where(g, source)}
        if isinstance(g, Exception)
        else value(g, arrays, f"{key}/gradient/{i}")
        for i, g in enumerate(gradients)
    ]


def value(x, arrays, name):
    """{"type", "dtype", "shape"} of a result, its numbers in arrays[name]."""
    if x is None:
        return {"type": "None"}
    if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fciub":
        arrays[name] = np.array(x)
        return {"type": "array", "dtype": str(x.dtype), "shape": list(np.shape(x))}
    if isinstance(x, int | float | complex):
        arrays[name] = np.array(x)
        return {"type": "number", "dtype": "float64", "shape": []}
    return {"type": type(x).__name__}


def changed(now, given):
    return [name for name, a in given.items() if not np.array_equal(now[name], a, equal_nan=a.dtype.kind in "fc")]


def views(gradients, arrays):
    """Return [[i, name]]: gradient i shares its memory with the array of that name."""
    arrays = {name: a for name, a in arrays.items() if isinstance(a, np.ndarray) and a.size}
    return [
        [i, name]
        for i, g in enumerate(gradients)
        for name, a in arrays.items()
        if isinstance(g, np.ndarray) and np.shares_memory(g, a)
    ]


if __name__ == "__main__":
    main()
