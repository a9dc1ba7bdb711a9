"""Which training messages taught an answer: TracIn, influence functions, and where they are shown."""

import numpy as np
import pandas as pd
import pytest

import numpygpt
from bench.influence import correlations
from numpygpt import InputError, classify
from numpygpt.api.because import teachers
from numpygpt.explain.influence import HeadInfluence, TracIn, along, gradient_rows, influence, solve
from numpygpt.model.lora import adapters
from numpygpt.model.parameters import parameter_shapes
from numpygpt.study.checking.cases import SMALL, random_messages, random_weights
from numpygpt.training.batch import batch_loss
from numpygpt.training.curvature import hessian
from numpygpt.training.kept_epochs import keep_epoch, kept_epochs, mean_rate
from numpygpt.training.rng import Generator
from tests.classifiers import classifier_of

NUMBERS = np.array([0, 2, 1, 2, 0, 1])
CHOICES = [
    ("head", "mean"),
    ("last_block", "last"),
    ("last_block", "first"),
    ("last_two_blocks", "mean"),
    ("all", "last"),
]


def a_classifier(choice="all", position="mean", classes=3):
    """(Classifier in float64, six messages)"""
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(SMALL) | {"head.weight": (6, classes), "head.bias": (classes,)}
    params, scale = random_weights(rng, shapes), None
    if choice == "lora":
        new = adapters(params, SMALL, 2, Generator(1))
        params, scale = params | random_weights(rng, {name: array.shape for name, array in new.items()}), 1.5
    messages = [*random_messages(rng), *random_messages(rng)][:6]
    return classifier_of(params, SMALL, choice, position=position, lora_scale=scale), messages


def gradient(clf, ids, number, **loss):
    return batch_loss(clf, ids, np.array([len(ids)]), np.array([number]), 0, **loss)[1]


def dot(a, b):
    return sum(np.vdot(a[name], b[name]) for name in a)


@pytest.mark.parametrize("choice, position", [*CHOICES, ("lora", "mean"), ("h.1.ln_1.*,h.0.attn.c_attn.bias", "last")])
def test_row_products_equal_gradient_products(choice, position, monkeypatch):
    monkeypatch.setattr("numpygpt.explain.influence.BATCH_ROWS", 6)  # so that batches are not in the messages' order
    clf, messages = a_classifier(choice, position)
    numbers = NUMBERS[: len(messages)]
    of_answer = gradient(clf, messages[1], 2)
    expected = [0.25 * dot(gradient(clf, ids, number), of_answer) for ids, number in zip(messages, numbers)]
    np.testing.assert_allclose(TracIn([(0.25, clf)], messages, numbers).scores(messages[1], 2), expected, rtol=1e-9)


def test_smoothing_and_label_weights_apply_to_training_messages_only():
    clf, messages = a_classifier("head")
    numbers, weights = NUMBERS[: len(messages)], (0.5, 1.5, 2.0)
    of_answer = gradient(clf, messages[1], 2)
    found = TracIn([(1.0, clf)], messages, numbers, 0.1, weights).scores(messages[1], 2)
    for score, ids, number in zip(found, messages, numbers):
        own = gradient(clf, ids, number, smoothing=0.1, weights=weights)
        assert score == pytest.approx(weights[number] * dot(own, of_answer), rel=1e-9)


def test_label_weights_leave_the_rows_of_a_gradient_in_float32():
    clf, (ids, *_) = a_classifier("last_block")
    clf.params = {name: array.astype(np.float32) for name, array in clf.params.items()}
    rows, _ = gradient_rows(clf, ids, np.array([len(ids)]), np.array([1]), 0, weights=(0.5, 1.5, 2.0))
    assert {right.dtype for _, right in rows.values()} == {np.dtype(np.float32)}


def test_tracin_sums_the_epochs_each_with_its_rate():
    first, messages = a_classifier("head")
    second, _ = a_classifier("head")
    second.params = first.params | {"head.weight": 2 * first.params["head.weight"]}
    numbers = NUMBERS[: len(messages)]
    each = [TracIn([(1.0, clf)], messages, numbers).scores(messages[0], 1) for clf in (first, second)]
    shown, both = [], TracIn([(0.5, first), (0.25, second)], messages, numbers)
    both = both.scores(messages[0], 1, progress=lambda *row: shown.append(row))
    assert shown == [(6, 12), (12, 12)]
    np.testing.assert_allclose(both, 0.5 * each[0] + 0.25 * each[1], rtol=1e-12)


def test_along_equals_each_gradient_times_the_vector():
    clf, messages = a_classifier("last_block", "last")
    numbers = NUMBERS[: len(messages)]
    v = random_weights(np.random.default_rng(3), {name: clf.params[name].shape for name in sorted(clf.trainable)})
    expected = [dot(gradient(clf, ids, number), v) for ids, number in zip(messages, numbers)]
    np.testing.assert_allclose(along(clf, messages, numbers, v), expected, rtol=1e-10)


def test_the_closed_form_of_the_head_equals_the_general_method():
    clf, messages = a_classifier("head")
    numbers = NUMBERS[: len(messages)]
    found = HeadInfluence(clf, messages, numbers).scores(messages[2], 1)
    np.testing.assert_allclose(found, influence(clf, messages, numbers, messages[2], 1), rtol=1e-6)


def test_an_influence_equals_its_formula():
    clf, messages = a_classifier("head")
    numbers, names = NUMBERS[: len(messages)], sorted(clf.trainable)
    product = hessian(clf, messages, numbers)
    flat = lambda arrays: np.concatenate([arrays[name].ravel() for name in names])  # noqa: E731
    sizes = [clf.params[name].size for name in names]

    def named(vector):
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {name: part.reshape(clf.params[name].shape) for name, part in zip(names, parts)}

    H = np.array([flat(product(named(row))) for row in np.eye(sum(sizes))])
    v = np.linalg.solve(H + 0.01 * np.eye(len(H)), flat(gradient(clf, messages[0], 2)))
    expected = [flat(gradient(clf, ids, n)) @ v / len(messages) for ids, n in zip(messages, numbers)]
    found = influence(clf, messages, numbers, messages[0], 2, damping=0.01)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_conjugate_gradients_refuse_a_negative_curvature():
    with pytest.raises(InputError, match="negative curvature.*damping 0.001"):
        solve(lambda v: {"a": -v["a"]}, {"a": np.ones(3)}, 1e-3)


def test_influence_predicts_training_without_a_message():
    """Training again, to the optimum, without each of twelve messages (bench.influence does so with fifty)."""
    clf, _ = a_classifier("head")
    rng = np.random.default_rng(1)
    messages = [rng.integers(0, 11, T) for T in rng.integers(2, 9, 40)]
    numbers = np.array([ids[0] % 3 for ids in messages])
    influences, _, _ = correlations(clf, (messages, numbers), (messages[:3], numbers[:3]), 12, 3)
    assert min(influences) > 0.9


def test_tracin_equals_captums():
    torch = pytest.importorskip("torch")
    tracincp = pytest.importorskip("captum.influence")
    clf, messages = a_classifier("head.weight")  # captum's leaves the bias out
    numbers = NUMBERS[: len(messages)]
    rows = HeadInfluence(clf, messages, numbers).x[:, :-1]
    head = torch.nn.Linear(6, 3).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor(clf.params["head.weight"].T))
        head.bias.copy_(torch.tensor(clf.params["head.bias"]))
    data = torch.utils.data.TensorDataset(torch.tensor(rows), torch.tensor(numbers))
    theirs = tracincp.TracInCPFast(
        *(head, head, data, ["only"]),
        checkpoints_load_func=lambda model, path: 0.5,
        loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
        batch_size=4,
    ).influence((torch.tensor(rows[1:2]), torch.tensor([2])))
    found = TracIn([(0.5, clf)], messages, numbers).scores(messages[1], 2)
    np.testing.assert_allclose(found, theirs[0].numpy(), rtol=1e-9)


def test_a_run_keeps_as_many_of_the_last_epochs_as_the_limit_allows(tmp_path):
    for epoch in range(1, 6):
        keep_epoch(tmp_path, {"head.bias": np.full(4, epoch, np.float32)}, epoch, 0.1 * epoch, limit=40)
    found = [(rate, arrays["head.bias"][0]) for rate, arrays in kept_epochs(tmp_path)]
    assert found == [(pytest.approx(0.4), 4), (pytest.approx(0.5), 5)]
    (tmp_path / "none").mkdir()
    keep_epoch(tmp_path / "none", {"head.bias": np.ones(4)}, 1, 0.1, limit=8)
    assert kept_epochs(tmp_path / "none") == []


def test_the_rate_of_an_epoch_is_the_mean_of_its_updates():
    rates = [mean_rate(epoch, 2, 2, 1.0, 0.5, "cosine") for epoch in (1, 2)]
    assert rates == pytest.approx([0.75, (1.0 + 0.55) / 2])


def test_training_messages_speak_for_their_own_label():
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "head")
    training = [("You have won a prize, call now", "spam"), ("See you at home at six", "ham")] * 2
    found = clf.because("You have won a prize, call now", k=1, training=training)
    own = found.table[found.table["text"] == "You have won a prize, call now"]
    signs = {"spam": 1, "ham": -1}
    assert (np.sign(own["score"]) == signs["spam"] * signs[found.label]).all()
    assert found.method == "head" and "influence function of the head" in str(found)
    assert [title for title, _ in found.sides()] == [f"for {found.label}", f"against {found.label}"]
    assert "<table>" in found._repr_html_() and 0.5 <= found.probability <= 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"k": 0}, "k: expected a whole number at least 1, got 0"),
        ({"k": "3"}, "k: expected a whole number at least 1, got '3'"),
        ({"method": ["head"]}, r"method \['head'\]: use one of tracin, head, influence"),
        ({"training": 5}, "a set of messages is 5"),
        ({"training": ["ab"]}, r"message 1 of a set is 'ab': expected \(text, label\)"),
        ({"training": [("hi", "ham", "x")]}, "message 1 of a set"),
        ({"training": [(None, "ham")]}, "message 1 is None; expected a text"),
        ({"training": pd.DataFrame({"a": [1]})}, "a set has no column Text"),
        ({"training": []}, "at least one"),
    ],
)
def test_because_refuses(wrong, message):
    clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], "head")
    with pytest.raises(InputError, match=message):
        clf.because("hi", **{"training": [("home", "ham")]} | wrong)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from numpygpt import train
    from tests.tiny import save_messages, save_model

    folder = tmp_path_factory.mktemp("because")
    save_model(folder / "model")
    save_messages(folder / "data.csv")
    options = "--epochs 2 --batch-size 4 --trainable lora --rank 2".split()
    train.main(
        ["--model", str(folder / "model"), "--data", str(folder / "data.csv"), "--out", str(folder / "run"), *options]
    )
    return folder / "run"


def test_a_lora_run_follows_its_adapters(run):
    clf = numpygpt.load_run(run)
    (_, last), scale = kept_epochs(run)[-1], clf._unmerged[1]
    assert len(kept_epochs(run)) == 2 and scale is not None
    for name, array in last.items():
        assert np.array_equal(array, clf._unmerged[0][name]), "the last epoch ends with the trained parameters"
    table = clf.because("home soon love").table
    assert len(table) == 42 and np.isfinite(table["score"]).all() and table["score"].is_monotonic_decreasing


def test_classify_shows_the_messages(run, capsys):
    classify.main([str(run), "--because", "win cash now"])
    shown = capsys.readouterr().out
    assert "TracIn" in shown and "\nagainst " in shown and shown.count("\n  ") + shown.count("\n +") >= 2


def test_a_run_without_kept_epochs_is_refused_with_what_to_do(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    for path in (tmp_path / "run").glob("epoch_*"):
        path.unlink()
    clf = numpygpt.load_run(tmp_path / "run")
    with pytest.raises(InputError, match="There are none here: use method='head'"):
        clf.because("hi")
    assert clf.because("home soon", method="head").method == "head"
    (tmp_path / "run" / "train.csv").unlink()
    with pytest.raises(InputError, match=r"no run folder with a train.csv.*give training="):
        clf.because("hi", method="head")
    with pytest.raises(InputError, match="method 'shapley': use one of tracin, head, influence"):
        teachers(clf, [("home", "ham")], "shapley")


def test_a_damaged_epoch_is_named(run, tmp_path):
    import shutil

    shutil.copytree(run, tmp_path / "run")
    keep_epoch(tmp_path / "run", {"head.bias": np.ones(7, np.float32)}, 2, 0.1)
    with pytest.raises(InputError, match="the kept epochs have another head.bias than the model"):
        numpygpt.load_run(tmp_path / "run").because("hi")
