"""What is exported gives our logits: in transformers, and in a model with the book's names."""

import json
from dataclasses import replace

import numpy as np
import pytest

from numpygpt import export
from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.checkpoints.exported import bias_before
from numpygpt.checkpoints.names import from_book
from numpygpt.checkpoints.safetensors import open_safetensors
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError
from numpygpt.text.bpe import learn_bpe

TEXTS = [f"Message {n}: call {'me ' * (n % 7)}now! £{n * 37} or naïve 😀 prize" for n in range(200)]
TEXTS += ["a literal <|endoftext|> or <|pad|>", "<|endoftext|>", "much too long " * 50, "ÿ"]


def make_run(labels, padded_length, **changes):
    encoding = learn_bpe(TEXTS, 300)
    config = Config(encoding.n_vocab, 64, 24, 2, 3)
    rng = np.random.default_rng(labels)
    params = {
        name: a + 0.3 * rng.standard_normal(a.shape, np.float32) for name, a in random_parameters(config, 1).items()
    }
    params |= {
        "head.weight": rng.standard_normal((24, labels), np.float32),
        "head.bias": rng.standard_normal(labels, np.float32),
    }
    names = [f"label {n}" for n in range(labels)]
    clf = Classifier(GPT(config, params, encoding, "a test"), names, "head", pad=padded_length, **changes)
    clf.params |= params
    return clf


def our_logits(run):
    return run.logits(TEXTS)


def exported(run, folder, monkeypatch, *options):
    monkeypatch.setattr(export, "load_run", lambda path: run)
    export.main(["a run", str(folder), *options])
    return folder


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("padded_length", [None, "end", 50])
@pytest.mark.parametrize("position", ["last", "mean"])
def test_the_lines_that_export_prints_give_our_logits_and_labels_in_transformers(
    labels, padded_length, position, tmp_path, monkeypatch, capsys
):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("transformers")
    run = make_run(labels, padded_length, position=position)
    exported(run, tmp_path / "out", monkeypatch)
    said = capsys.readouterr().out.splitlines()[1:]
    names = {"texts": TEXTS}
    with torch.no_grad():
        exec("\n".join(line.strip() for line in said), names)
    assert list(names["model"].config.id2label.values()) == run.labels
    np.testing.assert_allclose(names["logits"].numpy(), our_logits(run), atol=1e-4, rtol=0)


def test_the_books_names_hold_the_whole_classifier(tmp_path, monkeypatch):
    run = make_run(3, None, position="last")
    tensors = open_safetensors(exported(run, tmp_path / "out", monkeypatch, "--book") / "book.safetensors")
    assert tensors["trf_blocks.1.att.mask"].shape == (64, 64)
    np.testing.assert_array_equal(tensors.pop("out_head.weight").read().T, run.params["head.weight"])
    np.testing.assert_array_equal(tensors.pop("out_head.bias").read(), run.params["head.bias"])
    ours = from_book(tensors, "book.safetensors")
    for name in ours:
        np.testing.assert_array_equal(ours[name].read(), run.params[name])
    assert ours.keys() == {name for name in run.params if not name.startswith("head.")}


def test_folding_the_heads_bias_into_its_input_changes_no_logit():
    rng = np.random.default_rng(3)
    weight, bias, x = rng.standard_normal((24, 5)), rng.standard_normal(5), rng.standard_normal((4, 24))
    np.testing.assert_allclose((x + bias_before(weight, bias)) @ weight, x @ weight + bias, rtol=1e-6)
    with pytest.raises(InputError, match="linearly dependent"):
        bias_before(np.repeat(weight[:, :1], 5, axis=1), bias)


@pytest.mark.parametrize(
    "options, changes",
    [
        ([], {"position": "first"}),
        ([], {"position": "last", "causal": False}),
        ([], {"position": "mean", "causal": False}),
        (["--book"], {"position": "first"}),
        (["--book"], {"position": "mean"}),
        (["--book"], {"position": "last", "causal": False}),
    ],
)
def test_a_classifier_that_the_other_model_cannot_express_is_refused(options, changes, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--position"):
        exported(make_run(2, None, **changes), tmp_path / "out", monkeypatch, *options)
    assert not (tmp_path / "out").exists()


def test_the_books_model_has_one_epsilon_and_transformers_any(tmp_path, monkeypatch):
    run = make_run(2, None, position="last")
    run.config = replace(run.config, layer_norm_epsilon=1e-6)
    with pytest.raises(InputError, match="epsilon 1e-05, but this classifier uses 1e-06"):
        exported(run, tmp_path / "out", monkeypatch, "--book")
    assert not (tmp_path / "out").exists()
    folder = exported(run, tmp_path / "out", monkeypatch)
    assert json.loads((folder / "config.json").read_text())["layer_norm_epsilon"] == 1e-6


def test_an_existing_folder_is_left_alone(tmp_path):
    with pytest.raises(InputError, match="exists"):
        export.main(["a run", str(tmp_path)])
