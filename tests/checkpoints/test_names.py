"""Other projects' parameter names are converted, and weights that do not fit the Config are refused by name."""

import re

import numpy as np
import pytest

from numpygpt.checkpoints.book import to_book
from numpygpt.checkpoints.names import check_parameters, deduced_config, from_hugging_face, to_gpt2
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes, random_parameters
from numpygpt.system.errors import InputError, Note
from tests.checkpoints.writers import openai_names

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


def test_a_tensor_with_and_without_prefix_is_ambiguous(params):
    with pytest.raises(InputError, match="the file: wte.weight occurs twice"):
        from_hugging_face(params | {"transformer.wte.weight": params["wte.weight"]}, "the file")


def test_correct_parameters_are_accepted_in_any_order(params):
    check_parameters(dict(reversed(params.items())), CONFIG, "the file")


def without(*names):
    return lambda params: {name: array for name, array in params.items() if not name.startswith(names)}


REFUSED = {
    "a mask's name, but another shape": (
        lambda params: from_hugging_face(params | {"h.0.attn.bias": np.ones(6)}, ""),
        "'h.0.attn.bias' is not a parameter of GPT-2",
    ),
    "an unknown tensor": (
        lambda params: params | {"score.weight": np.ones((2, 6))},
        "'score.weight' is not a parameter of GPT-2",
    ),
    "a transposed matrix": (
        lambda params: params | {"h.1.mlp.c_fc.weight": params["h.1.mlp.c_fc.weight"].T},
        "h.1.mlp.c_fc.weight has shape (24, 6), expected (6, 24)",
    ),
    "whole numbers": (
        lambda params: params | {"ln_f.bias": params["ln_f.bias"].astype(np.int64)},
        "ln_f.bias is int64, expected floats",
    ),
    "three problems of many are listed": (
        without("h.0."),
        "h.0.ln_1.weight is missing; h.0.ln_1.bias is missing; h.0.attn.c_attn.weight is missing; and 9 more",
    ),
    "another model": (
        lambda params: {"encoder.weight": np.ones(3)},
        "n_layer is 2 in the configuration, but 0 in the weights",
    ),
} | {f"without {name}": (without(name), f"{name} is missing") for name in parameter_shapes(CONFIG)}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_parameters_are_refused_in_one_line(params, case):
    change, message = REFUSED[case]
    assert refusal(change(params)) == f"the file: {message}"


@pytest.mark.parametrize(
    "key, other",
    [
        ("vocab_size", Config(12, 7, 6, 2, 3)),
        ("n_positions", Config(11, 8, 6, 2, 3)),
        ("n_embd", Config(11, 7, 9, 2, 3)),
        ("n_layer", Config(11, 7, 6, 3, 3)),
        ("n_layer", Config(11, 7, 6, 1, 3)),
        ("n_layer", Config(11, 7, 6, 2**31 - 1, 3)),  # the error must not list two billion blocks
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused_with_both_values(params, key, other):
    message = refusal(params, other)
    assert message == (
        f"the file: {key} is {getattr(other, key)} in the configuration, but {getattr(CONFIG, key)} in the weights"
    )


class Stored:
    """An array in place of a tensor on disk."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self):
        return self.array

    def copy(self):
        return self.array.copy()


def stored(arrays):
    return {name: Stored(array) for name, array in arrays.items()}


def same(tensors, params):
    assert tensors.keys() == params.keys()
    return all(np.array_equal(tensors[name].read(), array) for name, array in params.items())


@pytest.fixture
def book(params):
    return to_book(params, CONFIG)


def test_the_books_names_equal_its_models(book):
    expected = {"tok_emb.weight": (11, 6), "pos_emb.weight": (7, 6), "out_head.weight": (11, 6)}
    expected |= {"final_norm.scale": (6,), "final_norm.shift": (6,)}
    for n in range(2):
        expected |= {f"trf_blocks.{n}.att.W_{part}.weight": (6, 6) for part in ("query", "key", "value")}
        expected |= {f"trf_blocks.{n}.att.W_{part}.bias": (6,) for part in ("query", "key", "value")}
        expected |= {f"trf_blocks.{n}.att.out_proj.weight": (6, 6), f"trf_blocks.{n}.att.out_proj.bias": (6,)}
        expected |= {f"trf_blocks.{n}.att.mask": (7, 7)}
        expected |= {f"trf_blocks.{n}.ff.layers.0.weight": (24, 6), f"trf_blocks.{n}.ff.layers.0.bias": (24,)}
        expected |= {f"trf_blocks.{n}.ff.layers.2.weight": (6, 24), f"trf_blocks.{n}.ff.layers.2.bias": (6,)}
        expected |= {f"trf_blocks.{n}.norm{m}.{kind}": (6,) for m in (1, 2) for kind in ("scale", "shift")}
    assert {name: array.shape for name, array in book.items()} == expected


def test_the_books_tensors_hold_the_correct_parts(params, book):
    attention = params["h.1.attn.c_attn.weight"]  # (input, [query, key, value] outputs side by side)
    assert np.array_equal(book["trf_blocks.1.att.W_query.weight"], attention[:, :6].T)
    assert np.array_equal(book["trf_blocks.1.att.W_key.weight"], attention[:, 6:12].T)
    assert np.array_equal(book["trf_blocks.1.att.W_value.weight"], attention[:, 12:].T)
    assert np.array_equal(book["trf_blocks.0.ff.layers.2.weight"], params["h.0.mlp.c_proj.weight"].T)
    assert book["trf_blocks.0.att.mask"][2].tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
        1,
    ]  # a token attends to itself and earlier tokens


def test_the_books_names_convert_in_both_directions(params, book):
    tensors = to_gpt2(stored(book), "")
    assert np.array_equal(tensors.pop("lm_head.weight").read(), params["wte.weight"])
    check_parameters(tensors, CONFIG, "")
    assert same(tensors, params)
    assert tensors["h.0.attn.c_attn.weight"].read().flags.c_contiguous


def test_missing_attention_biases_of_the_books_model_become_zero(params, book):
    for name in [name for name in book if "W_" in name and name.endswith(".bias")]:
        del book[name]
    tensors = to_gpt2(stored(book), "")
    del tensors["lm_head.weight"]
    params |= {name: np.zeros_like(array) for name, array in params.items() if name.endswith("c_attn.bias")}
    check_parameters(tensors, CONFIG, "")
    assert same(tensors, params)


FAULTS = {  # tensors added to the book's, or None for a removed one -> error
    f"trf_blocks.1.att.W_{part}.{kind}": (None, f"^the file: trf_blocks.1.att.W_{part}.{kind} is missing$")
    for part in ("query", "key", "value")
    for kind in ("weight", "bias")
}
UNLIKE = np.ones((6, 5), np.float32), np.ones(6, np.float32), np.ones((), np.float32), np.ones((6, 6), int)
KEY = "trf_blocks.0.att.W_key.weight"


@pytest.mark.parametrize(
    "name, array, message",
    [(name, *fault) for name, fault in FAULTS.items()]
    + [(KEY, array, f"^the file: {KEY} is .* expected floats of the query's shape$") for array in UNLIKE]
    + [
        ("trf_blocks.0.ff.layers.0.weight", np.ones((6, 24)), r"h.0.mlp.c_fc.weight has shape \(24, 6\), expected"),
        ("trf_blocks.0.att.W_more.weight", np.ones(1), "'trf_blocks.0.att.W_more.weight' is not a parameter of GPT-2"),
    ],
)
def test_a_fault_among_the_books_tensors_is_named(book, name, array, message):
    book = {key: value for key, value in (book | {name: array}).items() if value is not None}
    with pytest.raises(InputError, match=message):
        tensors = to_gpt2(stored(book), "the file")
        del tensors["lm_head.weight"]
        check_parameters(tensors, CONFIG, "the file")


def test_openais_names_are_converted(params):
    named = openai_names(params)
    assert named["model/h1/attn/c_attn/w"].shape == (1, 6, 18) and named["model/ln_f/g"].shape == (6,)
    tensors = to_gpt2(stored(named), "")
    check_parameters(tensors, CONFIG, "")
    assert same(tensors, params)


def test_an_unknown_tensor_among_openais_is_named(params):
    tensors = to_gpt2(
        stored(openai_names(params) | {"model/h0/extra/w": np.ones((2, 6, 6)), "model/x": np.ones(1)}), ""
    )
    assert "'h.0.extra.weight' is not a parameter of GPT-2; 'model/x' is not a parameter" in refusal(tensors)


def beside(params):
    """Return the variables of TensorFlow's Adam and a step counter."""
    named = openai_names(params)
    moments = {f"{name}/{slot}": array for name, array in named.items() for slot in ("Adam", "Adam_1")}
    return named | moments | {"beta1_power": np.ones(()), "beta2_power": np.ones(()), "global_step": np.ones((), int)}


def test_optimizer_variables_beside_openais_model_are_skipped_with_a_note(params):
    with pytest.warns(Note) as notes:
        tensors = to_gpt2(stored(beside(params)), "the file")
    check_parameters(tensors, CONFIG, "the file")
    assert same(tensors, params)
    [note] = notes
    found = re.fullmatch(r"the file: skipped tensors of the training: (.*) and (\d+) more", str(note.message))
    assert found[1].split(", ") == ["model/wte/Adam", "model/wte/Adam_1", "model/wpe/Adam"]
    assert int(found[2]) == 2 * len(params) + 3 - 3


@pytest.mark.parametrize("width, heads", [(768, 12), (1600, 25)])
def test_shapes_of_gpt2s_widths_determine_the_config(width, heads):
    sizes = Config(vocab_size=5, n_positions=3, n_embd=width, n_layer=2, n_head=heads)
    tensors = {name: np.broadcast_to(np.float32(0), shape) for name, shape in parameter_shapes(sizes).items()}
    assert deduced_config(tensors, "") == sizes
    assert deduced_config(tensors, "", heads=1).n_head == 1


def test_another_width_requires_the_number_of_heads(params):
    with pytest.raises(InputError, match="the file: no file says how many heads .* its width, 6, .* give --heads N"):
        deduced_config(params, "the file")
    assert deduced_config(params, "the file", heads=3).n_head == 3
    with pytest.raises(InputError, match="the file: the width 6 is not divisible by 4 heads"):
        deduced_config(params, "the file", heads=4)


@pytest.mark.parametrize("name, size", [("wte.weight", "vocab_size"), ("wpe.weight", "n_positions"), ("h.", "n_layer")])
def test_a_size_missing_from_the_tensors_is_named(params, name, size):
    with pytest.raises(InputError, match=f"no tensor shows {size}"):
        deduced_config({key: array for key, array in params.items() if not key.startswith(name)}, "the file")
