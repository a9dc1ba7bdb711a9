"""What every operation promises: its gradients, its dtype, its shapes, `needs`, and that it leaves its inputs alone."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.ops.attention import attention
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.embedding import embedding
from numpygpt.ops.gelu import gelu
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.ops.output_loss import output_loss
from numpygpt.ops.pool import mean_rows, take_rows
from numpygpt.ops.query_attention import query_attention
from numpygpt.ops.softmax import softmax
from numpygpt.study.checking import cases
from numpygpt.study.checking.complex_step import operation_errors

CASES = cases.operation_cases(np.random.default_rng(0))
BY_LABEL = pytest.mark.parametrize("label, op, arguments", CASES, ids=[label for label, _, _ in CASES])


def arrays_in(arguments):
    return {name: a for name, a in arguments.items() if isinstance(a, np.ndarray) and a.dtype.kind in "fc"}


def cast(arguments, dtype):
    return arguments | {name: array.astype(dtype) for name, array in arrays_in(arguments).items()}


def gradients(op, arguments, dy):
    """The operation's gradients as a tuple, whether it has one or several."""
    found = op(**arguments)[1](dy)
    return found if isinstance(found, tuple) else (found,)


@BY_LABEL
def test_gradients_are_the_complex_step_derivatives(label, op, arguments):
    errors = operation_errors(np.random.default_rng(1), op, **arguments)
    assert max(errors.values()) <= 1e-12, errors


@st.composite
def any_case(draw):
    """(operation, arguments, shape of its result) with drawn sizes and lengths."""
    lengths = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    H, d, C, V = draw(st.integers(1, 3)), draw(st.integers(4, 5)), draw(st.integers(2, 5)), draw(st.integers(2, 9))
    N, B, D = lengths.sum(), len(lengths), H * d
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    normal, integers = rng.standard_normal, rng.integers
    rows = np.cumsum(lengths) - integers(1, lengths + 1)  # some row of each message
    return draw(
        st.sampled_from(
            [
                (
                    embedding,
                    dict(ids=integers(0, V, N), wte=normal((V, D)), wpe=normal((6, D)), lengths=lengths),
                    (N, D),
                ),
                (layernorm, dict(x=normal((N, D)), gain=normal(D), bias=normal(D)), (N, D)),
                (linear, dict(x=normal((N, D)), weight=normal((D, C)), bias=normal(C)), (N, C)),
                (gelu, dict(x=normal((N, D))), (N, D)),
                (softmax, dict(x=normal((H, N, C))), (H, N, C)),
                (
                    attention,
                    dict(qkv=normal((N, 3 * D)), lengths=lengths, n_head=H, causal=bool(integers(2))),
                    (N, D),
                ),
                (
                    query_attention,
                    dict(
                        x=normal((N, D)),
                        weight=normal((D, 3 * D)),
                        bias=normal(3 * D),
                        lengths=lengths,
                        rows=rows,
                        n_head=H,
                    ),
                    (B, D),
                ),
                (take_rows, dict(x=normal((N, D)), rows=rows), (B, D)),
                (mean_rows, dict(x=normal((N, D)), lengths=lengths), (B, D)),
                (cross_entropy, dict(logits=normal((B, C)), targets=integers(0, C, B)), ()),
                (output_loss, dict(x=normal((N, D)), wte=normal((V, D)), targets=integers(0, V, N)), ()),
            ]
        )
    )


@settings(max_examples=150, deadline=None)
@given(case=any_case(), seed=st.integers(0, 99))
def test_gradients_hold_along_a_random_direction_whatever_the_sizes(case, seed):
    op, arguments, shape = case
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(shape)
    step, expected, scale = {}, 0, 0
    for (name, array), gradient in zip(
        arrays_in(arguments).items(), [g for g in gradients(op, arguments, dy) if g is not None]
    ):
        direction = rng.standard_normal(array.shape)
        step[name] = array + 1e-30j * direction
        expected += (gradient * direction).sum()
        scale += np.abs(gradient * direction).sum()
    assert abs((op(**arguments | step)[0] * dy).sum().imag / 1e-30 - expected) <= 1e-12 * scale


@settings(max_examples=150, deadline=None)
@given(case=any_case(), dtype=st.sampled_from([np.float32, np.float64, np.complex128]))
def test_dtypes_are_kept_and_shapes_are_the_inputs(case, dtype):
    op, arguments, shape = case
    arguments = cast(arguments, dtype)
    y, _ = op(**arguments)
    assert (y.shape, y.dtype) == (shape, dtype)
    found = [g for g in gradients(op, arguments, np.ones(shape, dtype)[()]) if g is not None]
    assert [(g.shape, g.dtype) for g in found] == [(a.shape, a.dtype) for a in arrays_in(arguments).values()]


@BY_LABEL
def test_inputs_and_the_gradient_handed_in_are_not_modified(label, op, arguments):
    given = {name: np.array(a) for name, a in arguments.items() if isinstance(a, np.ndarray)}
    y, backward = op(**arguments)
    dy = np.random.default_rng(2).standard_normal(np.shape(y))
    kept = np.array(dy)
    backward(dy)
    assert np.array_equal(dy, kept)
    assert all(np.array_equal(arguments[name], array) for name, array in given.items())


@pytest.mark.parametrize(
    "label, op, arguments",
    [case for case in CASES if case[1] in (embedding, layernorm, linear, query_attention, output_loss)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_needs_decides_which_gradients_come_back_and_changes_none(label, op, arguments):
    y, backward = op(**arguments)
    dy = np.random.default_rng(3).standard_normal(np.shape(y))
    full = backward(dy)
    for needs in product((False, True), repeat=len(full)):
        result, backward = op(**arguments, needs=needs)
        assert np.array_equal(result, y)
        if not any(needs):
            continue  # then no backward is ever called
        for wanted, gradient, complete in zip(needs, backward(dy), full):
            assert (gradient is None) == (not wanted or complete is None)
            assert gradient is None or np.array_equal(gradient, complete)
