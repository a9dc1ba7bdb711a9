"""LoRA by itself. test_options_against_pytorch.py compares it with PyTorch."""

import numpy as np
import pytest

from numpygpt.model.config import Config
from numpygpt.model.lora import adapters, merge
from numpygpt.model.parameters import random_parameters
from numpygpt.training.rng import Generator

CONFIG = Config(vocab_size=11, n_positions=4, n_embd=6, n_layer=2, n_head=2)
RANK = 4


@pytest.fixture
def params():
    rng = np.random.default_rng(1)
    head = {"head.weight": rng.standard_normal((6, 3)), "head.bias": np.zeros(3)}
    return {**random_parameters(CONFIG, seed=0), **head}


def test_adapters_start_bounded_by_the_rank_and_add_nothing(params):
    new = adapters(params, CONFIG, RANK, Generator(123))
    for name, array in new.items():
        if name.endswith("lora_A"):
            assert 0.4 < np.abs(array).max() <= 0.5  # at least 24 draws each
        else:
            assert not array.any()
    merged, _ = merge(params | new, CONFIG, scale=2.0)
    assert all(np.array_equal(merged[name], array) for name, array in params.items())


def test_every_linear_layer_gets_an_adapter_pair_in_the_books_order(params):
    new = adapters(params, CONFIG, RANK, Generator(123))
    layers = ["attn.c_attn.query", "attn.c_attn.key", "attn.c_attn.value", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    order = [f"h.{n}.{layer}" for n in range(2) for layer in layers] + ["head"]
    assert list(new) == [f"{layer}.lora_{half}" for layer in order for half in "AB"]
    generator = Generator(123)
    for layer in order:
        A, B = new[f"{layer}.lora_A"], new[f"{layer}.lora_B"]
        assert A.shape == (24 if layer.endswith("mlp.c_proj") else 6, RANK)
        assert B.shape == (RANK, {"head": 3}.get(layer, 24 if layer.endswith("c_fc") else 6))
        assert np.array_equal(A, generator.uniform(-0.5, 0.5, A.shape))


def test_each_adapter_changes_its_own_layer_and_gets_that_layers_gradients(params):
    rng = np.random.default_rng(2)
    new = {name: rng.standard_normal(a.shape) for name, a in adapters(params, CONFIG, RANK, Generator(1)).items()}
    merged, backward = merge(params | new, CONFIG, scale=0.3)
    grads = {name: rng.standard_normal(array.shape) for name, array in params.items()}
    found = backward(grads)
    places = {"attn.c_attn.query": slice(0, 6), "attn.c_attn.key": slice(6, 12), "attn.c_attn.value": slice(12, 18)}
    whole = dict.fromkeys(("attn.c_proj", "mlp.c_fc", "mlp.c_proj"), slice(None))
    for layer, columns in (places | whole).items():
        weight = f"h.1.{layer.replace('.query', '').replace('.key', '').replace('.value', '')}.weight"
        A, B, d = new[f"h.1.{layer}.lora_A"], new[f"h.1.{layer}.lora_B"], grads[weight][:, columns]
        np.testing.assert_allclose(merged[weight][:, columns], params[weight][:, columns] + 0.3 * A @ B, rtol=1e-5)
        np.testing.assert_allclose(found[f"h.1.{layer}.lora_A"], 0.3 * d @ B.T)
        np.testing.assert_allclose(found[f"h.1.{layer}.lora_B"], 0.3 * A.T @ d)
    assert all(found[name] is array for name, array in grads.items())
