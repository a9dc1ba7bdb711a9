"""Hugging Face's names become ours, and weights that are not the Config's are refused by name."""

import numpy as np
import pytest

from numpygpt.checkpoints.names import check_parameters, from_hugging_face
from numpygpt.errors import InputError
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters

CONFIG = Config(vocab_size=11, n_positions=7, n_embd=6, n_layer=2, n_head=3)


@pytest.fixture
def params():
    return random_parameters(CONFIG, seed=0)


def refusal(tensors, config=CONFIG):
    with pytest.raises(InputError) as caught:
        check_parameters(tensors, config, "the file")
    assert str(caught.value).startswith("the file: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_names_are_the_same_with_and_without_the_prefix(params):
    assert from_hugging_face(params, "") == params
    assert from_hugging_face({f"transformer.{name}": array for name, array in params.items()}, "") == params


def test_masks_are_dropped_and_the_biases_with_similar_names_kept(params):
    masks = {f"{prefix}h.{n}.attn.bias": np.ones((1, 1, 7, 7)) for prefix, n in (("", 0), ("transformer.", 1))}
    masks["h.0.attn.masked_bias"] = np.float32(-1e4)
    assert from_hugging_face(masks | params, "") == params


def test_a_tensor_with_a_masks_name_but_another_shape_is_not_dropped_silently(params):
    named = from_hugging_face(params | {"h.0.attn.bias": np.ones(6)}, "")
    assert "'h.0.attn.bias' is not a parameter of GPT-2" in refusal(named)


def test_a_tensor_with_and_without_prefix_is_ambiguous(params):
    with pytest.raises(InputError, match="the file: wte.weight occurs twice"):
        from_hugging_face(params | {"transformer.wte.weight": params["wte.weight"]}, "the file")


def test_the_right_parameters_pass_in_any_order(params):
    check_parameters(dict(reversed(params.items())), CONFIG, "the file")


@pytest.mark.parametrize("name", random_parameters(CONFIG, seed=0))
def test_every_parameter_is_needed(params, name):
    del params[name]
    assert refusal(params) == f"the file: {name} is missing"


def test_an_unknown_tensor_is_named(params):
    assert refusal(params | {"score.weight": np.ones((2, 6))}) == "the file: 'score.weight' is not a parameter of GPT-2"


def test_a_transposed_matrix_is_named_with_both_shapes(params):
    params["h.1.mlp.c_fc.weight"] = params["h.1.mlp.c_fc.weight"].T
    assert refusal(params) == "the file: h.1.mlp.c_fc.weight has shape (24, 6), expected (6, 24)"


def test_whole_numbers_are_no_weights(params):
    params["ln_f.bias"] = params["ln_f.bias"].astype(np.int64)
    assert refusal(params) == "the file: ln_f.bias is int64, expected floats"


def test_a_long_list_of_problems_is_cut_at_three_and_counted(params):
    for name in [name for name in params if name.startswith("h.0.")]:
        del params[name]
    assert refusal(params) == (
        "the file: h.0.ln_1.weight is missing; h.0.ln_1.bias is missing; h.0.attn.c_attn.weight is missing; and 9 more"
    )


@pytest.mark.parametrize(
    "key, other",
    [
        ("vocab_size", Config(12, 7, 6, 2, 3)),
        ("n_positions", Config(11, 8, 6, 2, 3)),
        ("n_embd", Config(11, 7, 9, 2, 3)),
        ("n_layer", Config(11, 7, 6, 3, 3)),
        ("n_layer", Config(11, 7, 6, 1, 3)),
        ("n_layer", Config(11, 7, 6, 2**31 - 1, 3)),  # must not list two billion blocks
    ],
)
def test_a_size_that_the_weights_contradict_is_named_with_both_values(params, key, other):
    message = refusal(params, other)
    assert message == (
        f"the file: {key} is {getattr(other, key)} in the configuration, but {getattr(CONFIG, key)} in the weights"
    )


def test_another_models_weights_are_refused():
    assert "n_layer is 2 in the configuration, but 0 in the weights" in refusal({"encoder.weight": np.ones(3)})
