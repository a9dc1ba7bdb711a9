"""One operation on a tiny example, forward and back, in the terminal."""

import inspect
import math
import textwrap

import numpy as np

from ...ops.attention import attention
from ...ops.cross_entropy import cross_entropy
from ...ops.dot_product_attention import dot_product_attention
from ...ops.embedding import embedding
from ...ops.gelu import gelu
from ...ops.layernorm import layernorm
from ...ops.linear import linear
from ...ops.output_loss import output_loss
from ...ops.pool import mean_rows, take_rows
from ...ops.query_attention import query_attention
from ...ops.softmax import softmax
from ...system.errors import InputError
from .check import operation_checks
from .recorder import Recorder
from .trace import WATCHED, Step
from .words import WORDS

N, D, H, C = 3, 4, 2, 2


def examples():
    """Return {name: (operation, arguments)}: three rows of four numbers with one decimal, which are easy to read."""
    rng = np.random.default_rng(6)

    def numbers(*shape):
        return np.round(rng.standard_normal(shape), 1)

    lengths, ids = np.array([N]), np.array([2, 0, 2])
    found = {
        embedding: dict(ids=ids, wte=numbers(4, D), wpe=numbers(N, D), lengths=lengths),
        layernorm: dict(x=numbers(N, D), gain=np.array([1.0, 1.5, 0.5, 2.0]), bias=numbers(D)),
        linear: dict(x=numbers(N, D), weight=numbers(D, C), bias=numbers(C)),
        gelu: dict(x=2 * numbers(N, D)),
        softmax: dict(x=numbers(N, D)),
        attention: dict(qkv=numbers(N, 3 * D), T=N, n_head=H),
        dot_product_attention: dict(q=numbers(N, D), k=numbers(N, D), v=numbers(N, D), sqrt_d=math.sqrt(D)),
        query_attention: dict(
            x=numbers(N, D),
            weight=numbers(D, 3 * D),
            bias=numbers(3 * D),
            lengths=lengths,
            rows=np.array([N - 1]),
            n_head=H,
        ),
        take_rows: dict(x=numbers(N, D), rows=np.array([N - 1])),
        mean_rows: dict(x=numbers(N, D), lengths=lengths),
        cross_entropy: dict(logits=numbers(N, C), targets=np.array([1, 0, 1])),
        output_loss: dict(x=numbers(N, D), wte=numbers(5, D), targets=np.array([4, 2, 0])),
    }
    return {op.__name__: (op, arguments) for op, arguments in found.items()}


def trace_operation(op, arguments) -> Step:
    """Return the Step of an operation on these arguments. dy is random, because a dy of ones would hide mistakes."""
    names = [name for name in inspect.signature(op).parameters if name in arguments]
    floats = [name for name in names if np.asarray(arguments[name]).dtype.kind == "f"]
    settings = {name: arguments[name] for name in names if name not in floats and name != "ids"}
    given = {name: arguments[name] for name in names if name not in settings}
    with Recorder(lambda code: code.co_filename in WATCHED) as recorder:
        y, functions = op(**given, **settings)
        dy = np.round(np.random.default_rng(1).standard_normal(np.shape(y)), 1) if np.ndim(y) else 1.0
        gradients = {function.__name__[1:]: function(dy) for function in functions}
    forward, *backward = recorder.calls
    return Step(op.__name__, op, given, {}, settings, y, 0, list(gradients), gradients, [forward], backward, False, dy)


def in_terminal(name) -> str:
    """Return the operation's lines with their values on the tiny example, then its gradients' lines, then the check.

    Raises InputError for an unknown name.
    """
    known = examples()
    if name not in known:
        raise InputError(f"--op {name}: no such operation; use one of {', '.join(known)}")
    step = trace_operation(*known[name])
    forward, backward, *why = WORDS[name]
    parts = []
    for words, calls in (
        ([f"{name}, forward: {forward}"], step.forward),
        (
            [f"{name}, backward: {backward}", *(f"  - {reason}" for reasons in why for reason in reasons)],
            step.backward,
        ),
    ):
        lines = [line for text in words for line in textwrap.wrap(text, 110, subsequent_indent="    ")]
        parts.append("\n".join(lines) + "\n")
        for top in calls or ():
            parts += map(_call, top.shown())
    return "\n".join(parts) + "\n" + check_table(operation_checks(step))


def check_table(checks) -> str:
    """Return a table with a line for each Check."""
    lines = [
        "the check: d sum(y * dy) / d (one entry)",
        f"{'entry':<16}{'by hand':>22}{'complex step':>22}{'digits':>8}{'finite difference':>22}{'digits':>8}",
    ]
    for c in checks:
        entry = f"{c.argument}[{', '.join(map(str, c.index))}]"
        lines.append(
            f"{entry:<16}{c.by_hand:>22.14g}{c.complex_step:>22.14g}{c.digits:>8.0f}{c.difference:>22.14g}"
            f"{c.difference_digits:>8.0f}{'' if c.holds else '  WRONG'}"
        )
    return "\n".join(lines)


def _call(call):
    """Return a call's text, with the values that each line made under it."""
    out = []
    for number, text in call.function.shown():
        out.append(f"{number:>4}  {text}")
        made = [call.arguments] if text.strip().startswith("def ") else call.lines.get(number, [])
        for values in made:
            out += [shown for name, value in values.items() for shown in _shown(name, value)]
    return "\n".join(out) + "\n"


def _shown(name, value):
    """Return the lines that show `name` and its value."""
    text = np.array2string(
        np.asarray(value), precision=4, suppress_small=True, max_line_width=110, floatmode="maxprec_equal"
    )
    lines = text.splitlines() if np.ndim(value) else [f"{value:.6g}"]
    head = f"{name} = "
    return [f"{'':>12}{head if i == 0 else ' ' * len(head)}{line}" for i, line in enumerate(lines) if line.strip()]
