"""The page of a trace: one HTML file that needs nothing else, the same bytes for the same trace."""

import html
import json
from itertools import count
from pathlib import Path

import numpy as np

from ...model.tape import Tape
from ...ops.embedding import embedding
from ...system.blas import parallel
from ...system.errors import InputError
from ...system.files import replacing
from ...system.pages import template
from ...training.adamw import AdamW
from ...training.fine_tune import default_lr
from ..checking.complex_step import STEP
from .arrays import Arrays
from .check import DIFFERENCE, checks, errors_by_step
from .recorder import Recorder
from .source import Function
from .sums import of_block, of_tied, of_token
from .words import WORDS

ROOT = Path(__file__).parents[3]
TEMPLATE = Path(__file__).with_name("trace.html")
ENTRIES = ((2_500_000, 3), (20_000_000, 2))  # up to so many parameters, so many entries of each gradient are checked


def page(trace, progress=lambda done, total: None) -> str:
    """The page's HTML."""
    data = json.dumps(page_data(trace, progress), separators=(",", ":"), allow_nan=False)
    return template(TEMPLATE).replace("@DATA@", data.replace("<", "\\u003c"))


def save(path, text) -> None:
    """Write a page to `path`. Raises InputError where something is there."""
    check_new(path)
    with replacing(path) as file:
        file.write(text.encode())


def check_new(path):
    """Raise InputError where a file of this name exists, or its folder does not."""
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists: choose another --out, or remove it")
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
    arrays = Arrays(sizes, N, trace.ids, config.vocab_size, config.n_positions)
    packer = _Packer(trace, arrays)
    steps = [packer.step(step, *proof) for step, proof in zip(trace.steps, proofs(trace, progress))]
    update = packer.update()
    packed, most = arrays.packed()
    return {
        "text": trace.text,
        "tokens": trace.tokens,
        "ids": trace.ids.tolist(),
        "label": trace.label,
        "labels": trace.labels,
        "model": f"{Path(trace.source).name}: {config.n_layer} blocks, width D = {D}, {H} heads",
        "loss": f"{trace.loss:.10g}",
        "folded": bool(trace.pooling and trace.pooling.folded),
        "other": None if trace.other_pooling is None else f"{trace.other_pooling:.0e}",
        "frozen": len(trace.params) - len(trace.trainable),
        "parameters": len(trace.params),
        "most": most,
        "h": [f"{STEP:.0e}", f"{DIFFERENCE:.0e}"],
        "steps": steps,
        "update": update,
        "words": WORDS,
        "functions": packer.functions,
        "arrays": packed,
    }


def proofs(trace, progress=lambda done, total: None):
    """([Check], errors_by_step) of each step; none of one without gradients, the second of the first step of each
    operation.
    """
    size = sum(a.size for a in trace.params.values())
    entries = next((entries for most, entries in ENTRIES if size <= most), 1)
    learning = [step for step in trace.steps if step.gradients]
    bent = [step for step in learning if next(iter(step.arguments)) in step.gradients]  # by x, and not by a bias alone
    first = {step.op: step for step in reversed(learning)} | {step.op: step for step in reversed(bent)}
    done = count(1)

    def proof(step):
        found = checks(trace, step, entries) if step.gradients else []
        errors = errors_by_step(step) if first.get(step.op) is step else None
        progress(next(done), len(trace.steps))
        return found, errors

    return parallel(proof, trace.steps)


class _Packer:
    """Makes the page's form of steps: functions and arrays become numbers of the lists that they stand in."""

    def __init__(self, trace, arrays):
        self.trace, self.arrays = trace, arrays
        self.functions, self.function_numbers = [], {}

    def step(self, step, checked, errors):
        """A Step, with its Checks and, or None, what errors_by_step found."""
        called = {(call.function.outer, call.function.name) for top in step.backward or [] for call in top.all()}
        found = {
            "name": step.name,
            "kind": step.forward[0].function.name,
            "calls": self._calls(step.forward, called),
            "back": None if step.backward is None else self._calls(step.backward),
            "ends": step.ends,
            "parameters": step.parameters,
            "frozen": [a for a, name in step.parameters.items() if name not in self.trace.trainable],
            "sums": self._sums(step),
        }
        if checked:
            found["checks"] = [_check(check) for check in checked]
        if errors:
            argument, index, points = errors
            points = [[f"{h:.0e}", *(None if np.isnan(e) else float(f"{e:.3g}") for e in pair)] for h, *pair in points]
            found["curve"] = {"entry": [argument, list(index)], "points": points}
        return found

    def _calls(self, tops, called=frozenset()):
        """Return the calls worth showing, outermost first. Repeated calls of one function become one entry with
        several runs.

        called   (outer function, name) of the gradient functions that were called: what they keep is underlined
        """
        found: dict[int, dict] = {}
        for top in tops:
            # A block's operations are steps of their own.
            for call in [top] if top.function.outer.startswith("block") else top.shown():
                name = call.function.name
                kept = [names for gradient, names in call.kept.items() if (name, gradient) in called]
                run = {
                    "args": self._values(call.arguments),
                    "lines": {str(line): [self._values(made) for made in runs] for line, runs in call.lines.items()},
                    "kept": list(dict.fromkeys(name for names in kept for name in names)),
                }
                number = self.function(call.function)
                found.setdefault(number, {"f": number, "runs": []})["runs"].append(run)
        return list(found.values())

    def _values(self, values):
        return [[name, self.arrays.add(value)] for name, value in values.items()]

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
                }
            )
        return self.function_numbers[function]

    def _sums(self, step):
        found = []
        if step.op is None and step.backward:
            found = of_block(step.backward[0])
        elif step.op is embedding and step.backward:
            found = of_token(step, self.trace.tokens) + of_tied(self.trace.sums, step.arguments["ids"])
        return [[sum_.what, self._values(dict(sum_.terms)), self._values(dict([sum_.total]))[0]] for sum_ in found]

    def update(self):
        """AdamW's lines for one parameter, and the loss before and after a step of all that learn."""
        trace = self.trace
        small = sorted(
            trace.trainable, key=lambda name: (name != "head.weight", "ln_f" not in name, trace.params[name].size)
        )
        name = small[0]
        params = {n: np.array(a) if n in trace.trainable else a for n, a in trace.params.items()}
        lr = default_lr(trace.config)
        one = {name: np.array(params[name])}
        with Recorder(lambda code: code.co_filename.endswith("adamw.py") and code.co_name == "update") as recorder:
            AdamW(one, [name], lr=lr).step({name: trace.grads[name]})
        AdamW(params, trace.trainable, lr=lr).step(trace.grads)
        after = float(np.ravel(trace.run(Tape(params))[0])[0])
        return {
            "name": name,
            "calls": self._calls(recorder.calls),
            "lr": lr,
            "before": f"{trace.loss:.8g}",
            "after": f"{after:.8g}",
        }


def _check(check):
    return [
        check.argument,
        list(check.index),
        f"{check.by_hand:.13g}",
        f"{check.complex_step:.13g}",
        f"{check.difference:.13g}",
        round(check.digits, 1),
        round(check.difference_digits, 1),
        int(check.holds),
    ]
