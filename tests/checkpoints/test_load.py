"""Weights saved in any form load to bit-identical parameters, and missing files are named."""

import json
import os
from functools import partial

import numpy as np
import pytest
import tiktoken

from numpygpt.checkpoints.book import to_book
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint, load_weights
from numpygpt.checkpoints.safetensors import write_safetensors
from numpygpt.model.config import Config, config_json
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError, Note
from tests.checkpoints.writers import openai_names, write_openai, write_tensorflow, write_torch
from tests.tiny import save_tokenizer

CONFIG = Config(vocab_size=257, n_positions=7, n_embd=64, n_layer=2, n_head=1)
BYTES = tiktoken.Encoding(
    "bytes", pat_str=".", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={"<|endoftext|>": 256}
)

pytestmark = pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")


@pytest.fixture(scope="module")
def params():
    return random_parameters(CONFIG, seed=0)


def prefixed(params):
    masks = {
        f"transformer.h.{n}.attn.bias": np.tri(7, dtype=np.uint8).reshape(1, 1, 7, 7).astype(bool) for n in range(2)
    }
    tied = {"lm_head.weight": params["wte.weight"]}
    return {f"transformer.{name}": array for name, array in params.items()} | masks | tied


def shards(folder, params, write, pattern, index):
    names = list(params)
    files = {pattern.format(1): names[::2], pattern.format(2): names[1::2]}
    for file, held in files.items():
        write(folder / file, {name: params[name] for name in held})
    weight_map = {name: file for file, held in files.items() for name in held}
    (folder / index).write_text(json.dumps({"weight_map": weight_map}))


FORMS = {
    "safetensors": lambda folder, params: write_safetensors(folder / "model.safetensors", params),
    "safetensors, prefixed": lambda folder, params: write_safetensors(folder / "model.safetensors", prefixed(params)),
    "safetensors, the book's names": lambda folder, params: write_safetensors(
        folder / "model.safetensors", to_book(params, CONFIG)
    ),
    "safetensors, another name": lambda folder, params: write_safetensors(folder / "weights", params),
    "safetensors, sharded": lambda folder, params: shards(
        folder, params, write_safetensors, "model-0000{}-of-00002.safetensors", "model.safetensors.index.json"
    ),
    "bin": lambda folder, params: write_torch(folder / "pytorch_model.bin", prefixed(params)),
    "bin, older": lambda folder, params: write_torch(folder / "pytorch_model.bin", prefixed(params), legacy=True),
    "bin, sharded": lambda folder, params: shards(
        folder, params, write_torch, "pytorch_model-0000{}-of-00002.bin", "pytorch_model.bin.index.json"
    ),
    "the book's pth": lambda folder, params: write_torch(folder / "gpt2.pth", to_book(params, CONFIG)),
    "the book's pth, older": lambda folder, params: write_torch(
        folder / "gpt2.pth", to_book(params, CONFIG), legacy=True
    ),
    "a pth under another name": lambda folder, params: write_torch(folder / "model.safetensors", params),
    "OpenAI's": lambda folder, params: write_openai(folder, CONFIG, params),
    "OpenAI's, without hparams": lambda folder, params: write_tensorflow(folder / "m", openai_names(params)),
}


def same(loaded, params):
    assert loaded.keys() == params.keys()
    return all(
        loaded[name].dtype == np.float32 and np.array_equal(loaded[name].view(np.uint32), params[name].view(np.uint32))
        for name in params
    )


@pytest.mark.parametrize("described", [True, False], ids=["config.json", "sizes told"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_loads_to_the_same_bits(tmp_path, params, form, described):
    FORMS[form](tmp_path, params)
    if described:
        (tmp_path / "config.json").write_text(config_json(CONFIG))
    config, loaded = load_weights(tmp_path, heads=1)
    assert config == CONFIG and same(loaded, params)
    assert all(
        array.flags.c_contiguous and array.flags.aligned and not array.flags.writeable for array in loaded.values()
    )


@pytest.mark.parametrize("form", ["the book's pth", "safetensors, another name", "OpenAI's"])
def test_a_single_file_loads_like_its_folder(tmp_path, params, form):
    FORMS[form](tmp_path, params)
    file = next(
        path for path in tmp_path.iterdir() if path.suffix in (".pth", "", ".index") and path.name != "checkpoint"
    )
    config, loaded = load_weights(file, heads=1)
    assert config == CONFIG and same(loaded, params)


def test_a_config_beside_the_weights_takes_precedence_over_their_shapes(tmp_path, params):
    FORMS["the book's pth"](tmp_path, params)
    (tmp_path / "config.json").write_text(config_json(Config(257, 7, 64, 2, n_head=4)))
    assert load_weights(tmp_path / "gpt2.pth")[0].n_head == 4


def test_openais_sizes_are_read_from_its_hparams(tmp_path, params):
    write_openai(tmp_path, Config(257, 7, 64, 2, n_head=4), params)
    assert load_weights(tmp_path)[0] == Config(257, 7, 64, 2, n_head=4)


def hparams(**changes):
    return json.dumps({"n_vocab": 257, "n_ctx": 7, "n_embd": 64, "n_layer": 2, "n_head": 1} | changes)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "expected a JSON object"),
        (hparams(n_head=None), "expected positive whole numbers"),
        (hparams(n_head=True), "expected positive whole numbers"),
        (hparams(n_head=0), "expected positive whole numbers"),
        (hparams(n_head=3), "64 is not divisible by n_head 3"),
        (hparams(n_ctx=8), "n_positions is 8 in the configuration, but 7"),
    ],
)
def test_wrong_hparams_are_refused(tmp_path, params, text, complaint):
    write_openai(tmp_path, CONFIG, params)
    (tmp_path / "hparams.json").write_text(text)
    assert complaint in refusal(tmp_path)


def refusal(path, load=load_weights):
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_the_newest_of_several_tensorflow_checkpoints_is_loaded(tmp_path, params):
    write_openai(tmp_path, CONFIG, params)
    other = params | {"ln_f.bias": params["ln_f.bias"] + 1}
    write_tensorflow(tmp_path / "model-1000", openai_names(other))
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "model-1000"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    assert same(load_weights(tmp_path)[1], other)


def test_several_weight_files_are_refused_as_ambiguous(tmp_path, params):
    FORMS["the book's pth"](tmp_path, params)
    FORMS["safetensors, another name"](tmp_path, params)
    assert "several files have weights: gpt2.pth, weights; name the file" in refusal(tmp_path)


def test_safetensors_take_precedence_over_a_pickle(tmp_path, params):
    FORMS["bin"](tmp_path, {name: array + 1 for name, array in params.items()})
    FORMS["safetensors"](tmp_path, params)
    assert same(load_weights(tmp_path, heads=1)[1], params)


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(config_json(CONFIG))
    assert "the folder has no weights" in refusal(tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "unknown format; expected a safetensors file" in refusal(tmp_path / "notes.txt")


def test_an_index_that_names_itself_as_a_shard_is_refused(tmp_path, params):
    FORMS["safetensors, sharded"](tmp_path, params)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"wte.weight": index.name}}))
    assert "expected the name of a .safetensors or .bin file" in refusal(tmp_path)


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
@pytest.mark.parametrize("single", [True, False], ids=["file", "folder"])
def test_the_tokenizer_beside_the_weights_is_used(tmp_path, params, names, single):
    FORMS["the book's pth"](tmp_path, params)
    save_tokenizer(BYTES, tmp_path)
    for ours, name in zip(("vocab.json", "merges.txt"), names):
        os.replace(tmp_path / ours, tmp_path / name)
    config, loaded, encoding = load_checkpoint(tmp_path / "gpt2.pth" if single else tmp_path, heads=1)
    assert config == CONFIG and same(loaded, params) and encoding.encode_ordinary("hi") == [104, 105]


def test_without_a_tokenizer_only_gpt2s_vocabulary_size_selects_gpt2s(tmp_path, params, monkeypatch):
    FORMS["the book's pth"](tmp_path, params)
    assert "the folder has no tokenizer" in refusal(tmp_path, partial(load_checkpoint, heads=1))
    big = random_parameters(Config(n_positions=3, n_embd=64, n_layer=1, n_head=1), seed=0)
    write_torch(tmp_path / "gpt2.pth", big)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: {"gpt2": BYTES}[name])
    with pytest.warns(Note, match="there is no tokenizer, so GPT-2's own is used"):
        assert load_checkpoint(tmp_path, heads=1)[2] is BYTES


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"])
def test_gpt2s_tokenizer_never_replaces_another_described_one(tmp_path, name):
    big = random_parameters(Config(n_positions=3, n_embd=64, n_layer=1, n_head=1), seed=0)
    write_torch(tmp_path / "gpt2.pth", big)
    (tmp_path / name).write_text("{}")
    assert name in refusal(tmp_path, partial(load_checkpoint, heads=1))


def test_a_vocabulary_larger_than_the_embedding_is_refused(tmp_path, params):
    smaller = params | {"wte.weight": params["wte.weight"][:-1]}
    save_folder(tmp_path, Config(256, 7, 64, 2, 1), smaller, BYTES)
    assert "the tokenizer has 257 entries, but the model's embedding only 256" in refusal(tmp_path, load_checkpoint)


def test_an_unknown_model_name_lists_the_known_ones():
    with pytest.raises(InputError, match="nowhere: no such folder or file; the models .*mini"):
        load_checkpoint("nowhere")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_float_dtypes_load_with_their_values(tmp_path, params, dtype):
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array).to(getattr(torch, dtype)) for name, array in params.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert same(load_weights(tmp_path, heads=1)[1], {name: tensor.float().numpy() for name, tensor in state.items()})


@pytest.mark.oracle_124m
def test_gpt2_loads_bit_for_bit_from_every_librarys_files(tmp_path):
    """Compare transformers' safetensors, sharded safetensors and .bin, OpenAI's layout, and the book's names in both
    PyTorch formats."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    params = {name.removeprefix("transformer."): tensor.numpy() for name, tensor in model.state_dict().items()}
    del params["lm_head.weight"]
    folders = [tmp_path / name for name in ("whole", "sharded", "zip", "legacy", "openai", "book")]
    for folder in folders:
        folder.mkdir()
    whole, sharded, zipped, legacy, openai, book = folders
    model.save_pretrained(whole)
    model.save_pretrained(sharded, max_shard_size="200MB")
    torch.save(model.state_dict(), zipped / "pytorch_model.bin")
    torch.save(model.state_dict(), legacy / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    write_openai(openai, Config(), params)
    torch.save({name: torch.tensor(array) for name, array in to_book(params, Config()).items()}, book / "gpt2.pth")
    for folder in folders:
        config, loaded = load_weights(folder)
        assert config == Config() and same(loaded, params), folder.name
