"""Attributions add up, agree with the complex step and captum, and are all shown in the terminal."""

import re

import numpy as np
import pytest

from numpygpt import export
from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.explain import attribution
from numpygpt.explain.attribution import after_each_token
from numpygpt.explain.attribution_text import in_terminal
from numpygpt.explain.colours import channels, colours, in_256
from numpygpt.model.classifier import classifier
from numpygpt.model.config import Config
from numpygpt.model.lora import merge
from numpygpt.model.parameters import random_parameters
from numpygpt.model.shared_prefix import SharedPrefix
from numpygpt.model.tape import Tape
from numpygpt.study.trace.trace import as_float64
from numpygpt.system.errors import InputError
from numpygpt.system.settings import BASELINES
from numpygpt.text.bpe import learn_bpe

TEXT = "win £9 <b>"
POOLINGS = [
    {},
    {"pad": "none", "position": "last"},
    {"pad": "end", "position": "last"},
    {"pad": 17, "position": "last"},
    {"pad": 6, "position": "last"},  # truncates the message
    {"pad": "end", "position": "mean"},
    {"pad": 17, "position": "first"},
    {"pad": "none", "position": "last", "causal": False},
    {"pad": "none", "position": "first", "causal": False},
    {"pad": "end", "position": "last", "trainable": "lora"},
]


def made(dtype=np.float64, trainable="head", labels=3, **pooling):
    """Return a random classifier with single bytes as tokens, so that deleting a character deletes a token."""
    encoding = learn_bpe(["a"], 257)
    gpt = GPT(config := Config(257, 24, 12, 2, 3), random_parameters(config, 1), encoding, "a test")
    clf = Classifier(gpt, [f"label {n}" for n in range(labels)], trainable, rank=2, **pooling)
    rng = np.random.default_rng(4)
    for name, a in clf.params.items():
        size = 0.03 if "lora" in name else 0.3  # LoRA's products count eightfold, and a jagged margin has no quick sum
        clf.params[name] = np.asarray(a + size * rng.standard_normal(a.shape), dtype)
    return clf


def margin_of(clf, explanation, texts):
    numbers = clf.numbers([explanation.label, explanation.runner_up])
    return clf.logits(texts)[:, numbers] @ [1, -1]


def rows_of(clf, explanation, dtype):
    weights = {name: a.astype(dtype) for name, a in merge(clf.params, clf.config, clf.lora_scale)[0].items()}
    T = len(explanation.ids)
    return weights, weights["wte.weight"][explanation.ids], weights["wpe.weight"][:T], np.array([T])


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_integrated_gradients_add_up_to_the_difference_of_two_margins(pooling, baseline):
    clf = made(**pooling)
    found = clf.explain(TEXT, baseline, tolerance=1e-8)
    logits = clf.logits([TEXT])[0]
    weights, x, places, lengths = rows_of(clf, found, np.float64)
    start = np.broadcast_to(weights["wte.weight"][256], x.shape) if baseline == "padding" else 0 * x
    at_start = classifier(Tape(weights), start + places, lengths, clf.config, clf.pooling)[0][0]
    answer, runner_up = np.argsort(-logits)[:2]
    assert (found.label, found.runner_up) == (f"label {answer}", f"label {runner_up}")
    assert np.isclose(found.margin, logits[answer] - logits[runner_up], rtol=1e-12)
    assert np.isclose(found.baseline_margin, at_start[answer] - at_start[runner_up], rtol=1e-12)
    assert found.complete and found.points < attribution.MOST
    assert np.isclose(found.integrated.sum(), found.margin - found.baseline_margin, rtol=1e-8)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_gradient_times_input_equals_the_complex_step_derivative(pooling):
    clf = made(**pooling)
    found = clf.explain(TEXT)
    weights, x, places, lengths = rows_of(clf, found, np.complex128)
    pair = clf.numbers([found.label, found.runner_up])
    for t in range(len(x)):
        grown = x.copy()
        grown[t] *= 1 + 1e-30j
        logits = classifier(Tape(weights), grown + places, lengths, clf.config, clf.pooling)[0][0]
        derivative = (logits[pair] @ [1, -1]).imag / 1e-30
        assert np.isclose(found.gradient_input[t], derivative, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pooling", [pooling for pooling in POOLINGS if pooling.get("pad") != 6], ids=str)
def test_deletion_equals_the_margins_change_without_the_character(pooling):
    clf = made(**pooling)
    text = "win 9 <b>"
    found = clf.explain(text)
    without = margin_of(clf, found, [text[:t] + text[t + 1 :] for t in range(len(text))])
    np.testing.assert_allclose(found.deletion[: len(text)], found.margin - without, rtol=1e-9, atol=1e-12)
    assert np.isnan(found.deletion[len(text) :]).all() and found.padding[len(text) :].all()


@pytest.mark.parametrize("rows", [1, 7, 20, 10**6])
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_sharing_rows_between_deletions_changes_no_value(monkeypatch, pooling, rows):
    clf = made(**pooling)
    monkeypatch.setattr(attribution, "BATCH_ROWS", rows)
    found = clf.explain(TEXT).deletion
    monkeypatch.setattr(attribution._Margin, "of_shortened", lambda margin, ids, messages: margin.of_messages(messages))
    np.testing.assert_allclose(found, clf.explain(TEXT).deletion, rtol=1e-9, atol=1e-12)


def test_a_deletion_computes_no_row_before_the_deleted_token(monkeypatch):
    clf, text, computed = made(pad="none"), "a word and some others", []
    monkeypatch.setattr(attribution, "BATCH_ROWS", 1)
    real = SharedPrefix.rows_from
    monkeypatch.setattr(
        SharedPrefix,
        "rows_from",
        lambda self, start, some: [computed.append((start, len(some))), real(self, start, some)][1],
    )
    clf.explain(text)
    T = len(text)
    assert computed[0] == (0, 1) and sorted(computed[1:]) == [(min(t, T - 2), 1) for t in range(T)]


@pytest.mark.parametrize("pad", ["none", "end", 5])
def test_a_single_token_cannot_be_deleted(pad):
    found = made(pad=pad).explain("a")
    assert np.isnan(found.deletion).all()
    assert re.search(r" -  a$", in_terminal(found, colour=False), re.MULTILINE)


def test_a_long_message_is_explained_in_parts_with_progress(monkeypatch):
    clf, seen = made(pad="none"), []
    expected = clf.explain(TEXT)
    monkeypatch.setattr(attribution, "BATCH_ROWS", 25)  # two of eleven messages at a time
    found = attribution.explain(clf, TEXT, progress=lambda done, total: seen.append((done, total)))
    for name in ("integrated", "gradient_input", "deletion"):
        np.testing.assert_allclose(found.table()[name], expected.table()[name], rtol=1e-9)
    assert seen[-1][0] == seen[-1][1] and all(done <= total for done, total in seen) and len(seen) > 5


def test_a_gap_in_the_sum_is_reported_and_never_scaled_away(monkeypatch):
    assert "rely" not in in_terminal(made(pad="none").explain(TEXT), colour=False)
    monkeypatch.setattr(attribution, "FEWEST", 1)
    monkeypatch.setattr(attribution, "MOST", 1)
    found = made(pad="none").explain(TEXT)
    missing = found.integrated.sum() - (found.margin - found.baseline_margin)
    assert not found.complete and found.difference == missing != 0
    shown = in_terminal(found, colour=False)
    assert f"all but {missing:.2g} of it (1 points)" in shown and "Do not rely on its column" in shown


def test_the_tolerance_of_the_sum_is_relative_to_the_margins_difference(monkeypatch):
    monkeypatch.setattr(attribution, "MOST", attribution.FEWEST)
    found = made(pad="none").explain(TEXT)
    share = abs(found.difference / (found.margin - found.baseline_margin))
    assert [made(pad="none").explain(TEXT, tolerance=t).complete for t in (share * 0.9, share * 1.1)] == [False, True]


def test_the_terminals_table_has_every_token_its_numbers_and_their_sums():
    found = made(pad=17).explain("é \x1b[31m\n")
    lines = in_terminal(found, colour=False).splitlines()
    tokens = [line.split("  ")[-1] for line in lines[2:]]
    assert tokens[:9] == ["⟨c3⟩", "⟨a9⟩", "␣", "\\x1b", "[", "3", "1", "m", "⏎"]
    assert tokens[9:11] == ["<|endoftext|> x 8", "sum"]
    numbers = [float(line[:10]) for line in lines[2:13]]
    assert np.allclose(numbers[:9], found.integrated[:9], atol=5e-4) and abs(sum(numbers[:-1]) - numbers[-1]) < 0.01
    assert np.isclose(float(lines[11][11:21]), found.gradient_input[9:].sum(), atol=5e-4)
    assert "\x1b" not in "".join(lines)


def test_each_label_keeps_its_colour_in_the_terminal():
    clf = made(pad="none")
    of_label = {label: f"\x1b[30;48;5;{in_256(colour, 1)}m" for label, colour in colours(clf.labels).items()}
    assert len(set(of_label.values())) == 3
    for text in (TEXT, "free", "a b c", "won!"):
        found = clf.explain(text)
        strongest = np.abs(found.integrated).argmax()
        shown = in_terminal(found, colour=True).splitlines()
        spoken_for = found.label if found.integrated[strongest] > 0 else found.runner_up
        assert of_label[spoken_for] in shown[0] and of_label[spoken_for] in shown[5 + strongest]
        shaded = re.findall(r"\x1b\[30;48;5;\d+m", shown[0])
        assert len(shaded) == (6 * np.abs(found.integrated) >= np.abs(found.integrated).max()).sum()
        assert f"({of_label[found.label]}for {found.label}" in shown[1]
        assert "\x1b" not in in_terminal(found, colour=False)
    assert re.sub(r"\x1b\[[\d;]*m", "", in_terminal(clf.explain(TEXT), colour=True)).startswith("win ⟨c2⟩⟨a3⟩9 <b>\n")


def test_seventy_labels_have_different_and_readable_colours():
    found = colours(range(70)).values()
    assert len(set(found)) == 70
    for colour in found:
        r, g, b = channels(colour)
        assert 0.2126 * r + 0.7152 * g + 0.0722 * b > 60 and max(r, g, b) - min(r, g, b) > 50


def test_an_unknown_baseline_and_an_empty_message_are_refused():
    with pytest.raises(InputError, match="baseline 'mean': use one of padding, zero"):
        made().explain("a", "mean")
    with pytest.raises(InputError, match="empty"):
        made().explain("")


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_the_curve_equals_the_answers_to_truncated_messages(pooling):
    clf = made(**pooling)
    (ids,) = clf.encode([TEXT])
    weights, _ = merge(clf.params, clf.config, clf.lora_scale)
    ends = [256] if pooling.get("pad") == "end" else []
    parts = [np.append(ids[:t], ends).astype(int) for t in range(1, len(ids) + 1 - len(ends))]
    expected = [classifier(Tape(weights), part, [len(part)], clf.config, clf.pooling)[0][0] for part in parts]
    found = after_each_token(clf, TEXT)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(found[-1], clf.logits([TEXT])[0], rtol=1e-9)


@pytest.mark.parametrize("pad, position", [("none", "last"), ("end", "last"), (20, "last"), ("none", "mean")])
@pytest.mark.parametrize("baseline", BASELINES)
def test_captum_agrees_on_the_exported_model_in_transformers(pad, position, baseline, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    attr = pytest.importorskip("captum.attr")
    clf = made(np.float32, pad=pad, position=position)
    monkeypatch.setattr("numpygpt.commands.export.load_run", lambda path: clf)
    export.main(["a run", str(tmp_path / "out")])
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    model = load(tmp_path / "out", trust_remote_code=True).double().eval()
    clf.params = as_float64(clf.params)
    found = clf.explain(TEXT, baseline)
    answer, runner_up = clf.numbers([found.label, found.runner_up])

    own = torch.tensor(found.ids[~found.padding]).long()[None]  # the exported model adds padding itself

    def margin(x):
        embedded = model.transformer.wte.register_forward_hook(lambda *_: x)
        logits = model(own.expand(len(x), -1)).logits
        embedded.remove()
        return logits[:, answer] - logits[:, runner_up]

    wte = model.transformer.wte.weight
    x = wte[torch.tensor(found.ids).long()][None].detach().requires_grad_()
    b = torch.zeros_like(x) if baseline == "zero" else wte[256].expand_as(x).detach()
    integrated = attr.IntegratedGradients(margin).attribute(x, b, n_steps=found.points, method="gausslegendre")
    np.testing.assert_allclose(found.integrated, integrated[0].sum(1).detach(), rtol=1e-6, atol=1e-7)
    gradient_input = attr.InputXGradient(margin).attribute(x)
    np.testing.assert_allclose(found.gradient_input, gradient_input[0].sum(1).detach(), rtol=1e-6, atol=1e-7)
