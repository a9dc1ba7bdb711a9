"""The page's form of steps: functions and arrays become numbers of the lists that they stand in."""

from pathlib import Path

import numpy as np

from ... import ops
from ...training import adamw
from .. import exercises
from ..checking.complex_step import STEP
from ..formulas import FORMULAS, formula, latex
from ..mathml import mathml
from .beside import right_of, wrong_entries
from .check import DIFFERENCE
from .source import Function
from .words import WORDS, words_of

ROOT = Path(__file__).parents[3]
SHIPPED = Path(ops.__file__).parent, Path(exercises.__file__).parent
ADAMW = Path(adamw.__file__)


class Packer:
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
