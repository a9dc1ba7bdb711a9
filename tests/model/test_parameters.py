"""Random initialisation has the documented distributions. A fingerprint distinguishes models."""

import numpy as np
import pytest

from numpygpt.model.config import Config
from numpygpt.model.parameters import fingerprint, parameter_shapes, random_parameters

CONFIG = Config(vocab_size=500, n_positions=64, n_embd=64, n_layer=8, n_head=4)
MATRICES = [name for name, shape in parameter_shapes(CONFIG).items() if len(shape) == 2]


@pytest.mark.parametrize("how", ["random", "pytorch"])
def test_every_parameter_is_initialised_in_float32(how):
    params = random_parameters(CONFIG, 1, how)
    assert {name: array.shape for name, array in params.items()} == parameter_shapes(CONFIG)
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    assert all((array == 1).all() for name, array in params.items() if "ln_" in name and name.endswith("weight"))


def test_gpt2_initialisation_has_gpt2s_standard_deviations():
    params = random_parameters(CONFIG, 1)
    for name in MATRICES:
        expected = 0.02 / 4 if ".c_proj." in name else 0.02  # sqrt(2 * 8 layers) = 4
        assert params[name].std() == pytest.approx(expected, rel=0.05), name
        assert abs(params[name].mean()) < 5 * expected / params[name].size ** 0.5, name
    assert all(np.all(params[name] == 0) for name in params if name.endswith(".bias"))


def test_pytorch_initialisation_is_uniform_in_linear_layers_and_normal_in_embeddings():
    params = random_parameters(CONFIG, 1, "pytorch")
    for name in MATRICES:
        layer = params[name]
        if ".c_" in name:
            bound = len(layer) ** -0.5
            assert 0.98 * bound < np.abs(layer).max() <= bound
            assert layer.std() == pytest.approx(bound / 3**0.5, rel=0.05), name
            bias = params[name.replace("weight", "bias")]
            assert 0.8 * bound < np.abs(bias).max() <= bound
        else:
            assert layer.std() == pytest.approx(1, rel=0.05), name


def test_a_seed_determines_the_model():
    one, again, other = (fingerprint(random_parameters(CONFIG, seed)) for seed in (1, 1, 2**63 - 1))
    assert one == again != other


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"a": a + 1e-7},
        lambda a: {"b": a},
        lambda a: {"a": a.T},
        lambda a: {"a": a.astype(np.float32)},
        lambda a: {"a": a, "b": a[:0]},
    ],
    ids=["a value", "a name", "a shape", "a dtype", "one more"],
)
def test_any_change_of_a_parameter_changes_the_fingerprint(change):
    a = np.arange(6.0).reshape(2, 3)
    assert fingerprint(change(a)) != fingerprint({"a": a})


def test_a_fingerprint_does_not_depend_on_order_or_memory_layout():
    a, b = np.arange(6.0).reshape(2, 3), np.ones(2)
    assert fingerprint({"b": b, "a": np.asfortranarray(a)}) == fingerprint({"a": a, "b": b})


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_a_fingerprint_keeps_unsaved_changes_of_a_mapped_array(tmp_path, mode):
    np.arange(6.0).tofile(tmp_path / "a")
    a = np.memmap(tmp_path / "a", float, mode)
    a[2] = 9
    before = fingerprint({"a": a})
    assert a.tolist() == [0, 1, 9, 3, 4, 5] and fingerprint({"a": a}) == before
