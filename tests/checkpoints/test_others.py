"""Checkpoints of other projects: heads, wrappers, nanoGPT, shards, parent folders, and files of other kinds."""

import gzip
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from numpygpt.api.gpt import load
from numpygpt.api.run import load_run
from numpygpt.checkpoints.book import to_book
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint, load_weights, open_checkpoint
from numpygpt.checkpoints.safetensors import write_safetensors
from numpygpt.model.config import Config, config_json
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError, Note
from tests.checkpoints.test_load import BYTES, CONFIG, refusal, same, shards
from tests.checkpoints.writers import write_torch
from tests.tiny import save_tokenizer

ONES = np.ones
pytestmark = pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")


@pytest.fixture(scope="module")
def params():
    return random_parameters(CONFIG, seed=0)


def prefixed(params, prefix="transformer."):
    return {f"{prefix}{name}": array for name, array in params.items()}


def notes_of(load, *arguments, **named):
    """Call `load` and return (its result, the texts of its Notes)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load(*arguments, **named)
    return found, [str(warning.message) for warning in caught if warning.category is Note]


HEADS = {
    "a text classifier": {"score.weight": ONES((3, 64), np.float32)},
    "a token classifier": {"classifier.weight": ONES((2, 64), np.float32), "classifier.bias": ONES(2, np.float32)},
    "a question-answering model": {
        "qa_outputs.weight": ONES((2, 64), np.float32),
        "qa_outputs.bias": ONES(2, np.float32),
    },
    "a model with a multiple-choice head": {"multiple_choice_head.summary.weight": ONES((1, 64), np.float32)},
    "a model with a value head": {"v_head.summary.weight": ONES((1, 64), np.float32)},
}


@pytest.mark.parametrize("kind", HEADS)
def test_another_models_head_is_skipped_with_a_note(tmp_path, params, kind):
    (tmp_path / "config.json").write_text(config_json(CONFIG))
    write_safetensors(tmp_path / "model.safetensors", prefixed(params) | HEADS[kind])
    (config, loaded), notes = notes_of(load_weights, tmp_path)
    assert config == CONFIG and same(loaded, params)
    assert notes == [f"{tmp_path}/model.safetensors: {kind}; its head ({', '.join(HEADS[kind])}) is set aside"]
    assert open_checkpoint(tmp_path).head.keys() == HEADS[kind].keys()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_the_books_classifier_loads_as_a_model_without_its_head(tmp_path, params, legacy, bias):
    head = {"out_head.weight": ONES((2, 64), np.float32)} | ({"out_head.bias": ONES(2, np.float32)} if bias else {})
    write_torch(tmp_path / "review_classifier.pth", to_book(params, CONFIG) | head, legacy)
    (_, loaded), notes = notes_of(load_weights, tmp_path, heads=1)
    assert same(loaded, params)
    assert f"the book's classifier; its head ({', '.join(head)}) is set aside" in notes[-1]


def test_a_separate_output_layer_is_skipped_for_fine_tuning_and_refused_for_prediction(tmp_path, params):
    """After further training, the book's out_head differs from its tok_emb."""
    own = {"out_head.weight": params["wte.weight"] + np.float32(1)}
    write_torch(tmp_path / "model.pth", to_book(params, CONFIG) | own)
    save_tokenizer(BYTES, tmp_path)
    gpt, notes = notes_of(load, str(tmp_path), heads=1)
    assert same(gpt.params, params) and not gpt.tied
    assert "a language model with an output layer of its own; its head (lm_head.weight) is set aside" in notes[-1]
    assert gpt.features(["abc"]).shape == (1, 192)
    for use in (gpt.logits, gpt.generate, gpt.trace):
        with pytest.raises(InputError, match="its output layer differs from its token embedding"):
            use("abc")
    assert load(str(tmp_path), "random", heads=1).tied
    with pytest.raises(InputError, match="lm_head.weight, differs from the token embedding, wte.weight"):
        load_checkpoint(tmp_path, heads=1)


def test_an_unknown_tensor_that_is_no_head_is_refused(tmp_path, params):
    write_safetensors(tmp_path / "x.safetensors", params | {"scores.weight": ONES((2, 64), np.float32)})
    with pytest.raises(InputError, match="'scores.weight' is not a parameter of GPT-2"):
        load_weights(tmp_path, heads=1)


def test_the_number_of_heads_is_required_reported_and_checked(tmp_path, params):
    write_torch(tmp_path / "gpt2.pth", params)
    assert "its width, 64, is none of GPT-2's; give --heads N" in refusal(tmp_path)
    (config, _), notes = notes_of(load_weights, tmp_path, heads=4)
    [note] = notes
    assert config.n_head == 4 and "gpt2.pth: the shapes tell the sizes; heads: 4, each of 16 columns" in note
    (tmp_path / "config.json").write_text(config_json(CONFIG))
    with pytest.raises(InputError, match="the number of heads is 1, not 4"):
        load_weights(tmp_path, heads=4)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",
        "module.",
        "module._orig_mod.transformer.",
        "model.transformer.",
        "net.gpt2.",
        "_fsdp_wrapped_module.",
    ],
)
def test_prefixes_of_wrappers_are_dropped(tmp_path, params, prefix):
    write_torch(tmp_path / "gpt2.pth", prefixed(params, prefix))
    assert same(load_weights(tmp_path, heads=1)[1], params)
    compiled = {name.replace("h.0.", "h.0._orig_mod."): array for name, array in params.items()}
    write_torch(tmp_path / "gpt2.pth", compiled)
    assert same(load_weights(tmp_path, heads=1)[1], params)
    for more, what in [
        (["ln_f.bias", "x.bias"], "ln_f.bias"),
        (["wte.weight"], "an embedding"),
        (["b.wte.weight"], "an"),
    ]:
        beside = {name: next(iter(params.values())) for name in more}
        write_torch(tmp_path / "gpt2.pth", prefixed(params, "a.") | beside)
        assert f"gpt2.pth: {what}" in refusal(tmp_path) and "occurs twice, with and without a pr" in refusal(tmp_path)


def test_the_layers_around_a_gpt2_are_skipped_with_a_note(tmp_path, params):
    """Many classifiers are a module with a GPT2Model in it and a linear layer of its own."""
    write_torch(tmp_path / "gpt2.pth", prefixed(params, "gpt2.") | {"fc.weight": ONES((2, 64), np.float32)})
    (_, loaded), notes = notes_of(load_weights, tmp_path, heads=1)
    assert same(loaded, params) and "a model with a GPT-2 in it; its head (fc.weight) is set aside" in notes[-1]


def test_prefixes_of_wrappers_are_dropped_from_the_books_model(tmp_path, params):
    write_torch(tmp_path / "gpt2.pth", prefixed(to_book(params, CONFIG), "_orig_mod."))
    assert same(load_weights(tmp_path, heads=1)[1], params)


def transposed(params, bias=True):
    """Return parameters as nanoGPT and minGPT store them: torch.nn.Linear has weights [out, in]."""
    return {
        name: np.ascontiguousarray(array.T) if ".c_" in name and array.ndim == 2 else array
        for name, array in params.items()
        if bias or not name.endswith(".bias")
    }


@pytest.mark.parametrize("bias", [True, False])
def test_matrices_of_torch_linear_are_transposed_and_missing_biases_become_zero(tmp_path, params, bias):
    write_torch(tmp_path / "ckpt.pt", prefixed(transposed(params, bias)))
    loaded = load_weights(tmp_path, heads=1)[1]
    expected = {name: array if bias or not name.endswith(".bias") else 0 * array for name, array in params.items()}
    assert same(loaded, expected)
    assert all(array.flags.c_contiguous and not array.flags.writeable for array in loaded.values())


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_shards_without_an_index_are_combined(tmp_path, params, form):
    write = write_safetensors if form == "safetensors" else write_torch
    shards(tmp_path, params, write, f"model-0000{{}}-of-00002.{form}", "index.json")
    (tmp_path / "index.json").unlink()
    first, second = (tmp_path / f"model-0000{n}-of-00002.{form}" for n in (1, 2))
    for source in (tmp_path, first, second):
        assert same(load_weights(source, heads=1)[1], params)
    held = second.read_bytes()
    second.write_bytes(first.read_bytes())
    assert "is in another shard, too" in refusal(tmp_path)
    second.write_bytes(held[:-3])
    assert second.name in refusal(tmp_path)
    second.unlink()
    assert f"its shard {second.name} is missing in the folder" in refusal(tmp_path)


def test_a_folder_of_checkpoints_is_refused_with_the_one_to_use(tmp_path, params):
    for step in (500, 1000, 90):
        save_folder(tmp_path / f"checkpoint-{step}", CONFIG, params)
    assert f"the parent of 3 checkpoints (take {tmp_path}/checkpoint-1000), not a model" in refusal(tmp_path)
    state = {"best_model_checkpoint": "elsewhere/out/checkpoint-500"}
    (tmp_path / "checkpoint-1000" / "trainer_state.json").write_text(json.dumps(state))
    assert f"take {tmp_path}/checkpoint-500" in refusal(tmp_path)
    with pytest.raises(InputError, match="not a finished run but the parent of 3 runs .take .*checkpoint-500"):
        load_run(tmp_path)
    save_folder(tmp_path / "single" / "model", CONFIG, params)
    assert "the parent of 1 checkpoint (take" in refusal(tmp_path / "single")


def test_the_working_folder_is_refused_like_any_other_parent(tmp_path, params, monkeypatch):
    save_folder(tmp_path / "model", CONFIG, params)
    monkeypatch.chdir(tmp_path)
    assert "the parent of 1 checkpoint (take model), not a model" in refusal(Path("."))


def test_a_hub_cache_folder_is_refused_with_its_main_snapshot(tmp_path, params):
    model = tmp_path / "models--openai-community--gpt2"
    for commit in ("aaa", "fff"):
        save_folder(model / "snapshots" / commit, CONFIG, params)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("aaa")
    for folder in (model, tmp_path):
        assert f"take {model}/snapshots/aaa" in refusal(folder)
    os.symlink(model / "snapshots" / "aaa" / "model.safetensors", tmp_path / "link.safetensors")
    assert same(load_weights(tmp_path / "link.safetensors", heads=1)[1], params)


def test_a_run_folder_is_recognised(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    write_safetensors(tmp_path / "trained.safetensors", {"head.weight": ONES((2, 2), np.float32)})
    assert "a run of numpygpt.train, not a model; export it first: python -m numpygpt.export" in refusal(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"head.weight": ONES((2, 2), np.float32)})
    assert "a run of numpygpt.train, not a model" in refusal(tmp_path)


FILES = {
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "a Git LFS pointer",
    "<!DOCTYPE html><html>Sign in</html>": "a web page",
    b"GGUF\3\0\0\0": "a GGUF file",
    b"\x89HDF\r\n\x1a\n": "Keras weights in HDF5",
    b"\x93NUMPY\1\0": "a single NumPy array",
    gzip.compress(b"weights"): "compressed with gzip",
    b"\x80\x04}\x94.": "a pickle, but not one from torch.save",
    b"": "empty",
    '{"a": 1}': "a JSON file, not weights",
    b"\0" * 257 + b"ustar": "a tar archive",
}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "weights"])
@pytest.mark.parametrize("content", FILES, ids=FILES.values())
def test_a_file_of_another_kind_is_refused_with_its_kind(tmp_path, content, name):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    assert f"{tmp_path / name}: {FILES[content]}" in refusal(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "other")
    if FILES[content] != "a JSON file, not weights":  # any folder may have one
        assert f"it has no weights that numpygpt reads. other is {FILES[content]}" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("flax_model.msgpack", "Flax weights"),
        ("model.onnx", "an ONNX model"),
        ("__0_0.distcp", "a part of a checkpoint of torch.distributed; join the parts"),
        ("model.ckpt.meta", "a TensorFlow graph; name the file that ends in .index"),
        ("model.ckpt.data-00000-of-00001", "a TensorFlow checkpoint's data; name the file that ends in .index"),
    ],
)
def test_a_file_without_a_signature_is_named_by_its_suffix(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"PK\3\4 some bytes" if "distcp" in name else b"\x08\x01 some bytes")
    assert f"{name}: {kind}" in refusal(tmp_path / name)


# Files written by the real libraries


def transformers_model(name, **sizes):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(vocab_size=257, n_positions=7, n_embd=8, n_layer=2, n_head=2) | sizes
    return getattr(transformers, name)(transformers.GPT2Config(**sizes))


@pytest.mark.parametrize(
    "name",
    "ForSequenceClassification ForTokenClassification ForQuestionAnswering DoubleHeadsModel LMHeadModel Model".split(),
)
def test_every_gpt2_class_of_transformers_loads(tmp_path, name):
    model = transformers_model(f"GPT2{name}", num_labels=1 if name == "DoubleHeadsModel" else 3)
    model.save_pretrained(tmp_path)
    (config, loaded), notes = notes_of(load_weights, tmp_path)
    state = {key.removeprefix("transformer."): tensor.numpy() for key, tensor in model.state_dict().items()}
    assert config.n_head == 2 and same(loaded, {key: state[key] for key in loaded})
    assert len(loaded) == 2 + 12 * 2 + 2 and len(notes) == (name not in ("LMHeadModel", "Model"))


class NanoGPT:
    """The modules and checkpoint of karpathy/nanoGPT's model.py and train.py, with their names and shapes."""

    def __init__(self, bias):
        torch = pytest.importorskip("torch")
        nn = torch.nn
        torch.manual_seed(0)
        D, V, T = 8, 50304, 6

        def norm():
            layer = nn.LayerNorm(D, bias=bias)
            torch.nn.init.normal_(layer.weight)
            return layer

        def block():
            attn = nn.ModuleDict({"c_attn": nn.Linear(D, 3 * D, bias=bias), "c_proj": nn.Linear(D, D, bias=bias)})
            mlp = nn.ModuleDict({"c_fc": nn.Linear(D, 4 * D, bias=bias), "c_proj": nn.Linear(4 * D, D, bias=bias)})
            return nn.ModuleDict({"ln_1": norm(), "attn": attn, "ln_2": norm(), "mlp": mlp})

        blocks = nn.ModuleList([block(), block()])
        parts = {"wte": nn.Embedding(V, D), "wpe": nn.Embedding(T, D), "h": blocks, "ln_f": norm()}
        self.model = nn.ModuleDict({"transformer": nn.ModuleDict(parts), "lm_head": nn.Linear(D, V, bias=False)})
        self.model["transformer"]["wte"].weight = self.model["lm_head"].weight
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.logits(torch.tensor([[1, 2]])).sum().backward()
        optimizer.step()
        self.saved = {
            "model": {f"_orig_mod.{name}": tensor for name, tensor in self.model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
            "model_args": dict(n_layer=2, n_head=2, n_embd=D, block_size=T, bias=bias, vocab_size=V, dropout=0.0),
            "iter_num": 2000,
            "best_val_loss": torch.tensor(1.5),
            "config": {"out_dir": "out", "learning_rate": 6e-4, "compile": True, "betas": (0.9, None)},
        }

    def logits(self, ids):
        import torch
        from torch.nn import functional as F

        parts = self.model["transformer"]
        x = parts["wte"](ids) + parts["wpe"](torch.arange(ids.shape[1]))
        for block in parts["h"]:
            q, k, v = block["attn"]["c_attn"](block["ln_1"](x)).split(8, dim=2)
            q, k, v = (part.view(*ids.shape, 2, 4).transpose(1, 2) for part in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
            x = x + block["attn"]["c_proj"](y)
            x = x + block["mlp"]["c_proj"](F.gelu(block["mlp"]["c_fc"](block["ln_2"](x))))
        return self.model["lm_head"](parts["ln_f"](x))


@pytest.mark.parametrize("bias", [True, False])
def test_nanogpts_checkpoint_gives_its_logits_except_for_its_gelu(tmp_path, bias, monkeypatch):
    torch = pytest.importorskip("torch")
    nano = NanoGPT(bias)
    torch.save(nano.saved, tmp_path / "ckpt.pt")
    monkeypatch.setattr("tiktoken.get_encoding", lambda name: BYTES)
    (config, loaded, encoding), notes = notes_of(load_checkpoint, tmp_path)
    assert config == Config(50304, 6, 8, 2, 2) and encoding is BYTES
    assert "nanoGPT, which computes GELU with erf" in notes[0] and "GPT-2's own is used" in notes[1]
    from numpygpt.model.language import language_logits
    from numpygpt.model.tape import Tape

    ids = np.array([3, 1, 4, 1, 5])
    with torch.no_grad():
        expected = nano.logits(torch.tensor(ids[None]))[0].numpy()
    np.testing.assert_allclose(language_logits(Tape(loaded), ids, np.array([5]), config), expected, atol=5e-3)


@pytest.mark.parametrize("args", [None, {}, {"n_layer": "2"}])
def test_wrong_model_args_are_refused(tmp_path, args):
    torch = pytest.importorskip("torch")
    saved = NanoGPT(True).saved
    torch.save(saved | {"model_args": args}, tmp_path / "ckpt.pt")
    assert "ckpt.pt, model_args: expected positive whole numbers for vocab_size" in refusal(tmp_path / "ckpt.pt")


def test_a_pickled_model_is_refused_and_never_executed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(transformers_model("GPT2Model"), tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert "GPT2Model" in message and "save only model.state_dict()" in message


def test_checkpoints_of_torch_compile_and_data_parallel_load(tmp_path):
    torch = pytest.importorskip("torch")
    model = transformers_model("GPT2Model")
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        torch.save(wrapped.state_dict(), tmp_path / "model.pt")
        assert same(load_weights(tmp_path, heads=2)[1], {k: t.numpy() for k, t in model.state_dict().items()})
