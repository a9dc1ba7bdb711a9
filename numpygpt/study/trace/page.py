"""The page of a trace: one HTML file that needs nothing else, the same bytes for the same trace."""

import html
import json
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from ... import ops
from ...system.blas import one_thread, parallel
from ...system.errors import InputError
from ...system.files import replacing
from ...system.pages import template
from ...training import adamw
from .. import exercises
from ..checking.complex_step import STEP
from ..formulas import FORMULAS, formula, latex
from ..mathml import mathml
from .arrays import Arrays
from .beside import right_of, wrong_entries
from .check import DIFFERENCE, checks, errors_by_step, operation_checks
from .source import Function
from .tour import tour
from .update import update_of
from .words import WORDS, words_of

ROOT = Path(__file__).parents[3]
SHIPPED = Path(ops.__file__).parent, Path(exercises.__file__).parent
ADAMW = Path(adamw.__file__)
WEB = Path(__file__).with_name("web")
TEMPLATE = WEB / "trace.html"
SCRIPTS = (
    "numbers",
    "large",
    "code",
    "figure",
    "proof",
    "steps",
    "map",
    "tour",
    "start",
)  # in the order in which the page runs them
MOST = 10  # entries of each gradient that are checked, or fewer where that takes minutes
ENTRIES = ((2e9, MOST), (5e9, 3), (float("inf"), 1))  # up to so many parameters times steps: so many entries


def page(trace, progress=lambda done, total: None) -> str:
    """The page's HTML."""
    return _html(page_data(trace, progress))


def operation_page(step) -> str:
    """The page's HTML of one operation alone."""
    return _html(operation_data(step))


def _html(data):
    text = template(TEMPLATE).replace("@TRACE_STYLE@", (WEB / "trace.css").read_text(encoding="utf-8"))
    script = "\n".join((WEB / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    data = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("@SCRIPT@", script).replace("@DATA@", data.replace("<", "\\u003c"))


def save(path, text) -> None:
    """Write a page to `path`. Raises InputError where something is there."""
    check_new(path)
    with replacing(path) as file:
        file.write(text.encode())


def check_new(path):
    """Raise InputError where a file of this name exists, or its folder does not."""
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists: choose another name, or remove it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def framed(text) -> str:
    """A page inside another, for a notebook."""
    style = "width:100%;height:820px;border:0"
    return f'<iframe srcdoc="{html.escape(text)}" style="{style}" title="numpygpt trace"></iframe>'


def page_data(trace, progress=lambda done, total: None):
    """All that the page shows, JSON-able."""
    config, N = trace.config, len(trace.ids) - (trace.label is None)
    D, H = config.n_embd, config.n_head
    sizes = [
        ("N", N),
        ("D", D),
        ("3D", 3 * D),
        ("4D", 4 * D),
        ("H", H),
        ("d", D // H),
        ("V", config.vocab_size),
        ("P", config.n_positions),
        ("B", 1),
    ]
    if trace.labels:
        sizes.insert(4, ("C", len(trace.labels)))
    update = update_of(trace)
    packer = _Packer(Arrays(sizes, N, trace.ids, config.vocab_size, config.n_positions), trace.trainable)
    found = {
        "text": trace.text,
        "tokens": trace.tokens,
        "ids": trace.ids.tolist(),
        "label": trace.label,
        "labels": trace.labels,
        "model": f"{Path(trace.source).name}: {config.n_layer} blocks, width D = {D}, {H} heads",
        "heads": H,
        "tied": trace.label is None,
        "loss": f"{trace.loss:.10g}",
        "folded": bool(trace.pooling and trace.pooling.folded),
        "other": None if trace.other_pooling is None else f"{trace.other_pooling:.0e}",
        "frozen": len(trace.params) - len(trace.trainable),
        "parameters": len(trace.params),
        "steps": [packer.step(step, *proof) for step, proof in zip(trace.steps, proofs(trace, progress))],
        "update": packer.update(update),
        "tour": [asdict(stop) for stop in tour(trace, update)],
    }
    return found | packer.packed()


def operation_data(step):
    """Like page_data, of one operation alone: no message, and each gradient checked for the loss sum(result * dy)."""
    packer = _Packer(Arrays([], 0, [], 0, 0), frozenset(step.parameters.values()))
    with one_thread():  # many small products
        checked = operation_checks(step, MOST)
        errors = all_errors(step, checked) if step.said is None else None
    found = {
        "text": None,
        "tokens": [],
        "ids": [],
        "label": None,
        "own": step.said is not None,
        "steps": [packer.step(step, checked, errors)],
        "update": None,
        "tour": [],
    }
    return found | packer.packed()


def proofs(trace, progress=lambda done, total: None):
    """[Check] of each step, and of the first step of each operation that has an input gradient: errors_by_step of each
    of its Checks, in the same order; None of any other step.
    """
    learning = [step for step in trace.steps if step.gradients]
    work = len(learning) * sum(a.size for a in trace.params.values())
    entries = next(entries for most, entries in ENTRIES if work <= most)
    bent = [step for step in learning if next(iter(step.arguments)) in step.gradients]  # by x, and not by a bias alone
    first = {step.op: step for step in reversed(learning)} | {step.op: step for step in reversed(bent)}
    done = count(1)

    def proof(step):
        found = checks(trace, step, entries) if step.gradients else []
        errors = all_errors(step, found) if first.get(step.op) is step else None
        progress(next(done), len(trace.steps))
        return found, errors

    return parallel(proof, trace.steps)


def all_errors(step, checked):
    """[errors_by_step] of these Checks."""
    return [errors_by_step(step, check.argument, check.index) for check in checked]


class _Packer:
    """Makes the page's form of steps: functions and arrays become numbers of the lists that they stand in."""

    def __init__(self, arrays, trainable):
        self.arrays, self.trainable = arrays, trainable
        self.functions, self.function_numbers = [], {}

    def packed(self):
        """What the packed steps refer to."""
        arrays, most = self.arrays.packed()
        return {
            "words": {name: WORDS[name] for name in ("tokens", "AdamW")},
            "functions": self.functions,
            "arrays": arrays,
            "most": most,
            "h": [f"{STEP:.0e}", f"{DIFFERENCE:.0e}"],
        }

    def step(self, step, checked, errors):
        """A Step, with its Checks and, or None, their all_errors."""
        called = {(call.function.outer, call.function.name) for top in step.backward or [] for call in top.all()}
        idle = [f for name, f in step.forward[0].functions.items() if (step.kind, name) not in called and step.op]
        found = {
            "name": step.name,
            "kind": step.kind,
            "shape": " × ".join(map(str, np.shape(step.result))),
            "words": words_of(step),
            "calls": self._calls(step.forward, called),
            "back": None if step.backward is None else self._calls(step.backward, beside=step.beside),
            "idle": [self.function(function) for function in idle],
            "ends": step.ends,
            "parameters": step.parameters,
            "frozen": [a for a, name in step.parameters.items() if name not in self.trainable],
            "sums": [
                [added.what, self._values(dict(added.terms)), self._values(dict([added.total]))[0]]
                for added in step.sums
            ],
        }
        if checked:
            found["checks"] = [_check(*pair) for pair in zip(checked, errors or [None] * len(checked))]
        return found

    def _calls(self, tops, called=frozenset(), beside=()):
        """Return the calls worth showing, outermost first. Repeated calls of one function become one entry with
        several runs.

        called   (outer function, name) of the gradient functions that were called: what they keep is underlined
        beside   a Step's
        """
        found: dict[tuple, dict] = {}
        for call in [call for top in tops for call in top.shown()]:
            kept = [names for name, names in call.kept.items() if (call.function.name, name) in called]
            lines = {str(line): [self._values(made, beside) for made in runs] for line, runs in call.lines.items()}
            run = {
                "args": self._values(call.constants | call.arguments),
                "lines": lines,
                "kept": list(dict.fromkeys(name for names in kept for name in names)),
                "from": None if call in tops else call.called_from,
            }
            number = self.function(call.function)
            entry = {"f": number, "title": call.title, "by": _caller(call, tops), "runs": []}
            found.setdefault((number, call.title), entry)["runs"].append(run)
        return list(found.values())

    def _values(self, values, beside=()):
        """[name, array] of each value; of a wrong one also the right array, and the numbers of the wrong entries."""
        found = []
        for name, value in values.items():
            found.append([name, self.arrays.add(value)])
            if (right := right_of(name, value, beside)) is not None:
                found[-1] += [self.arrays.add(right), np.flatnonzero(wrong_entries(value, right)).tolist()]
        return found

    def function(self, function: Function):
        """The function's number on the page."""
        if function not in self.function_numbers:
            self.function_numbers[function] = len(self.functions)
            file = function.file
            name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
            self.functions.append(
                {
                    "file": name,
                    "name": function.name,
                    "outer": function.outer,
                    "first": function.first,
                    "lines": function.lines,
                    "doc": function.doc,
                    "hidden": function.hidden,
                    "formulas": _formulas(function),
                }
            )
        return self.function_numbers[function]

    def update(self, update):
        """An Update."""
        return {
            "name": update.name,
            "calls": self._calls(update.calls),
            "lr": update.lr,
            "before": f"{update.before:.8g}",
            "after": f"{update.after:.8g}",
        }


def _formulas(function):
    """The formulas, in MathML, of an operation, of one of its gradient functions, or of AdamW's update."""
    if function.file == ADAMW:
        return list(map(mathml, formula("AdamW").forward_latex())) if not function.nested else []
    if function.file.parent not in SHIPPED or function.outer not in FORMULAS:
        return []
    found = formula(function.outer)
    if function.name == function.outer:
        return list(map(mathml, found.forward_latex()))
    if function.name == "backward":  # one function for all gradients
        return list(map(mathml, found.backward_latex()))
    shared = found.shared if function.name == next(iter(found.gradients)) else ()
    return [mathml(latex(line)) for line in (*shared, found.gradients.get(function.name)) if line]


def _caller(call, tops):
    """The operation whose line called this one, or None where the page shows it without being told."""
    caller = call.parent and call.parent.function.outer
    return None if call in tops or caller == tops[0].function.outer else caller


def _check(check, errors):
    numbers = [f"{number:.13g}" for number in (check.by_hand, check.complex_step, check.difference)]
    digits = [round(check.digits, 1), round(check.difference_digits, 1)]
    found = [check.argument, list(check.index), *numbers, *digits, int(check.holds)]
    if errors:
        found.append([[None if np.isnan(e) else float(f"{e:.1e}") for e in pair] for _, *pair in errors])
    return found
