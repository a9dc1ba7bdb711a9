"""The training loop: order of messages, evaluations, reports, updates, and that it learns."""

import math
from inspect import signature

import numpy as np
import pytest

from numpygpt import train
from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.commands.train import apply_recipe
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes, random_parameters
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.study.checking.cases import SMALL, random_weights
from numpygpt.system.errors import InputError
from numpygpt.system.single_process import SingleProcess
from numpygpt.training.adamw import AdamW
from numpygpt.training.batch import batch_logits, batch_loss
from numpygpt.training.fine_tune import fine_tune
from numpygpt.training.loader import Loader
from numpygpt.training.measures import accuracy, mean_loss
from numpygpt.training.recipes import SMALL as SMALL_RECIPE
from numpygpt.training.recipes import default_setting
from numpygpt.training.rng import Generator, loader_order
from numpygpt.training.schedule import default_lr
from tests.classifiers import classifier_of, loader_of, logits_of, prefix_of

LABELS = np.arange(11) % 3
RECIPE = dict(epochs=2, lr=1e-3, schedule="constant", weight_decay=0.1, accumulate=1, eval_every=3, eval_batches=2)
RECIPE |= dict(label_smoothing=0.0)


def a_classifier(choice="last_block", position="last"):
    """Return (Classifier, token ids) of eleven messages. Each message's first and last token reveal its label."""
    rng = np.random.default_rng(0)
    params = random_weights(rng, parameter_shapes(SMALL) | {"head.weight": (6, 3), "head.bias": (3,)})
    params = {name: a.astype(np.float32) for name, a in params.items()}
    words = [rng.integers(0, 8, T) for T in (2, 5, 1, 3, 3, 2, 0, 6, 1, 2, 5)]
    messages = [np.array([label, *middle, label]) for middle, label in zip(words, 8 + LABELS)]
    return classifier_of(params, SMALL, choice, position=position), messages


def a_run(choice="last_block", position="last", seed=5, batch_size=2):
    """Return (Classifier, (Loader of seven training messages, Loader of four validation messages))."""
    clf, messages = a_classifier(choice, position)
    generator, prefix = Generator(seed), prefix_of(clf, messages)
    return clf, (
        Loader(prefix, np.arange(7), LABELS[:7], batch_size, generator, shuffle=True),
        Loader(prefix, np.arange(7, 11), LABELS[7:], 3, generator),
    )


def test_the_default_rate_is_the_books_at_gpt2s_width_and_larger_below():
    rates = [default_lr(Config(n_embd=width, n_head=1)) for width in (1600, 768, 384, 224, 8)]
    assert rates == pytest.approx([5e-5, 5e-5, 4e-4, 1e-3, 1e-3])


@pytest.mark.parametrize("width", [8, 768])
def test_python_defaults_equal_the_train_commands(width):
    config, args = Config(n_embd=width, n_head=1), train.arguments([])
    apply_recipe(args, config)
    command = vars(args)
    found = {}
    for function in (Classifier, fine_tune):
        for name, parameter in signature(function).parameters.items():
            if name in command:
                by_width = parameter.default is None and name in SMALL_RECIPE
                found[name] = default_setting(config, name) if by_width else parameter.default
    assert {"trainable", "pad", "rank", "alpha", "epochs", "batch_size", "weight_decay", "eval_every"} < found.keys()
    assert found == {name: command[name] for name in found}


@pytest.mark.parametrize("width, frozen, position, epochs", [(8, 0, "mean", 3), (768, 1, "last", 5)])
def test_the_models_width_selects_the_recipe(width, frozen, position, epochs):
    config = Config(vocab_size=10, n_positions=8, n_embd=width, n_layer=2, n_head=2)
    clf = Classifier(GPT(config, random_parameters(config, 1), None, "a test"), ["a", "b"])
    assert (clf.frozen_blocks, clf.pooling.position, clf.pad_to) == (frozen, position, None)
    loaders = [loader_of(clf, [[1, 2], [3]], [0, 1], 2, Generator(1)) for _ in range(2)]
    assert fine_tune(clf, *loaders)["epoch"].max() == epochs


def test_only_a_training_loader_shuffles_and_drops_the_last_batch():
    clf, (training, validation) = a_run()
    order = loader_order(Generator(5), 7, shuffle=True)
    batches = list(training)
    assert len(training) == len(batches) == 3
    for batch, expected in zip(batches, order[:6].reshape(3, 2)):
        x, lengths, labels = training.take(batch)
        rows, its_lengths = training.prefix.batch(expected)
        assert np.array_equal(x, rows) and np.array_equal(lengths, its_lengths)
        assert np.array_equal(labels, LABELS[expected])
        assert np.array_equal(training.lengths(batch), lengths)
    assert [validation.take(batch)[2].tolist() for batch in validation] == [[1, 2, 0], [1]] and len(validation) == 2
    assert [batch.tolist() for batch in training] != [batch.tolist() for batch in batches], "a new order every epoch"


def test_the_loop_trains_and_evaluates_at_the_books_steps():
    task, (training, validation) = a_run()
    rows = []
    fine_tune(task, training, validation, **RECIPE, report=rows.append)
    assert [(row["epoch"], row["step"], row["examples"]) for row in rows] == [
        (1, 0, 2),
        (1, 1, 4),
        (1, 2, 6),
        (1, 2, 6),
        (2, 3, 8),
        (2, 4, 10),
        (2, 5, 12),
        (2, 5, 12),
    ]
    assert [row["step"] for row in rows if "train_loss" in row] == [0, 3]
    assert [sorted(row.keys() - {"epoch", "step", "examples"}) for row in (rows[0], rows[1], rows[3])] == [
        ["loss", "train_loss", "validation_loss"],
        ["loss"],
        ["train_accuracy", "validation_accuracy"],
    ]


def test_history_equals_that_of_a_handwritten_loop():
    """An evaluation advances the generator, and follows the update."""
    task, (training, validation) = a_run()
    rows = []
    fine_tune(task, training, validation, **RECIPE, report=rows.append)

    task, (training, validation) = a_run()
    optimizer = AdamW(task.params, task.trainable, lr=1e-3, weight_decay=0.1)
    expected = []
    for _ in range(2):
        for number, batch in enumerate(training):
            loss, grads = batch_loss(task, *training.take(batch), task.frozen_blocks)
            optimizer.step(grads)
            expected.append(loss)
            if number == 0:  # steps 0 and 3
                expected += [
                    mean_loss(task, training, SingleProcess(), 2),
                    mean_loss(task, validation, SingleProcess(), 2),
                ]
        expected += [accuracy(task, training, SingleProcess(), 2), accuracy(task, validation, SingleProcess(), 2)]
    names = ("loss", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    assert [row[name] for row in rows for name in names if name in row] == expected


def test_losses_are_averaged_over_batches_and_accuracies_over_messages():
    task, (_, validation) = a_run()
    logits = logits_of(task, a_classifier()[1][7:])
    first, second = (float(cross_entropy(logits[part], LABELS[7:][part])[0]) for part in (slice(3), slice(3, 4)))
    assert mean_loss(task, validation, SingleProcess()) == pytest.approx((first + second) / 2, rel=1e-5)
    assert mean_loss(task, validation, SingleProcess(), most=1) == pytest.approx(first, rel=1e-5)
    right = logits.argmax(axis=1) == LABELS[7:]
    assert accuracy(task, validation, SingleProcess()) == right.mean()
    assert accuracy(task, validation, SingleProcess(), most=1) == right[:3].mean()


@pytest.mark.parametrize("accumulate, updates", [(2, [[0, 1], [2]]), (3, [[0, 1, 2]]), (5, [[0, 1, 2]])])
def test_accumulated_batches_make_one_update_with_their_mean_gradient(accumulate, updates):
    recipe = RECIPE | dict(epochs=1, accumulate=accumulate, eval_every=100)
    task, (training, validation) = a_run()
    batches = [training.take(batch) for batch in a_run()[1][0]]
    fine_tune(task, training, validation, **recipe, report=lambda row: None)

    expected, _ = a_classifier()
    optimizer = AdamW(expected.params, expected.trainable, lr=1e-3, weight_decay=0.1)
    for update in updates:
        total = dict.fromkeys(expected.trainable, 0)
        for number in update:
            _, grads = batch_loss(expected, *batches[number], expected.frozen_blocks)
            total = {name: total[name] + gradient / accumulate for name, gradient in grads.items()}
        optimizer.step(total)
    for name in task.params:
        np.testing.assert_allclose(task.params[name], expected.params[name], rtol=2e-4, atol=2e-6, err_msg=name)


def test_each_update_uses_the_scheduled_rate_and_clipped_gradients():
    recipe = RECIPE | dict(accumulate=2, warmup=0.5, schedule="cosine", clip=0.01, eval_every=100)
    task, (training, validation) = a_run()
    fine_tune(task, training, validation, **recipe)

    expected, (training, validation) = a_run()
    optimizer = AdamW(expected.params, expected.trainable, lr=1e-3, weight_decay=0.1)
    done = 0
    for epoch in range(2):
        batches = [training.take(batch) for batch in training]
        if epoch == 0:
            for part in (training, validation):
                mean_loss(expected, part, SingleProcess(), 2)  # advances the generator
        for update in (batches[:2], batches[2:]):
            total = dict.fromkeys(expected.trainable, 0)
            for x, lengths, labels in update:
                _, grads = batch_loss(expected, x, lengths, labels, expected.frozen_blocks)
                total = {name: total[name] + gradient / 2 for name, gradient in grads.items()}
            norm = math.sqrt(sum(np.sum(gradient**2) for gradient in total.values()))
            assert norm > 0.01
            optimizer.lr = [0.5e-3, 1e-3, 1e-3, 0.55e-3][done]
            optimizer.step({name: (gradient * (0.01 / norm)) for name, gradient in total.items()})
            done += 1
        for part in (training, validation):
            accuracy(expected, part, SingleProcess(), 2)
    for name in task.params:
        np.testing.assert_allclose(task.params[name], expected.params[name], rtol=2e-4, atol=2e-6, err_msg=name)


def test_an_unknown_schedule_is_refused():
    task, (training, validation) = a_run()
    with pytest.raises(InputError, match="schedule 'up': use one of constant, cosine"):
        fine_tune(task, training, validation, schedule="up")


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def pytorchs(logits, targets, ignored, smoothing, w=(1, 1, 1)):
    """Return (loss, dlogits) as defined by PyTorch's cross_entropy(…, weight, ignore_index, label_smoothing)."""
    counted = (targets != ignored)[:, None]
    wanted = w * ((1 - smoothing) * np.eye(3)[targets] + smoothing / 3) * counted
    total = np.sum(np.asarray(w)[targets] * counted[:, 0])
    loss = -(wanted * log_softmax(logits)).sum() / total
    return loss, (np.exp(log_softmax(logits)) * wanted.sum(axis=1, keepdims=True) - wanted) / total


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.5, 2.5, 1.5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_reference_loss_equals_pytorchs(smoothing, weights):
    torch = pytest.importorskip("torch")
    logits = torch.tensor(np.random.default_rng(0).standard_normal((7, 3)), requires_grad=True)
    options = dict(ignore_index=2, label_smoothing=smoothing, weight=torch.tensor(weights, dtype=torch.float64))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS[:7]), **options)
    loss.backward()
    expected = pytorchs(logits.detach().numpy(), LABELS[:7], 2, smoothing, weights)
    assert expected[0] == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(expected[1], logits.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("accumulate, updates", [(1, [[0], [1], [2]]), (2, [[0, 1], [2]]), (5, [[0, 1, 2]])])
@pytest.mark.parametrize("ignored", [0, 1])
@pytest.mark.parametrize("weighted", [None, "balanced"])
def test_ignored_labels_smoothing_weights_and_accumulation_combine_as_in_pytorch(
    monkeypatch, weighted, ignored, accumulate, updates, smoothing, exact
):
    """Each batch's mean excludes ignored messages, and is divided by `accumulate`. A batch of ignored messages
    alone has no gradient, where PyTorch's loss would be nan."""
    given = []
    monkeypatch.setattr(AdamW, "step", lambda self, grads: given.append(grads["head.bias"].copy()))  # changes nothing
    task, (training, validation) = a_run("head")
    batches = [(training.numbers[batch], training.take(batch)) for batch in a_run("head")[1][0]]
    recipe = RECIPE | dict(epochs=1, accumulate=accumulate, label_smoothing=smoothing, eval_every=100)
    counts = np.bincount(training.numbers[training.numbers != ignored], minlength=3)
    w = np.where(counts > 0, 1 / np.maximum(counts, 1), 0) if weighted else np.ones(3)  # a common factor cancels
    options = (ignored, smoothing, w)
    rows = fine_tune(task, training, validation, **recipe, label_weights=weighted, ignore_index=ignored, exact=exact)

    expected = []
    for update in updates:
        counted = [batches[number] for number in update if (batches[number][0] != ignored).any()]
        parts = [
            pytorchs(batch_logits(task, x, lengths, task.frozen_blocks).astype(float), numbers, *options)[1]
            for numbers, (x, lengths, _) in counted
        ]
        if parts:
            expected.append(sum(part.sum(axis=0) for part in parts) / accumulate)
    assert len(given) == len(expected)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)
    for (numbers, (x, lengths, _)), loss in zip(batches, rows["loss"]):
        if (numbers == ignored).all():
            assert math.isnan(loss)
        else:
            logits = batch_logits(task, x, lengths, task.frozen_blocks).astype(float)
            assert loss == pytest.approx(pytorchs(logits, numbers, *options)[0], rel=1e-5)


@pytest.mark.parametrize(
    "name, values",
    {
        "epochs": [0, -1, 1.5, "3", True],
        "batch_size": [0, 2.0],
        "lr": [0, -1, math.nan, math.inf],
        "weight_decay": [-0.1, math.nan, math.inf],
        "warmup": [-1, 1.5, math.nan],
        "clip": [-1.0, 0, math.nan, 10**400],
        "label_smoothing": [-0.1, 1.1, math.nan],
        "accumulate": [0, -2],
        "eval_every": [0],
        "eval_batches": [0, -1],
        "ignore_index": [1.5, "ham"],
        "seed": [-1, 2**63, None],
    }.items(),
)
def test_an_invalid_setting_is_refused_before_training(name, values):
    task, (training, validation) = a_run()
    before = {key: array.copy() for key, array in task.params.items()}
    for value in values:
        with pytest.raises(InputError, match=f"^{name}: expected a (whole )?number.*, got "):
            fine_tune(task, training, validation, **RECIPE | {name: value})
    assert all(np.array_equal(task.params[key], array) for key, array in before.items())


def test_numpy_scalars_are_valid_settings():
    task, sets = a_run()
    history = fine_tune(task, *sets, **RECIPE | dict(epochs=np.int64(1), lr=np.float32(1e-3), ignore_index=np.int8(1)))
    assert len(history) == 4


@pytest.mark.parametrize(
    "sets, message",
    [
        (lambda training, validation: (training, []), "training, validation: expected two Loaders, or two sets"),
        (lambda training, validation: ([("hi", "label 0")], validation), "training, validation: expected two Loaders"),
    ],
)
def test_a_loader_and_a_plain_set_together_are_refused(sets, message):
    task, loaders = a_run()
    with pytest.raises(InputError, match=message):
        fine_tune(task, *sets(*loaders), **RECIPE)


def test_training_without_a_validation_set_skips_evaluations():
    found, (training, _) = a_run()
    history = fine_tune(found, training, **RECIPE)
    expected, (training, validation) = a_run()
    never = dict(eval_every=10**6, eval_batches=1)
    other = fine_tune(expected, training, validation, **RECIPE | never)
    assert history["loss"].count() == 6 and list(history) == ["epoch", "step", "examples", "loss"]
    assert history["loss"][0] == other["loss"][0]  # later ones differ: an evaluation draws random numbers


def test_an_empty_validation_set_is_refused():
    task, (training, validation) = a_run()
    validation.indices, validation.numbers = validation.indices[:0], validation.numbers[:0]
    with pytest.raises(InputError, match="the validation set is empty. Give it at least one message"):
        fine_tune(task, training, validation, **RECIPE)


@pytest.mark.parametrize("choice", ["head", "last_block", "last_two_blocks", "all", "h.1.attn.*,wpe.weight"])
def test_training_changes_every_trainable_parameter_and_no_frozen_one(choice):
    task, (training, validation) = a_run(choice)
    before = {name: array.copy() for name, array in task.params.items()}
    fine_tune(task, training, validation, **RECIPE, report=lambda row: None)
    moved = {name for name in before if not np.array_equal(task.params[name], before[name])}
    assert moved == task.trainable
    assert {array.dtype for array in task.params.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("choice, position", [("last_block", "last"), ("all", "mean"), ("all", "first")])
def test_training_overfits_a_small_problem(choice, position):
    task, (training, validation) = a_run(choice, position, batch_size=7)
    rows = []
    recipe = RECIPE | dict(epochs=150, lr=1e-2, weight_decay=0, eval_every=1000)
    fine_tune(task, training, validation, **recipe, report=rows.append)
    assert rows[-2]["loss"] < 0.02
    assert accuracy(task, training, SingleProcess()) == 1


def test_training_with_fewer_messages_than_a_batch_is_refused():
    task, (training, validation) = a_run(batch_size=8)
    with pytest.raises(InputError, match="7 training messages do not fill one batch of 8"):
        fine_tune(task, training, validation, **RECIPE, report=lambda row: None)


@pytest.fixture
def wide(monkeypatch):
    """Treat every model as one of GPT-2's width, whose parameters are updated during backpropagation."""
    monkeypatch.setattr(Config, "narrow", False)


@pytest.mark.parametrize("choice", ["head", "last_block", "all"])
def test_updates_during_backpropagation_equal_updates_afterwards(choice, wide):
    found = []
    for clip in (math.inf, 1e9):  # with a limit, all gradients are needed together
        task, sets = a_run(choice)
        rows = []
        fine_tune(task, *sets, **RECIPE, clip=clip, report=rows.append)
        found.append((task.params, rows))
    assert found[0][1] == found[1][1]
    for name, array in found[0][0].items():
        assert np.array_equal(array, found[1][0][name]), name


@pytest.mark.parametrize("narrow", [True, False])
def test_a_loss_that_is_not_finite_ends_the_run_without_an_update(narrow, monkeypatch):
    monkeypatch.setattr(Config, "narrow", narrow)
    task, sets = a_run()
    task.params["head.bias"][:] = np.nan
    before = {name: array.copy() for name, array in task.params.items()}
    with pytest.raises(InputError, match="nan at step 0"):
        fine_tune(task, *sets, **RECIPE)
    for name, array in before.items():
        np.testing.assert_array_equal(task.params[name], array)


def test_parameters_are_updated_during_backpropagation_unless_all_gradients_are_needed_at_once(wide, monkeypatch):
    updates = []
    monkeypatch.setattr(AdamW, "update", lambda self, grads: updates.append(len(grads)))
    for settings, at_once in (({}, True), ({"clip": 1.0}, False), ({"accumulate": 2}, False), ({"exact": True}, False)):
        task, sets = a_run("all")
        updates.clear()
        fine_tune(task, *sets, **RECIPE | settings | {"epochs": 1})
        assert set(updates) == {1 if at_once else len(task.trainable)}, settings
