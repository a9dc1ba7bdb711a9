"""The page of a trace: one HTML file that needs nothing else, the same bytes for the same trace."""

import html
import json
from dataclasses import asdict
from itertools import count
from pathlib import Path

from ...system.blas import one_thread, parallel
from ...system.errors import InputError
from ...system.files import check_new_file, write_file
from ...system.pages import template
from .arrays import Arrays
from .check import checks, errors_by_step, operation_checks
from .packer import Packer
from .tour import tour
from .update import update_of

WEB = Path(__file__).with_name("web")
TEMPLATE = WEB / "trace.html"
SCRIPTS = "numbers large code figure proof steps map tour start".split()  # in the order in which the page runs them
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
    write_file(path, text)


def check_new(path):
    """Raise InputError where a file of this name exists, or its folder does not."""
    if Path(path).exists():
        raise InputError(f"{path} exists: choose another name, or remove it")
    check_new_file(path)


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
    packer = Packer(Arrays(sizes, N, trace.ids, config.vocab_size, config.n_positions), trace.trainable)
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
    packer = Packer(Arrays([], 0, [], 0, 0), frozenset(step.parameters.values()))
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
