"""Every operation: correct gradients, dtypes and shapes, standalone NumPy source, and unmodified inputs."""

import ast
import inspect
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt import ops
from numpygpt.ops.attention import attention
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.dot_product_attention import dot_product_attention
from numpygpt.ops.embedding import embedding
from numpygpt.ops.gelu import gelu
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.ops.output_loss import output_loss
from numpygpt.ops.pool import mean_rows, take_rows
from numpygpt.ops.query_attention import query_attention
from numpygpt.ops.softmax import softmax
from numpygpt.study.checking import cases
from numpygpt.study.checking.complex_step import operation_errors, operation_gradients

CASES = cases.operation_cases(np.random.default_rng(0))
BY_LABEL = pytest.mark.parametrize("label, op, arguments", CASES, ids=[label for label, _, _ in CASES])


def arrays_in(arguments):
    return {name: a for name, a in arguments.items() if isinstance(a, np.ndarray) and a.dtype.kind in "fc"}


def cast(arguments, dtype):
    return arguments | {name: array.astype(dtype) for name, array in arrays_in(arguments).items()}


@BY_LABEL
def test_gradients_equal_complex_step_derivatives(label, op, arguments):
    errors = operation_errors(np.random.default_rng(1), op, **arguments)
    assert max(errors.values()) <= 1e-12, errors


@st.composite
def any_case(draw):
    """Draw sizes and lengths and return (operation, arguments, shape of its result)."""
    lengths = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    H, d, C, V = draw(st.integers(1, 3)), draw(st.integers(4, 5)), draw(st.integers(2, 5)), draw(st.integers(2, 9))
    N, B, D = lengths.sum(), len(lengths), H * d
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    normal, integers = rng.standard_normal, rng.integers
    rows = np.cumsum(lengths) - integers(1, lengths + 1)  # one row of each message
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
                (attention, dict(qkv=normal((B * N, 3 * D)), T=N, n_head=H, causal=bool(integers(2))), (B * N, D)),
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
                (
                    dot_product_attention,
                    dict(q=normal((H, B, d)), k=normal((H, N, d)), v=normal((H, N, C)), sqrt_d=2.5),
                    (H, B, C),
                ),
                (
                    cross_entropy,
                    dict(
                        logits=normal((B, C)),
                        targets=integers(0, C, B),
                        smoothing=int(integers(2)) / 4,
                        weights=[None, tuple(range(1, C + 1))][integers(2)],
                    ),
                    (),
                ),
                (output_loss, dict(x=normal((N, D)), wte=normal((V, D)), targets=integers(0, V, N)), ()),
            ]
        )
    )


@settings(max_examples=150)
@given(case=any_case(), seed=st.integers(0, 99))
def test_gradients_are_correct_along_a_random_direction_for_any_sizes(case, seed):
    op, arguments, shape = case
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(shape)
    step, expected, scale = {}, 0, 0
    for name, gradient in operation_gradients(op, dy, **arguments).items():
        direction = rng.standard_normal(arguments[name].shape)
        step[name] = arguments[name] + 1e-30j * direction
        expected += (gradient * direction).sum()
        scale += np.abs(gradient * direction).sum()
    assert abs((op(**arguments | step)[0] * dy).sum().imag / 1e-30 - expected) <= 1e-12 * scale


@settings(max_examples=150)
@given(case=any_case(), dtype=st.sampled_from([np.float32, np.float64, np.complex128]))
def test_results_keep_the_dtype_and_gradients_have_their_inputs_shapes(case, dtype):
    op, arguments, shape = case
    arguments = cast(arguments, dtype)
    y, _ = op(**arguments)
    assert (y.shape, y.dtype) == (shape, dtype)
    found = operation_gradients(op, np.ones(shape, dtype)[()], **arguments)
    assert {n: (g.shape, g.dtype) for n, g in found.items()} == {
        n: (a.shape, dtype) for n, a in arrays_in(arguments).items()
    }


@settings(max_examples=100)
@given(case=any_case(), data=st.data())
def test_mixed_real_and_complex_arguments_give_the_results_of_complex_ones(case, data):
    op, arguments, shape = case
    some = data.draw(st.sets(st.sampled_from(sorted(arrays_in(arguments)))))
    mixed = arguments | {name: arguments[name] + 0.25j for name in some}
    dy = np.random.default_rng(1).standard_normal(shape) + (0.5j if data.draw(st.booleans()) else 0)
    wide = cast(mixed, np.complex128)
    np.testing.assert_allclose(op(**mixed)[0], op(**wide)[0], rtol=1e-12, atol=1e-12)
    expected = operation_gradients(op, dy.astype(complex)[()], **wide)
    for name, gradient in operation_gradients(op, dy[()], **mixed).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-10)


def strange(array, how):
    """Return the values in an unusual array. It is read-only, so that writing to it raises an error."""
    array = np.array({"big-endian": array.astype(">f8"), "float16": array.astype(np.float16)}.get(how, array))
    if how == "not contiguous":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    array.flags.writeable = False
    return array


@BY_LABEL
@pytest.mark.parametrize("how", ["read-only", "not contiguous", "big-endian", "float16"])
def test_unusual_array_layouts_and_dtypes_give_the_same_results(label, op, arguments, how):
    unusual = arguments | {name: strange(array, how) for name, array in arrays_in(arguments).items()}
    dy = strange(np.random.default_rng(1).standard_normal(np.shape(op(**arguments)[0])), how)
    tolerance = 0.05 if how == "float16" else 1e-12
    np.testing.assert_allclose(op(**unusual)[0], op(**arguments)[0], rtol=tolerance, atol=tolerance)
    expected = operation_gradients(op, dy.astype(float), **arguments)
    for name, gradient in operation_gradients(op, dy, **unusual).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    "op, shapes", [(linear, [(0, 3), (3, 2), (2,)]), (gelu, [(0, 3)]), (layernorm, [(0, 3), (3,), (3,)])]
)
def test_zero_rows_give_zero_rows_and_zero_gradients(op, shapes):
    y, functions = op(*map(np.ones, shapes))
    found = [function(np.ones(y.shape)) for function in functions]
    assert [gradient.shape for gradient in found] == shapes and not any(gradient.any() for gradient in found)


def test_a_gradient_function_called_again_uses_its_new_dy():
    for label, op, arguments in CASES:
        y, functions = op(**arguments)
        dy = np.array(np.random.default_rng(2).standard_normal(np.shape(y)))
        first = [function(dy[()]) for function in functions]
        dy *= 2  # same array, new values: shared work must not be cached by the array's identity
        for function, before in zip(functions, first):
            np.testing.assert_allclose(function(dy[()]), 2 * before, rtol=1e-12, err_msg=label)


OPS = sorted(Path(ops.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", OPS, ids=lambda path: path.stem)
def test_a_file_of_ops_imports_only_numpy_and_ops_and_has_no_decorator(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"math", "numpy"}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module.startswith("numpygpt.ops.")
        if isinstance(node, ast.FunctionDef):
            assert not node.decorator_list
            assert "needs" not in [argument.arg for argument in node.args.args + node.args.kwonlyargs]


@BY_LABEL
def test_a_file_of_ops_runs_in_an_empty_notebook_with_correct_gradients(label, op, arguments):
    notebook = {}
    exec(Path(inspect.getfile(op)).read_text(encoding="utf-8"), notebook)
    errors = operation_errors(np.random.default_rng(1), notebook[op.__name__], **arguments)
    assert max(errors.values()) <= 1e-12, errors


@BY_LABEL
def test_an_operation_modifies_neither_its_inputs_nor_dy(label, op, arguments):
    given = {name: np.array(a) for name, a in arguments.items() if isinstance(a, np.ndarray)}
    y, functions = op(**arguments)
    dy = np.random.default_rng(2).standard_normal(np.shape(y))
    kept = np.array(dy)
    for function in functions:
        function(dy)
    assert np.array_equal(dy, kept)
    assert all(np.array_equal(arguments[name], array) for name, array in given.items())


def test_deleting_a_gradient_function_frees_the_arrays_only_it_uses():
    x = np.ones((4, 3))
    watched = weakref.ref(x)
    y, (dx, dweight, dbias) = linear(x, np.ones((3, 2)), np.ones(2))
    del x, dweight
    assert watched() is None, "only dweight reads x"
