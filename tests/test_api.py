"""`import numpygpt` in a notebook: its public names, their results, and no side effects on the process."""

import importlib.util
import re
import subprocess
import sys
from html import escape, unescape
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import numpygpt
from numpygpt import generate
from numpygpt.model.continuation import Sampler
from numpygpt.system import blas
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import SAMPLE
from numpygpt.training.evaluation import Evaluation
from numpygpt.training.loader import loaders

README = Path(numpygpt.__file__).parents[1] / "README.md"
TEXTS, LABELS = ["You won! Call now", "Home at six?", "Free prize, reply WIN"], ["spam", "ham", "spam"]
PAIRS = list(zip(TEXTS * 3, LABELS * 3))


@pytest.fixture(scope="module")
def gpt():
    return numpygpt.load("mini")


def spam(gpt, trainable="last_block", **settings):
    return numpygpt.Classifier(gpt, labels=["ham", "spam"], trainable=trainable, seed=123, **settings)


def test_importing_the_package_is_light_and_every_name_loads_when_used():
    script = (
        "import sys, numpygpt; print('numpy' in sys.modules, [getattr(numpygpt, n).__name__ for n in numpygpt.__all__],"
        " 'sklearn' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("False ") and shown.endswith(" False\n")
    assert all(f"'{name}'" in shown for name in numpygpt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        numpygpt.nonsense  # noqa: B018


def test_dir_lists_only_public_names():
    assert set(dir(numpygpt)) == {*numpygpt.__all__, "__version__"}


def test_every_repr_has_one_to_five_lines_and_describes_its_object(gpt):
    labels = ["ham", "spam", *(f"<i>{n}</i>" for n in range(70))]
    clf = numpygpt.Classifier(gpt, labels, pad="end", causal=False)
    found, measured = clf.explain("You <b>won</b>"), clf.evaluate(TEXTS, LABELS)
    shown = {
        gpt: ["GPT mini: 3 blocks, width 224, 7 heads, 256 positions, 2,560,992 parameters"],
        numpygpt.load("mini", weights="random"): ["mini, random weights: 3 blocks"],
        clf: ["72 labels: ham, spam, ", " …\n", "frozen blocks: 1 of 3", "one <|endoftext|>", "attends to all"],
        found: [found.label, f"{found.margin:+.3f} to {found.runner_up}", "strongest tokens"],
        measured: ["3 messages with 72 labels", f"accuracy: {measured.accuracy:27.2%}"[:20]],
        Evaluation(labels): ["no messages"],
    }
    for value, parts in shown.items():
        assert 1 <= len(repr(value).splitlines()) <= 5 and all(part in repr(value) for part in parts), repr(value)


def test_a_notebook_shades_an_explanations_tokens_and_escapes_markup(gpt):
    clf = numpygpt.Classifier(gpt, ["ham", "<i>spam</i>"], pad=20)
    found = clf.explain("You <b>won</b> it")
    page = found._repr_html_()
    colour = {"ham": "59,127,196", "<i>spam</i>": "217,115,26"}
    for token, value in zip(found.tokens, found.integrated):
        strong = colour[found.label if value > 0 else found.runner_up]
        pattern = rf'title="{re.escape(f"{value:+.3f}")}" style="background:rgba\({strong},[\d.]+\)[^"]*">'
        assert found.padding[found.tokens.index(token)] or re.search(pattern + re.escape(escape(token)), page)
    assert "&lt;" in page and "<b>won" not in page and "<i>" not in page and "of padding: " in page
    pieces = re.findall(r"<span [^>]*>([^<]*)</span>", page)[:-2]
    assert unescape("".join(pieces)) == "You <b>won</b> it"


def test_a_notebook_shows_an_evaluation_as_a_table(gpt):
    clf = numpygpt.Classifier(gpt, ["ham", "<i>spam</i>"])
    measured = clf.evaluate(["Hi", "You won"], ["ham", "ham"])
    cells = [unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", measured._repr_html_())]
    assert cells[1:7] == ["precision", "recall", "F1", "messages", "answer ham", "answer <i>spam</i>"]
    recall, counts = f"{measured.recall[0]:.2%}", [str(count) for count in measured.confusion[0]]
    assert cells[7] == "ham" and cells[9] == recall and cells[11:14] == ["2", *counts]
    assert Evaluation(["a", "b"])._repr_html_() is None
    of_many = numpygpt.Classifier(gpt, list(map(str, range(90)))).evaluate(["Hi"], ["5"])
    assert of_many._repr_html_().count("<tr") < 25, "no longer than a screen"


def test_logits_of_every_token_come_from_text_or_ids(gpt):
    ids = gpt.encode("Hi, are you")
    logits = gpt.logits("Hi, are you")
    assert logits.shape == (len(ids), gpt.config.vocab_size) and logits.dtype == np.float32
    assert np.array_equal(gpt.logits(ids), logits)
    following = gpt.encoding.decode([int(logits[-1, : gpt.encoding.n_vocab].argmax())])
    assert gpt.generate("Hi, are you", tokens=1, greedy=True) == following
    for wrong in ([], [-1], [gpt.config.vocab_size], "word " * 999):
        with pytest.raises(numpygpt.InputError, match="token"):
            gpt.logits(wrong)


def test_generated_text_follows_its_seed(gpt):
    first, again, other = (gpt.generate("See you", tokens=12, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_generates_defaults_equal_the_commands_and_the_samplers():
    found = {}
    for function in (Sampler, numpygpt.GPT.stream, numpygpt.GPT.generate):
        for name, parameter in signature(function).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, set()).add(parameter.default)
    command = vars(generate.arguments([])) | {"prompt": ""}
    assert {"temperature", "top_k", "top_p", "seed", "tokens"} <= found.keys()
    assert found == {name: {command[name]} for name in found}


@pytest.mark.parametrize("settings", [{}, {"pad": 20}, {"position": "mean"}, {"position": "first"}, {"causal": False}])
@pytest.mark.parametrize("trainable", ["head", "last_block", "all", "lora"])
def test_loss_has_gradients_of_exactly_the_trainable_parameters_and_leaves_the_gpt_unchanged(gpt, trainable, settings):
    before = {name: array.copy() for name, array in gpt.params.items()}
    clf = spam(gpt, trainable, **settings)
    loss, grads = clf.loss(TEXTS, LABELS)
    probabilities = clf.predict(TEXTS)
    expected = -np.log([probabilities[label][i] for i, label in enumerate(LABELS)]).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert grads.keys() == clf.trainable
    assert {name: (g.shape, g.dtype) for name, g in grads.items()} == {
        name: (clf.params[name].shape, np.float32) for name in clf.trainable
    }
    numpygpt.AdamW(clf.params, clf.trainable, lr=1e-5).step(grads)
    assert clf.loss(TEXTS, LABELS)[0] < loss
    assert all(np.array_equal(gpt.params[name], array) for name, array in before.items())


def test_predictions_are_in_order_with_a_probability_for_each_label(gpt):
    clf = spam(gpt)
    texts = [f"message {i}" * (i % 5 + 1) for i in range(70)]  # more than one batch
    frame = clf.predict(texts)
    assert list(frame.columns) == ["label", "ham", "spam"] and len(frame) == 70
    np.testing.assert_allclose(frame[["ham", "spam"]].sum(axis=1), 1, rtol=1e-5)
    alone = clf.predict(texts[66:67])
    np.testing.assert_allclose(alone["spam"][0], frame["spam"][66], rtol=1e-4)
    assert len(clf.predict([])) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_logits_are_in_the_order_of_the_texts_for_any_number_of_cores(gpt, monkeypatch, count):
    monkeypatch.setattr(blas, "_function", lambda name, restype: None)
    monkeypatch.setattr(blas, "_cores", lambda: 3)
    clf, texts = spam(gpt), [f"{'a ' * n}message" for n in range(count)]
    np.testing.assert_allclose(clf.logits(texts), np.concatenate([clf.logits([text]) for text in texts]), rtol=1e-4)


def test_a_label_may_be_named_label(gpt):
    answers = numpygpt.Classifier(gpt, labels=["label", "other"]).predict(TEXTS)
    assert list(answers.columns) == ["label", "label", "other"] and len(answers) == 3


@pytest.mark.parametrize("trainable", ["last_block", "lora", "h.0.ln_1.*"])
def test_a_saved_classifier_answers_the_same_when_loaded(gpt, tmp_path, trainable):
    messages = read_messages(SAMPLE)
    training, validation = messages[:40], list(zip(messages["Text"][40:50], messages["Label"][40:50]))
    clf = spam(gpt, trainable, pad=30)
    history = numpygpt.fine_tune(clf, training, validation, epochs=2, eval_every=2, eval_batches=1)
    assert isinstance(history, pd.DataFrame) and history["loss"].count() == 10
    assert history["validation_accuracy"].count() == 2 and history["train_loss"].count() == 5
    clf.save(tmp_path / "run")
    loaded = numpygpt.load_run(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(TEXTS), clf.predict(TEXTS), rtol=1e-5)
    assert loaded.loss(TEXTS, LABELS)[0] == pytest.approx(clf.loss(TEXTS, LABELS)[0], rel=1e-5)
    with pytest.raises(numpygpt.InputError, match="already holds a run"):
        clf.save(tmp_path / "run")
    loaded.save(tmp_path / "again")
    pd.testing.assert_frame_equal(numpygpt.load_run(tmp_path / "again").predict(TEXTS), loaded.predict(TEXTS))


def test_random_weights_do_not_depend_on_the_numpy_version(tmp_path):
    """RandomState's numbers never change, as NumPy promises. These were drawn by NumPy 2.4."""
    gpt = numpygpt.load("mini", weights="random", seed=5)
    drawn = 0.02 * np.random.RandomState(5).standard_normal(3)
    np.testing.assert_array_equal(gpt.params["wte.weight"].ravel()[:3], drawn.astype(np.float32))
    np.testing.assert_allclose(drawn, [0.00882455, -0.0066174, 0.04861542], atol=5e-9)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda gpt: spam(gpt, "nothing.*"), "neither one of"),
        (lambda gpt: spam(gpt, pad="wide"), "cannot pad"),
        (lambda gpt: spam(gpt, position="middle"), "position 'middle'"),
        (lambda gpt: numpygpt.Classifier(gpt, ["ham"]), "at least two"),
        (lambda gpt: numpygpt.Classifier(gpt, ["ham", "ham"]), "all different"),
        (lambda gpt: spam(gpt).loss(TEXTS, ["spam", "ham", "eggs"]), "unknown label 'eggs'"),
        (lambda gpt: spam(gpt).loss(TEXTS, ["spam"]), "3 texts and 1 label:"),
        (lambda gpt: spam(gpt).predict([""]), "message 1 is empty"),
        (lambda gpt: spam(gpt).predict(None), "^expected a list of texts, got None"),
        (lambda gpt: numpygpt.load(None), "^expected the name of a file or folder, got None"),
        (lambda gpt: numpygpt.load(""), "^expected the name of a file or folder, got ''"),
        (lambda gpt: numpygpt.load_run(3), "^expected the name of a file or folder, got 3"),
        (
            lambda gpt: numpygpt.fine_tune(spam(gpt), [("hi", "ham")], [("hi", "ham")]),
            "1 training message does not fill",
        ),
        (lambda gpt: numpygpt.fine_tune(spam(gpt), []), "the training set is empty"),
        (lambda gpt: spam(gpt).numbers([0, 1]), "unknown labels '0', '1': this"),
        (lambda gpt: spam(gpt).numbers(["ham", float("nan")]), "message 2 has no label: nan"),
        (lambda gpt: numpygpt.fine_tune(spam(gpt), PAIRS, []), "^the validation set is empty"),
        (
            lambda gpt: numpygpt.fine_tune(spam(gpt), ["ab"] * 8, PAIRS),
            "^message 1 of a set is 'ab': expected .text, l",
        ),
        (lambda gpt: numpygpt.fine_tune(spam(gpt), pd.DataFrame({"Text": TEXTS}), PAIRS), "a set has no column Label"),
        (lambda gpt: numpygpt.fine_tune(gpt, PAIRS, PAIRS), "^clf: expected a Classifier, not a GPT"),
        (lambda gpt: numpygpt.fine_tune(spam(gpt), PAIRS, PAIRS, resume="run"), "^resume: expected a ResumeFile"),
        (lambda gpt: numpygpt.plot(pd.DataFrame({"loss": [1.0]})), "^history: expected the DataFrame that fine_tune"),
        (lambda gpt: numpygpt.load("mini", weights="rnadom"), "^weights 'rnadom': use one of pretrained, random, pyt"),
        (lambda gpt: numpygpt.load("mini", weights="random", seed=-1), "^seed: expected a whole number at least 0"),
        (lambda gpt: numpygpt.Classifier("mini", LABELS[:2]), "^gpt: expected a GPT from numpygpt.load, not a str"),
        (lambda gpt: numpygpt.Classifier(gpt, "spam"), "^labels 'spam': expected a list of names, not one text"),
        (lambda gpt: spam(gpt, ["head"]), "^trainable .'head'.: expected one text, with commas"),
        (lambda gpt: spam(gpt, pad="longest"), "^cannot pad to 'longest': use none, end, context or a number"),
        (lambda gpt: spam(gpt, "lora", rank=0), "^rank: expected a whole number at least 1, got 0"),
        (lambda gpt: spam(gpt, "lora", alpha=np.nan), "^alpha: expected a number above 0 .*, got nan"),
        (lambda gpt: spam(gpt).loss("ab", ["ham", "spam"]), "expected a list of texts, got the single text"),
        (lambda gpt: spam(gpt).numbers("ham"), "expected a list of labels, not one label"),
        (lambda gpt: spam(gpt).evaluate("ab", ["ham", "spam"]), "expected a list of texts"),
        (lambda gpt: spam(gpt).evaluate([5], ["ham"]), "^message 1 is 5: expected a text"),
        (
            lambda gpt: spam(gpt).explain("Hi", tolerance=np.nan),
            "^tolerance: expected a number at least 0 and at most 1",
        ),
        (
            lambda gpt: spam(gpt, position="mean").trace("Hi", "ham", folded=True),
            "^folded: this classifier reads the m",
        ),
        (lambda gpt: spam(gpt).save("new", {"x": {1}}), "^settings: expected a dict that JSON can store"),
        (
            lambda gpt: gpt.trace("Hi there", "head"),
            "^trainable: 'head' selects nothing, because this model has no head",
        ),
        (lambda gpt: gpt.encode(5), "^expected a text, got 5"),
        (lambda gpt: gpt.logits([1.5]), "^expected a text, or 1 to 256 whole numbers below 3072 as token ids"),
        (lambda gpt: gpt.logits([[1], [1, 2]]), "^expected a text, or 1 to 256 whole numbers"),
        (lambda gpt: gpt.generate(tokens=-1), "^tokens: expected a whole number at least 1, got -1"),
        (lambda gpt: gpt.generate(temperature=0), "^temperature: expected a number above 0, got 0"),
        (lambda gpt: gpt.generate(top_k=0), "^top_k: expected a whole number at least 1, got 0"),
        (lambda gpt: gpt.generate(top_p=1.1), "^top_p: expected a number above 0 and at most 1, got 1.1"),
        (lambda gpt: gpt.generate(seed=-1), "^seed: expected a whole number at least 0, got -1"),
        (lambda gpt: numpygpt.load("nonsense"), "no such folder or file"),
        (lambda gpt: numpygpt.load_run("nonsense"), "not a finished run"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(gpt, make, message):
    with pytest.raises(numpygpt.InputError, match=message) as raised:
        make(gpt)
    assert "\n" not in str(raised.value)


def test_the_readmes_python_examples_run(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    section = README.read_text(encoding="utf-8").split("## From Python")[1].split("\n## ")[0]
    code, estimators = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    if importlib.util.find_spec("sklearn"):
        exec(estimators, names)
    assert (tmp_path / "runs" / "mine" / "run.json").is_file()
    assert names["loss"] > 0 and set(names["grads"]) == names["spam"].trainable


def test_the_default_order_of_messages_is_that_of_seed_123(gpt):
    clf, messages = spam(gpt, "head"), [(text, label) for text, label in zip(TEXTS * 8, LABELS * 8)]
    orders = [
        [batch.tolist() for batch in loaders(clf, [messages], **seed)[0]] for seed in ({}, {"seed": 123}, {"seed": 124})
    ]
    assert orders[0] == orders[1] != orders[2]
