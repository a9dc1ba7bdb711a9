"""One operation on a tiny example, forward and back."""

import inspect
import math

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
from ...training.adamw import AdamW
from ..exercises.freezing import freezing
from ..exercises.residual import residual
from .recorder import Recorder
from .trace import WATCHED, Step
from .update import is_update

N, D, H, C = 3, 4, 2, 2


def examples():
    """Return {name: (operation, arguments)}: three rows of four numbers with one decimal, which are easy to read.

    Besides the operations there are the sums of a block in small (residual), two layers of which some parameters are
    frozen (freezing), and AdamW, whose arguments are a parameter p and its gradient g.
    """
    rng = np.random.default_rng(6)

    def numbers(*shape):
        return np.round(rng.standard_normal(shape), 1) + 0.0  # without -0.0

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
        residual: dict(x=numbers(N, D), weight1=numbers(D, D) / 2, weight2=numbers(D, D) / 2),
        freezing: dict(
            x=numbers(N, D),
            weight1=numbers(D, D) / 2,
            bias1=numbers(D),
            weight2=numbers(D, C),
            bias2=numbers(C),
            learns=(False, True, True, False, True),
        ),
        AdamW: dict(p=numbers(D), g=np.array([2.0, -0.5, 0.001, 0.0])),
    }
    return {op.__name__.lower(): (op, arguments) for op, arguments in found.items()}


def trace_operation(op, arguments) -> Step:
    """Return the Step of an operation on these arguments. dy is random, because a dy of ones would hide mistakes."""
    if op is AdamW:
        return _trace_update(arguments)
    names = [name for name in inspect.signature(op).parameters if name in arguments]
    floats = [name for name in names if np.asarray(arguments[name]).dtype.kind == "f"]
    settings = {name: arguments[name] for name in names if name not in floats and name != "ids"}
    given = {name: arguments[name] for name in names if name not in settings}
    files = WATCHED | {op.__code__.co_filename}
    with Recorder(lambda code: code.co_filename in files) as recorder:
        y, functions = op(**given, **settings)
        dy = np.round(np.random.default_rng(1).standard_normal(np.shape(y)), 1) if np.ndim(y) else 1.0
        if callable(functions):  # one backward, which returns None for a gradient that is not asked for
            gradients = {name: gradient for name, gradient in zip(floats, functions(dy)) if gradient is not None}
        else:
            gradients = {function.__name__[1:]: function(dy) for function in functions}
    forward, *backward = recorder.calls
    return Step(op.__name__, op, given, {}, settings, y, 0, list(gradients), gradients, [forward], backward, False, dy)


def _trace_update(arguments):
    """Return the Step of AdamW's first step for one parameter."""
    p, g = (np.array(arguments[name]) for name in "pg")
    optimizer = AdamW({"p": p}, ["p"], lr=0.1)
    with Recorder(is_update) as recorder:
        optimizer.step({"p": g})
    return Step("AdamW", AdamW, arguments, {}, {}, p, 0, forward=recorder.calls)
