"""A valid config.json gives the model's sizes. Any other is refused."""

import json
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.checkpoints.load import BUNDLED
from numpygpt.model.config import SIZES, Config, config_json, read_config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.system.errors import InputError

GOOD = json.loads(config_json(Config()))


def read(tmp_path, entries):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(entries))
    return read_config(path)


@pytest.mark.parametrize(
    "name, parameters",
    [("gpt2", 124_439_808), ("gpt2-medium", 354_823_168), ("gpt2-large", 774_030_080), ("gpt2-xl", 1_557_611_200)],
)
def test_published_sizes_have_their_published_number_of_parameters(name, parameters):
    assert sum(map(prod, parameter_shapes(SIZES[name]).values())) == parameters


def test_published_sizes_have_heads_64_wide():
    assert {name: config.n_embd / config.n_head for name, config in SIZES.items()} == dict.fromkeys(SIZES, 64)


@settings(max_examples=30)
@given(
    st.builds(
        lambda heads, width, **sizes: Config(n_head=heads, n_embd=heads * width, **sizes),
        heads=st.integers(1, 40),
        width=st.integers(1, 100),
        vocab_size=st.integers(1, 10**6),
        n_positions=st.integers(1, 10**5),
        n_layer=st.integers(1, 100),
        layer_norm_epsilon=st.floats(1e-12, 0.1),
    )
)
def test_a_written_config_is_read_back(tmp_path_factory, config):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(config_json(config))
    assert read_config(path) == config


def test_a_written_config_names_endoftext_as_first_and_last_token():
    assert (GOOD["bos_token_id"], GOOD["eos_token_id"]) == (50256, 50256)  # as in OpenAI's and Hugging Face's GPT-2


def test_the_bundled_models_config_is_written_back_unchanged():
    path = BUNDLED["mini"] / "config.json"
    assert config_json(read_config(path)) == path.read_text()


def test_an_old_config_may_use_n_ctx_and_omit_defaults(tmp_path):
    entries = {"vocab_size": 7, "n_ctx": 5, "n_embd": 6, "n_layer": 1, "n_head": 2, "n_inner": None}
    assert read(tmp_path, entries) == Config(7, 5, 6, 1, 2)


@pytest.mark.parametrize(
    "key, value",
    [
        ("model_type", "llama"),
        ("activation_function", "gelu"),  # the erf form: its logits would be slightly wrong
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("n_inner", 100),
        ("n_head", 7),  # does not divide 768
        ("n_embd", 0),
        ("n_layer", -1),
        ("n_layer", 2.0),
        ("n_head", True),
        ("vocab_size", "50257"),
        ("vocab_size", None),
        ("n_positions", 2**31),
        ("layer_norm_epsilon", 0),
        ("layer_norm_epsilon", float("nan")),
        ("layer_norm_epsilon", "1e-5"),
    ],
)
def test_an_unsupported_config_is_refused_with_file_and_key(tmp_path, key, value):
    with pytest.raises(InputError, match=rf"config\.json: .*{key}.*") as error:
        read(tmp_path, GOOD | {key: value})
    assert "\n" not in str(error.value)


@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(st.integers() | st.text(max_size=5), st.lists).map(lambda x: json.dumps(x).encode()),
    )
)
def test_a_file_that_is_not_a_config_is_refused_with_its_name(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(path)
