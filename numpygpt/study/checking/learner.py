"""Runs in a process of its own: a learner's file, as the program of theirs that it is, and what it did with each draw.

    python -m numpygpt.study.checking.learner REPORT < pickled {path, function, draws, derive, limit}

The report is an .npz file: arrays by name, and "facts", a JSON text that refers to them. Nothing is judged here.
"""

import ast
import faulthandler
import json
import os
import pickle
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

from .calls import gradients_of, is_way_back, kept_arrays, name_of, positions, products
from .complex_step import complex_step
from .errors import Source, where
from .instrumented import forgotten_return, unused
from .intermediates import inside, step_places


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
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        text = path.read_text(encoding="utf-8")
        defined = [node.name for node in ast.parse(text, str(path)).body if isinstance(node, ast.FunctionDef)]
        # An import would leave compiled code beside the file, and might take it for the file's after a quick edit.
        exec(compile(text, str(path), "exec"), module.__dict__)
    except BaseException as error:
        raise Stop({"fails": where(error, source)}) from None
    if name is None:
        name = path.stem if path.stem in defined else defined[0] if len(defined) == 1 else None
    if not callable(getattr(module, name or "", None)):
        raise Stop({"no_function": name, "defined": defined})
    return getattr(module, name)


def facts_of(function, source, draw, arrays, key, derive):
    """Return what the function does with one draw's arguments. Put its arrays under names that start with `key`."""
    try:
        return _facts_of(function, source, draw, arrays, key, derive)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return {"fails": where(error, source)}


def _facts_of(function, source, draw, arrays, key, derive):
    arguments = {name: np.array(a) if isinstance(a, np.ndarray) else a for name, a in draw["arguments"].items()}
    given = {name: np.array(a) for name, a in arguments.items() if isinstance(a, np.ndarray)}
    result = function(**arguments)
    if not draw["backward"]:
        return facts_of_step(function, draw, result, changed(arguments, given), arrays, key)
    if not (isinstance(result, tuple) and len(result) == 2 and is_way_back(result[1])):
        return {"no_pair": no_pair(result)}
    y, back = result
    facts = {"y": value(y, arrays, f"{key}/y"), "names": None if callable(back) else list(map(name_of, back))}
    facts |= {"back": name_of(back) if callable(back) else None, "unused": unused(function)}
    if facts["y"]["type"] not in ("array", "number"):
        return facts | {"gradients": [], "written": []}
    copies = {name: np.array(given[name]) if name in given else a for name, a in arguments.items()}
    if not changed(arguments, given) and not np.array_equal(function(**copies)[0], y, equal_nan=True):
        return {"random": True}
    dy = draw["dy"] if draw["dy"] is None else np.array(draw["dy"])
    if dy is None:  # the first time: its shape is not known yet
        dy = np.random.default_rng(draw["seed"]).standard_normal(np.shape(y))
        arrays[f"{key}/dy"] = dy
    kept = kept_arrays(back)
    given |= {"dy": np.array(dy)} | {name: np.array(a) for name, a in kept.items()}
    now = arguments | {"dy": dy if np.ndim(dy) else dy[()]} | kept
    first = gradients_of(back, now["dy"], catch=True)
    facts["gradients"] = described(first, back, source, arrays, key)
    facts["written"] = changed(now, given)
    arrays |= {f"{key}/kept/{name}": given[name] for name in kept}
    facts["views"] = views(first, arguments | kept | {"the result": y})
    facts["is_dy"] = views(first, {"dy": dy})
    if not facts["written"]:
        again = {}
        dirty = [np.full(a.shape, np.nan) for a in first * 8 if isinstance(a, np.ndarray)]
        del dirty  # np.empty may give this memory next, so that what is not filled shows
        described(gradients_of(back, now["dy"], catch=True), back, source, again, key)
        facts["again"] = all(np.array_equal(a, arrays.get(n), equal_nan=True) for n, a in again.items())
    facts["float32"] = kinds_in_float32(function, arguments, given, dy)
    if draw["count"]:
        facts["products"] = products(function, draw["arguments"], dy)
    rights = draw["right"]
    if derive:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)  # float() drops an imaginary part
                rights = derivatives(function, draw["arguments"], dy, derive, arrays, key)
        except Exception as error:
            return {"not_complex": where(error, source)}
    facts["inside"] = inside_of(function, draw["arguments"], dy, rights, facts, first, arrays, key)
    return facts


def no_pair(result):
    """Return what a function returned that is not its result and its gradient functions."""
    if not isinstance(result, tuple):
        return f"returned {'nothing' if result is None else type(result).__name__}"
    if len(result) != 2:
        return f"returned {len(result)} things"
    return "the second result is not made of functions (dx, and not dx(dy))"


def facts_of_step(function, draw, result, written, arrays, key):
    """Return what a step of an optimizer gives: no gradients, but its results."""
    results = list(result) if isinstance(result, tuple) else [result]
    facts = {"gradients": [value(x, arrays, f"{key}/gradient/{i}") for i, x in enumerate(results)], "written": written}
    return facts | {"inside": step_places(function, list(draw["right"]))}


def kinds_in_float32(function, arguments, given, dy):
    """Return the dtype of each gradient where all floats are float32."""
    float32 = {n: a.astype("f4") if isinstance(a, np.ndarray) and a.dtype == float else a for n, a in given.items()}
    _, back = function(**{n: float32.get(n, a) for n, a in arguments.items()})
    found = gradients_of(back, np.asarray(dy, np.float32)[()], catch=True)
    return [str(getattr(gradient, "dtype", "")) for gradient in found]


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


def described(gradients, back, source, arrays, key):
    """Return [what each gradient is]. Put their numbers in `arrays`."""
    found = []
    for i, gradient in enumerate(gradients):
        if isinstance(gradient, Exception):
            found.append({"type": "fails", "where": where(gradient, source)})
        else:
            found.append(value(gradient, arrays, f"{key}/gradient/{i}"))
        if gradient is None and (line := forgotten_return(back if callable(back) else back[i])):
            found[-1]["forgotten"] = line
    return found


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
