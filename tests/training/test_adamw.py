"""AdamW follows its formula in float64 and PyTorch's optimizer in float32."""

import numpy as np
import pytest

from numpygpt.system import chunks
from numpygpt.system.errors import InputError
from numpygpt.training.adamw import AdamW

SETTINGS = dict(lr=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-3)
SHAPES = {"a.weight": (3, 4), "b.bias": (5,), "c.weight": (7, 2)}


def arrays(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def by_the_formula(params, steps, lr, weight_decay, betas, eps):
    """Return the parameters after all steps, with m and v written out as weighted sums."""
    (beta1, beta2), result = betas, {}
    for name, p in params.items():
        p = p.copy()
        for t in range(1, len(steps) + 1):
            gradients = [grads[name] for grads in steps[:t]]
            m = sum((1 - beta1) * beta1 ** (t - 1 - i) * g for i, g in enumerate(gradients))
            v = sum((1 - beta2) * beta2 ** (t - 1 - i) * g**2 for i, g in enumerate(gradients))
            p -= lr * weight_decay * p + lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        result[name] = p
    return result


@pytest.mark.parametrize("bundle", [1, 6, 1 << 20])
def test_adamw_follows_its_formula_however_the_work_is_divided(monkeypatch, bundle):
    monkeypatch.setattr(chunks, "BUNDLE", bundle)
    params, steps = arrays(0), [arrays(seed) for seed in range(1, 7)]
    expected = by_the_formula(params, steps, **SETTINGS)
    optimizer = AdamW(params, params, **SETTINGS)
    for grads in steps:
        optimizer.step(grads)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-12, atol=1e-14)


def test_adamws_defaults_equal_torchs():
    params, steps = arrays(0), [arrays(seed) for seed in range(1, 4)]
    expected = by_the_formula(params, steps, lr=0.01, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8)
    optimizer = AdamW(params, params, lr=0.01)
    for grads in steps:
        optimizer.step(grads)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-9, atol=1e-13)


def test_every_chunk_of_an_array_is_updated():
    p = np.zeros((5000, 9), np.float32)
    AdamW({"p": p}, ["p"], lr=0.5, weight_decay=0).step({"p": np.ones_like(p)})
    np.testing.assert_allclose(p, -0.5, rtol=1e-5)


def test_adamw_changes_only_the_named_arrays_and_no_gradient():
    params, grads = arrays(0), arrays(1)
    before, grads_before = {k: a.copy() for k, a in params.items()}, {k: a.copy() for k, a in grads.items()}
    AdamW(params, {"b.bias"}, **SETTINGS).step({"b.bias": grads["b.bias"]})
    assert np.array_equal(params["a.weight"], before["a.weight"]) and np.array_equal(
        params["c.weight"], before["c.weight"]
    )
    assert (params["b.bias"] != before["b.bias"]).all()
    assert all(np.array_equal(grads[name], grads_before[name]) for name in grads)


def test_a_parameter_with_zero_gradient_still_decays():
    params = {"wte.weight": np.ones((4, 2))}
    AdamW(params, params, **SETTINGS).step({"wte.weight": np.zeros((4, 2))})
    np.testing.assert_allclose(params["wte.weight"], 1 - 0.01 * 0.1, rtol=1e-15)


def test_an_array_not_in_c_order_is_updated_in_place():
    plain, grads = arrays(0), arrays(1)
    transposed = {name: np.asfortranarray(a) for name, a in plain.items()}
    AdamW(plain, plain, **SETTINGS).step(grads)
    AdamW(transposed, transposed, **SETTINGS).step(grads)
    assert all(np.array_equal(plain[name], transposed[name]) for name in plain)


def test_float32_stays_float32():
    params = arrays(0, np.float32)
    optimizer = AdamW(params, params, **SETTINGS)
    optimizer.step(arrays(1, np.float32))
    for held in (optimizer.params, optimizer.m, optimizer.v):
        assert {a.dtype for a in held.values()} == {np.dtype(np.float32)}


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "params, names, message",
    [
        ({"w": read_only(np.ones(3))}, ["w"], "w is read-only"),
        ({"w": np.broadcast_to(np.ones(3, np.float32), (2, 3))}, ["w"], "w is read-only"),
        ({"w": np.arange(3)}, ["w"], "dtype int64; only real floats"),
        ({"w": np.ones(3, complex)}, ["w"], "dtype complex128; only real floats"),
        ({"w": np.ones(3)}, ["w", "wq"], "there is no parameter 'wq'"),
    ],
)
def test_adamw_refuses_arrays_it_cannot_update_in_place(params, names, message):
    with pytest.raises(InputError, match=message):
        AdamW(params, names, lr=0.1)


@pytest.mark.parametrize(
    "numbers, message",
    [
        ({"lr": np.nan}, "^lr: expected a number at least 0 and at most 1000.0, got nan"),
        ({"lr": -1}, "^lr: "),
        ({"weight_decay": np.inf}, "^weight_decay: "),
        ({"eps": -1e-8}, "^eps: expected a number at least 0"),
        ({"betas": (0.9, 1.0)}, r"^betas: expected two numbers at least 0 and less than 1, got \(0.9, 1.0\)"),
        ({"betas": (np.nan, 0.999)}, "^betas: "),
        ({"betas": (0.9,)}, "^betas: "),
        ({"betas": 0.9}, "^betas: "),
    ],
)
def test_adamw_refuses_invalid_settings(numbers, message):
    with pytest.raises(InputError, match=message):
        AdamW({"w": np.ones(3)}, ["w"], **{"lr": 0.1} | numbers)


def test_adamw_refuses_parameters_that_share_memory():
    whole, table = np.ones(6), np.ones((4, 6))
    for first, second in ((whole, whole), (whole[:4], whole[3:]), (table, table[1:2, 2:])):
        with pytest.raises(InputError, match="^AdamW: [ac] and [ac] share memory, so it would be updated twice"):
            AdamW({"a": first, "b": np.ones(2), "c": second}, "abc", lr=0.1)
    AdamW({"a": whole[:3], "b": whole[3:], "c": table[:, ::2], "d": table[:, 1::2]}, "abcd", lr=0.1)
    assert (AdamW({"a": whole, "b": whole}, "a", lr=0.1).params["a"] == 1).all()  # only one of the names learns


@pytest.mark.parametrize(
    "grads, message",
    [
        ({"w": np.ones((1, 4)), "b": np.ones(4)}, r"gradient of w has shape \(1, 4\), the parameter \(3, 4\)"),
        ({"w": np.ones((3, 4)), "b": 1.0}, r"gradient of b has shape \(\)"),
        ({"w": np.ones((3, 4))}, "there is no gradient for b"),
        ({"w": np.ones((3, 4)), "b": np.ones(4), "c": np.ones(4)}, "a gradient for c, which is not among its names"),
        ({"w": np.ones((3, 4)) * 1j, "b": np.ones(4)}, "gradient of w has dtype complex128"),
        ({"w": np.ones((3, 4)), "b": [1j] * 4}, "gradient of b has dtype complex128"),
        ({"w": np.ones((3, 4), np.int8), "b": np.ones(4)}, "gradient of w has dtype int8"),
    ],
)
def test_gradients_that_do_not_fit_are_refused_before_any_update(grads, message):
    params = {"b": np.ones(4), "w": np.ones((3, 4))}
    optimizer = AdamW(params, params, lr=0.1)
    with pytest.raises(InputError, match=message):
        optimizer.step(grads)
    assert optimizer.t == 0
    assert all((array == 1).all() for array in params.values()) and not any(m.any() for m in optimizer.m.values())


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float32", "float64"])
def test_adamw_updates_every_float_dtype_with_gradients_of_any_precision(dtype):
    p = np.ones((5, 3), dtype)
    optimizer = AdamW({"p": p}, ["p"], lr=0.5, weight_decay=0)
    for _ in range(2):
        optimizer.step({"p": read_only(np.full((3, 5), 2.0)).T})
    np.testing.assert_allclose(p.astype(float), 0, atol=2e-3)


@pytest.mark.parametrize("gradient", [0.0, 1e-5, 20.0, 300.0])
def test_half_precision_neither_overflows_nor_divides_by_zero(gradient):
    for of_parameter, of_gradient in [("float16", "float16"), ("float16", "float32"), ("float32", "float16")]:
        p = np.ones(3, of_parameter)
        optimizer = AdamW({"p": p}, ["p"], lr=0.0625, weight_decay=0)
        for _ in range(64):
            optimizer.step({"p": np.full(3, gradient, of_gradient)})
        np.testing.assert_allclose(p, 1 - 4 * (gradient > 0), atol=0.05)


def test_a_scalar_parameter_is_updated():
    p = np.array(1.0)
    AdamW({"p": p}, ["p"], lr=0.5, weight_decay=0).step({"p": np.float64(2.0)})
    assert p == pytest.approx(0.5)


def test_an_array_made_read_only_is_refused_before_any_update():
    params = {"a": np.ones(3), "b": np.ones(3)}
    optimizer = AdamW(params, params, lr=0.5)
    params["b"].flags.writeable = False
    with pytest.raises(InputError, match="b is read-only"):
        optimizer.step({"a": np.ones(3), "b": np.ones(3)})
    assert optimizer.t == 0 and (params["a"] == 1).all() and not optimizer.m["a"].any()


def test_an_empty_array_is_accepted():
    AdamW({"p": np.empty((0, 3))}, ["p"], lr=0.5).step({"p": np.empty((0, 3))})


def test_a_hundred_steps_equal_torchs_to_four_digits():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in {"w": (40, 30), "b": (50,)}.items()
    }
    start = {name: a.copy() for name, a in params.items()}
    theirs = {name: torch.nn.Parameter(torch.tensor(a)) for name, a in params.items()}
    ours = AdamW(params, params, lr=1e-3, weight_decay=0.1)
    oracle = torch.optim.AdamW(theirs.values(), lr=1e-3, weight_decay=0.1)
    for t in range(100):
        scale = 10.0 ** rng.integers(-9, 2)  # gradients from far below eps to far above it
        grads = {name: (scale * rng.standard_normal(a.shape)).astype(np.float32) for name, a in params.items()}
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(grads[name])
        ours.step(grads)
        oracle.step()
        for name, parameter in theirs.items():
            moved = parameter.detach().numpy() - start[name]
            assert np.abs(params[name] - start[name] - moved).max() <= 1e-4 * np.abs(moved).max(), (name, t)
