"""Checkpoint folders are saved and loaded as in transformers, and damaged folders are refused."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_weights
from numpygpt.checkpoints.safetensors import read_safetensors, write_safetensors
from numpygpt.model.config import Config, config_json
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError

CONFIG = Config(vocab_size=11, n_positions=7, n_embd=6, n_layer=2, n_head=3)
INDEX = "model.safetensors.index.json"


@pytest.fixture
def params():
    return random_parameters(CONFIG, seed=0)


@pytest.fixture
def folder(tmp_path, params):
    save_folder(tmp_path / "model", CONFIG, params)
    return tmp_path / "model"


@pytest.fixture
def shards(tmp_path, params):
    """Return a folder with the weights in two shards."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "config.json").write_text(config_json(CONFIG))
    names = list(params)
    files = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, held in files.items():
        write_safetensors(folder / file, {name: params[name] for name in held})
    write_index(folder, {name: file for file, held in files.items() for name in held})
    return folder


def write_index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def weight_map(folder):
    return json.loads((folder / INDEX).read_text())["weight_map"]


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def refusal(folder):
    with pytest.raises(InputError) as caught:
        load_weights(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_saved_folder_is_loaded_bit_for_bit(folder, params):
    config, loaded = load_weights(folder)
    assert config == CONFIG and same(loaded, params)
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


def test_loaded_weights_are_read_only_views_of_the_file(folder):
    _, loaded = load_weights(folder)
    assert all(not array.flags.writeable and not array.flags.owndata for array in loaded.values())


def test_half_precision_halves_the_file_and_rounds_the_weights(folder, tmp_path, params):
    save_folder(tmp_path / "half", CONFIG, params, dtype=np.float16)
    _, loaded = load_weights(tmp_path / "half")
    assert all(array.dtype == np.float32 for array in loaded.values())
    assert same(loaded, {name: array.astype(np.float16) for name, array in params.items()})
    sizes = [(path / "model.safetensors").stat().st_size for path in (folder, tmp_path / "half")]
    assert sizes[1] < 0.75 * sizes[0]  # the header has the same size


def test_a_failed_save_keeps_the_old_folder(folder, params):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match="too large for float16"):
        save_folder(
            folder, Config(11, 7, 6, 2, 1), params | {"ln_f.bias": np.full(6, 1e6, np.float32)}, dtype=np.float16
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is mapped")
def test_saving_into_the_loaded_folder_keeps_the_mapped_weights(folder, params, monkeypatch):
    monkeypatch.setattr(os, "replace", os.rename)  # without the check that no other test does so
    config, loaded = load_weights(folder)
    save_folder(folder, config, loaded)
    assert same(loaded, params) and same(load_weights(folder)[1], params)


def test_the_published_layout_loads(folder, params):
    """openai-community/gpt2 has unaligned data and causal masks."""
    masks = {f"h.{n}.attn.bias": np.tri(7, dtype=np.float32).reshape(1, 1, 7, 7) for n in range(2)}
    write_safetensors(folder / "model.safetensors", params | masks)
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    (folder / "model.safetensors").unlink()
    header, data = content[8 : 8 + length] + b"   ", content[8 + length :]
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    _, loaded = load_weights(folder)
    assert same(loaded, params) and all(array.flags.aligned for array in loaded.values())


def test_an_output_layer_equal_to_the_embedding_is_dropped(folder, params):
    write_safetensors(folder / "model.safetensors", params | {"lm_head.weight": params["wte.weight"]})
    assert same(load_weights(folder)[1], params)


def entry(file):
    return lambda folder: write_index(folder, weight_map(folder) | {"ln_f.bias": file})


def index(text):
    return lambda folder: (folder / INDEX).write_bytes(text)


def output_layer(shape):
    def write(folder):
        tensors = random_parameters(CONFIG, seed=0) | {"lm_head.weight": np.zeros(shape, np.float32)}
        write_safetensors(folder / "model.safetensors", tensors)

    return write


def forget(folder):
    write_index(folder, {name: file for name, file in weight_map(folder).items() if name != "ln_f.bias"})


FIRST, SECOND = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
OUTSIDE = (
    "../model.safetensors",
    "/etc/x.safetensors",
    "a\\b.safetensors",
    "C:x.safetensors",
    "..",
    "",
    "x.py",
    1,
    None,
    [],
)
DAMAGE = [  # (damage of a folder or of one with shards, error)
    ("folder", output_layer((11, 6)), "lm_head.weight, differs from the token embedding, wte.weight"),
    ("folder", output_layer((3, 6)), "lm_head.weight, differs from the token embedding, wte.weight"),
    (
        "folder",
        lambda folder: (folder / "config.json").write_text(config_json(Config(11, 7, 6, 3, 3))),
        "model.safetensors: n_layer is 3 in the configuration, but 2 in the weights",
    ),
    ("folder", lambda folder: (folder / "model.safetensors").unlink(), "the folder has no weights"),
    ("shards", lambda folder: (folder / SECOND).unlink(), f"its shard {SECOND} is missing in the folder"),
    ("shards", entry(FIRST), f"{FIRST}: tensor 'ln_f.bias', listed in {INDEX}, is missing"),
    ("shards", forget, f"{INDEX}: ln_f.bias is missing"),
    *(("shards", entry(file), f"'ln_f.bias' is in {str(file)!r}, expected the name of") for file in OUTSIDE),
    *(("shards", index(text), f"{INDEX}: not a JSON file") for text in (b"", b"{", b"\xff", b"[" * 100_000)),
    ("shards", index(b"[]"), f"{INDEX}: expected a JSON object, found a list"),
    *(("shards", index(text), "whose weight_map maps tensors") for text in (b"{}", b'{"weight_map": []}')),
]


@pytest.mark.parametrize("kind, damage, message", DAMAGE, ids=[message for _, _, message in DAMAGE])
def test_a_damaged_folder_is_refused_in_one_line(request, kind, damage, message):
    folder = request.getfixturevalue(kind)
    damage(folder)
    assert message in refusal(folder)


def test_shards_load_like_a_single_file(shards, params):
    config, loaded = load_weights(shards)
    assert config == CONFIG and same(loaded, params)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    save_folder(folder, CONFIG, random_parameters(CONFIG, seed=0))
    return folder


@given(st.data())
def test_a_damaged_folder_is_refused_or_loads_a_complete_model(scratch, params_shapes, data):
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    whole = (scratch / name).read_bytes()
    place = data.draw(st.integers(0, min(len(whole), 3000) - 1))  # mostly in the header
    damaged = whole[:place] + data.draw(st.binary(max_size=2)) + whole[place + data.draw(st.integers(0, 2)) :]
    (scratch / name).unlink()
    (scratch / name).write_bytes(damaged)
    try:
        config, loaded = load_weights(scratch)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert {key: array.shape for key, array in loaded.items()} == params_shapes
        assert all(array.dtype == np.float32 for array in loaded.values())
    finally:
        (scratch / name).unlink()
        (scratch / name).write_bytes(whole)


@pytest.fixture(scope="module")
def params_shapes():
    return {name: array.shape for name, array in random_parameters(CONFIG, seed=0).items()}


def test_transformers_loads_a_saved_folder_with_bit_identical_weights(folder, params):
    torch = pytest.importorskip("torch")
    model = pytest.importorskip("transformers").GPT2LMHeadModel.from_pretrained(folder)
    state = model.state_dict()
    for name, array in params.items():
        assert np.array_equal(state[f"transformer.{name}"].numpy(), array), name
    assert state["lm_head.weight"].data_ptr() == state["transformer.wte.weight"].data_ptr()
    assert model.config.n_head == CONFIG.n_head and model.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shard_size", ["1GB", "2KB"])
def test_a_folder_saved_by_transformers_loads_bit_for_bit(tmp_path, dtype, shard_size):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = transformers.GPT2Config(vocab_size=11, n_positions=7, n_embd=6, n_layer=2, n_head=3)
    model = transformers.GPT2LMHeadModel(sizes).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / INDEX).exists() == (shard_size == "2KB")
    config, loaded = load_weights(tmp_path)
    state = {name.removeprefix("transformer."): tensor.float().numpy() for name, tensor in model.state_dict().items()}
    del state["lm_head.weight"]
    assert config == CONFIG and same(loaded, state)


def test_a_saved_file_holds_exactly_the_parameters(folder, params):
    assert same(read_safetensors(folder / "model.safetensors"), params)
