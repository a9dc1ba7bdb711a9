"""Exported classifiers give our logits in transformers, in ONNX and in the book's model."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from numpygpt import export
from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.api.run import load_run
from numpygpt.checkpoints.exported import bias_before
from numpygpt.checkpoints.names import from_book
from numpygpt.checkpoints.safetensors import open_safetensors, read_safetensors, write_safetensors
from numpygpt.model.config import Config, config_json
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError, Note
from numpygpt.text.bpe import learn_bpe
from numpygpt.text.tokenizer import load_tokenizer, vocabulary_of
from numpygpt.text.tokenizer_json import tokenizer_json
from numpygpt.text.vocabulary import Added
from tests.tiny import save_tokenizer

TEXTS = [f"Message {n}: call {'me ' * (n % 7)}now! £{n * 37} or naïve 😀 prize" for n in range(200)]
TEXTS += ["a literal <|endoftext|> or <|pad|>", "<|endoftext|>", "much too long " * 50, "ÿ"]
SOME = TEXTS[::9] + TEXTS[-4:]


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


def exported(run, folder, monkeypatch, *options):
    monkeypatch.setattr("numpygpt.commands.export.load_run", lambda path: run)
    export.main(["a run", str(folder), *options])
    return folder


READINGS = [  # --pad, --position, --no-causal
    (padded_length, dict(position=position, causal=causal))
    for padded_length in (None, "end", 50)
    for position in ("last", "mean", "first")
    for causal in (True, False)
    if causal or position != "last"
]


@pytest.mark.parametrize(
    "padded_length, changes",
    [pytest.param(*reading, marks=[] if n in (0, 8, 11) else pytest.mark.slow) for n, reading in enumerate(READINGS)],
)
def test_the_code_printed_by_export_gives_our_logits_and_labels_in_a_pipeline(
    padded_length, changes, tmp_path, monkeypatch, capsys
):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("transformers")
    run = make_run(2 if padded_length else 5, padded_length, **changes)
    exported(run, tmp_path / "out", monkeypatch)
    said = capsys.readouterr().out.splitlines()[1:4]
    names = {}
    exec("\n".join(line.strip() for line in said), names)
    assert list(names["classify"].model.config.id2label.values()) == run.labels
    expected = run.logits(SOME)
    for texts, wanted, batch in ((SOME, expected, 7), (SOME[-4:], expected[-4:], 1)):
        answers = names["classify"](texts, batch_size=batch, top_k=None, function_to_apply="none")
        found = [{each["label"]: each["score"] for each in answer} for answer in answers]
        np.testing.assert_allclose([[each[label] for label in run.labels] for each in found], wanted, atol=1e-4, rtol=0)
    [answer] = names["classify"]([TEXTS[0]])
    assert answer["label"] == run.predict([TEXTS[0]])["label"][0]
    with torch.no_grad():  # with padding on the left, and a loss
        ids = torch.tensor([[9, 9, 5, 6], [9, 5, 6, 7]])
        model, mask = names["classify"].model, torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
        if "trust_remote_code" in said[1]:
            left = model(ids, attention_mask=mask, labels=torch.tensor([0, 1]))
            right = model(ids[:1, 2:])
            np.testing.assert_allclose(left.logits[0], right.logits[0], atol=1e-5)
            assert left.loss > 0


def test_transformers_refuses_our_pooling_without_its_code(tmp_path, monkeypatch):
    """transformers would answer with a random head if it read the folder as a GPT-2."""
    transformers = pytest.importorskip("transformers")
    folder = exported(make_run(2, None, position="mean"), tmp_path / "out", monkeypatch)
    for load in (
        lambda: transformers.pipeline("text-classification", model=str(folder), trust_remote_code=False),
        lambda: transformers.AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False),
    ):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            load()


def test_pooling_the_last_token_needs_no_code_of_ours(tmp_path, monkeypatch):
    folder = exported(make_run(2, None, position="last"), tmp_path / "out", monkeypatch)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["GPT2ForSequenceClassification"]
    assert not list(folder.glob("*.py"))


@pytest.mark.parametrize("padded_length, changes", READINGS)
def test_an_exported_folder_loads_as_the_same_classifier(padded_length, changes, tmp_path, monkeypatch):
    run = make_run(3, padded_length, **changes)
    again = load_run(exported(run, tmp_path / "out", monkeypatch))
    assert (again.labels, again.pad_to, again.pooling) == (run.labels, run.pad_to, run.pooling)
    exact = 1e-4 if (padded_length, changes["position"]) == (None, "last") else 0  # folding the bias rounds
    np.testing.assert_allclose(again.logits(SOME), run.logits(SOME), atol=exact, rtol=0)
    again.save(tmp_path / "run")
    with pytest.warns(Note, match="its head .* is set aside"):
        saved = load_run(tmp_path / "run")
    np.testing.assert_array_equal(saved.logits(SOME), again.logits(SOME))


@pytest.mark.parametrize("position, pad", [("last", None), ("mean", "end")])
def test_an_export_keeps_added_tokens_and_reads_special_ones_as_text(position, pad, tmp_path, monkeypatch, capsys):
    vocab, merges, added = vocabulary_of(learn_bpe(TEXTS, 300))
    added |= {"[PAD]": Added(300), "<user>": Added(301, special=False)}
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(vocab, merges, added))
    run = make_run(2, pad, position=position)
    wide = np.random.default_rng(0).standard_normal((302, 24), np.float32)
    config = replace(run.config, vocab_size=302)
    gpt = GPT(config, {**run.gpt.params, "wte.weight": wide}, load_tokenizer(tmp_path), "a test")
    clf = Classifier(gpt, run.labels, "head", pad=pad, position=position)
    folder = exported(clf, tmp_path / "out", monkeypatch)
    texts = ["call <user>now", "[PAD] and <|endoftext|>", "<user><user>", "hello"]
    np.testing.assert_allclose(load_run(folder).logits(texts), clf.logits(texts), atol=1e-4)
    pytest.importorskip("torch"), pytest.importorskip("transformers")
    names = {}
    exec("\n".join(line.strip() for line in capsys.readouterr().out.splitlines()[1:4]), names)
    answers = names["classify"](texts, top_k=None, function_to_apply="none", batch_size=2)
    found = [{each["label"]: each["score"] for each in answer} for answer in answers]
    np.testing.assert_allclose([[each[label] for label in run.labels] for each in found], clf.logits(texts), atol=1e-4)


def as_before(folder, run, architecture, **tokenizer):
    """Write an export as the previous version did: without code, and with the settings in the tokenizer's files."""
    tensors = {f"transformer.{name}": array for name, array in run.params.items() if not name.startswith("head.")}
    head = {"weight": np.ascontiguousarray(run.params["head.weight"].T), "bias": run.params["head.bias"]}
    if architecture == "GPT2ForTokenClassification":
        tensors |= {f"classifier.{kind}": array for kind, array in head.items()}
    else:
        tensors["score.weight"] = head["weight"]
    config = json.loads(config_json(run.config)) | {"architectures": [architecture]}
    config["id2label"] = dict(enumerate(run.labels))
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"split_special_tokens": True, **tokenizer}))
    save_tokenizer(run.encoding, folder)
    return folder


@pytest.mark.parametrize(
    "architecture, position, padded_length, tokenizer",
    [
        ("GPT2ForTokenClassification", "mean", None, {}),
        ("GPT2ForSequenceClassification", "last", None, {}),
        ("GPT2ForTokenClassification", "mean", 50, {"model_input_names": ["input_ids"], "model_max_length": 50}),
        ("GPT2ForSequenceClassification", "last", 50, {"model_input_names": ["input_ids"], "model_max_length": 50}),
    ],
)
def test_an_older_export_loads_as_the_same_classifier(architecture, position, padded_length, tokenizer, tmp_path):
    run = make_run(2, padded_length, position=position)
    if position == "last":
        run.params["head.bias"] = np.zeros(2, np.float32)
    again = load_run(as_before(tmp_path / "out", run, architecture, **tokenizer))
    assert (again.labels, again.pad_to, again.pooling) == (run.labels, run.pad_to, run.pooling)
    np.testing.assert_array_equal(again.logits(TEXTS), run.logits(TEXTS))


def test_an_older_export_with_an_end_token_is_recognised_by_its_template(tmp_path):
    run = make_run(2, "end", position="mean")
    folder = as_before(tmp_path / "out", run, "GPT2ForTokenClassification")
    end = run.encoding.eot_token
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    vocab, merges, added = vocabulary_of(run.encoding)
    (folder / "tokenizer.json").write_text(tokenizer_json(vocab, merges, added, ((), (end,))))
    again = load_run(folder)
    assert again.pad_to == "end"
    np.testing.assert_array_equal(again.logits(TEXTS), run.logits(TEXTS))


def entry(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def head(**changes):
    def damage(folder):
        tensors = read_safetensors(folder / "model.safetensors") | changes
        (folder / "model.safetensors").unlink()
        write_safetensors(folder / "model.safetensors", tensors)

    return damage


@pytest.mark.parametrize(
    "damage, message",
    [
        (entry(position="middle"), "expected position, causal and padding as numpygpt.export writes them"),
        (entry(causal=1), "expected position, causal and padding as numpygpt.export writes them"),
        (entry(padding=True), "expected position, causal and padding as numpygpt.export writes them"),
        (entry(padding=65), "cannot pad to '65'"),
        (entry(id2label={"0": "ham"}), "id2label must name the labels 0 to 1"),
        (entry(id2label=[1, 2]), "id2label must name the labels 0 to 1"),
        (entry(id2label={"0": "ham", "1": "ham"}), "expected at least two names, all different"),
        (entry(model_type="gpt2"), "a text classifier with score.weight, score.bias; .* only GPT2ForSequenceCl"),
        (entry(n_layer=3), "n_layer is 3 in the configuration, but 2 in the weights"),
        (head(**{"score.weight": np.ones((1, 24), np.float32)}), "the head has float32 of shape .1, 24., exp"),
        (head(**{"score.weight": np.ones((2, 23), np.float32)}), "the head has float32 of shape .2, 23., exp"),
        (head(**{"score.bias": np.ones(3, np.float32)}), "the head has float32 of shape .3,., expected floats"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(damage, message, tmp_path, monkeypatch):
    folder = exported(make_run(2, None, position="mean"), tmp_path / "out", monkeypatch)
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("padded_length, changes", READINGS)
def test_the_onnx_file_gives_our_logits_at_every_length(padded_length, changes, tmp_path, monkeypatch, capsys):
    onnxruntime, tokenizers = (pytest.importorskip(name) for name in ("onnxruntime", "tokenizers"))
    pytest.importorskip("onnx")
    run = make_run(2 if padded_length else 5, padded_length, **changes)
    folder = exported(run, tmp_path / "out", monkeypatch, "--onnx")
    assert sorted(path.name for path in folder.iterdir()) == ["labels.json", "model.onnx", "tokenizer.json"]
    assert json.loads((folder / "labels.json").read_text()) == run.labels
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == run.labels
    names = {}
    exec("\n".join(line.strip() for line in capsys.readouterr().out.splitlines()[1:]), names)
    assert names["answers"] == run.predict(["You have won a prize", "Home at six?"])["label"].tolist()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for texts in (SOME[:1], SOME[:7], SOME[-4:], SOME):  # lengths from 1 to beyond the context
        tokenizer.enable_padding(pad_id=7)
        rows = tokenizer.encode_batch(texts)
        inputs = {"input_ids": [row.ids for row in rows], "attention_mask": [row.attention_mask for row in rows]}
        [logits] = session.run(None, {name: np.array(value) for name, value in inputs.items()})
        np.testing.assert_allclose(logits, run.logits(texts), atol=1e-5, rtol=1e-5)


def test_an_onnx_export_without_the_package_or_too_large_is_refused_before_writing(tmp_path, monkeypatch):
    run = make_run(2, None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"--onnx needs the package onnx: pip install 'numpygpt\[onnx\]'"):
        exported(run, tmp_path / "out", monkeypatch, "--onnx")
    monkeypatch.undo()
    pytest.importorskip("onnx")
    run.params["wte.weight"] = np.broadcast_to(np.float32(0), (2**28, 4))
    with pytest.raises(InputError, match="the model has 4.3 GB, but one ONNX file holds at most 2.1 GB"):
        exported(run, tmp_path / "out", monkeypatch, "--onnx")
    assert not (tmp_path / "out").exists()


def transformers_own(folder, name="GPT2ForSequenceClassification", **config):
    """Save a classifier with transformers, with a pad token added to the tokenizer."""
    transformers = pytest.importorskip("transformers")
    save_tokenizer(learn_bpe(TEXTS, 300), folder)
    tokenizer = transformers.GPT2Tokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    sizes = dict(vocab_size=len(tokenizer), n_positions=64, n_embd=24, n_layer=2, n_head=3, pad_token_id=300)
    model = getattr(transformers, name)(transformers.GPT2Config(**sizes | config)).eval()
    for path in (folder / "vocab.json", folder / "merges.txt"):
        path.unlink()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)


def test_a_classifier_of_transformers_answers_like_its_pipeline(tmp_path):
    pytest.importorskip("torch").manual_seed(0)
    theirs = transformers_own(tmp_path, id2label={0: "no", 1: "yes", 2: "perhaps"})
    ours, texts = load_run(tmp_path), [text for text in SOME if "<|" not in text]
    answers = theirs(texts, top_k=None, function_to_apply="none", truncation=True, max_length=64)
    expected = [
        [{each["label"]: each["score"] for each in answer}[label] for label in ours.labels] for answer in answers
    ]
    assert ours.labels == ["no", "yes", "perhaps"]
    np.testing.assert_allclose(ours.logits(texts), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["tokenizer.json", "tokenizer_config.json"])
def test_a_classifier_whose_tokenizer_prepends_a_special_token_is_refused(form, tmp_path):
    run = make_run(2, None, position="last")
    folder = as_before(tmp_path / "out", run, "GPT2ForSequenceClassification")
    if form == "tokenizer.json":
        (folder / form).write_text(tokenizer_json(*vocabulary_of(run.encoding), ((run.encoding.eot_token,), ())))
    else:
        (folder / form).write_text('{"add_bos_token": true}')
    with pytest.raises(InputError, match="its tokenizer puts special tokens around each text, which numpygpt does not"):
        load_run(folder)


@pytest.mark.parametrize(
    "name, config, message",
    [
        ("GPT2ForSequenceClassification", dict(num_labels=1), "expected floats for two labels or more"),
        ("GPT2ForSequenceClassification", dict(problem_type="multi_label_classification"), "only one label a text"),
        ("GPT2ForTokenClassification", {}, "a token classifier with classifier.bias, classifier.weight; "),
        (
            "GPT2LMHeadModel",
            {},
            "a model without a classifier's head, not a text classifier with label names; train one",
        ),
    ],
)
def test_a_transformers_model_that_is_no_text_classifier_is_refused(name, config, message, tmp_path):
    transformers_own(tmp_path, name, **config)
    with pytest.raises(InputError, match=message):
        load_run(tmp_path)


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
    assert bias_before(np.repeat(weight[:, :1], 5, axis=1), bias) is None


@pytest.mark.parametrize(
    "changes", [{"position": "first"}, {"position": "mean"}, {"position": "last", "causal": False}]
)
def test_a_classifier_the_books_model_cannot_express_is_refused(changes, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--position"):
        exported(make_run(2, None, **changes), tmp_path / "out", monkeypatch, "--book")
    assert not (tmp_path / "out").exists()


def test_only_the_books_model_requires_its_epsilon(tmp_path, monkeypatch):
    run = make_run(2, None, position="last")
    run.config = replace(run.config, layer_norm_epsilon=1e-6)
    with pytest.raises(InputError, match="epsilon 1e-05, but this classifier uses 1e-06"):
        exported(run, tmp_path / "out", monkeypatch, "--book")
    assert not (tmp_path / "out").exists()
    folder = exported(run, tmp_path / "out", monkeypatch)
    assert json.loads((folder / "config.json").read_text())["layer_norm_epsilon"] == 1e-6


def test_export_never_overwrites_a_folder(tmp_path):
    with pytest.raises(InputError, match="exists"):
        export.main(["a run", str(tmp_path)])
