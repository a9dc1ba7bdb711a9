"""The loop: which messages it takes in which order, when it evaluates,
what it reports, what it changes, and that it learns."""

import numpy as np
import pytest

from numpygpt.gradcheck import SMALL, random_weights
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.prefix import FrozenPrefix
from numpygpt.model.trainable import frozen_depth, trainable_names
from numpygpt.ops import cross_entropy
from numpygpt.system.errors import InputError
from numpygpt.training.adamw import AdamW
from numpygpt.training.fine_tune import Loader, Task, accuracy, fine_tune, mean_loss
from numpygpt.training.rng import Generator, loader_order

LABELS = np.arange(11) % 3
RECIPE = dict(epochs=2, lr=1e-3, weight_decay=0.1, accumulate=1, eval_every=3, eval_batches=2)


def a_task(choice="last_block", position="last"):
    """A classifier of eleven messages, each of which tells its label by its first token and by its last."""
    rng = np.random.default_rng(0)
    params = random_weights(rng, parameter_shapes(SMALL) | {"head.weight": (6, 3), "head.bias": (3,)})
    params = {name: a.astype(np.float32) for name, a in params.items()}
    words = [rng.integers(0, 8, T) for T in (2, 5, 1, 3, 3, 2, 0, 6, 1, 2, 5)]
    messages = [np.array([label, *middle, label]) for middle, label in zip(words, 8 + LABELS)]
    trainable = trainable_names(choice, params, SMALL)
    depth = frozen_depth(trainable, SMALL)
    return Task(params, SMALL, trainable, FrozenPrefix(params, SMALL, messages, depth, position), depth, position)


def loaders(seed=5, batch_size=2):
    """Seven messages to train, four to validate."""
    generator = Generator(seed)
    return (
        Loader(np.arange(7), LABELS[:7], batch_size, generator, shuffle=True),
        Loader(np.arange(7, 11), LABELS[7:], 3, generator),
    )


def test_a_training_loader_shuffles_and_drops_the_rest_and_the_others_do_neither():
    training, validation = loaders()
    order = loader_order(Generator(5), 7, shuffle=True)
    batches = list(training)
    assert len(training) == len(batches) == 3
    assert np.array_equal(np.concatenate([indices for indices, _ in batches]), order[:6])
    assert all(np.array_equal(labels, LABELS[indices]) for indices, labels in batches)
    assert [indices.tolist() for indices, _ in validation] == [[7, 8, 9], [10]] and len(validation) == 2
    again = np.concatenate([indices for indices, _ in training])
    assert not np.array_equal(again, order[:6]), "a new order every pass"


def test_the_loop_takes_batches_and_evaluates_when_the_book_does():
    task, (training, validation) = a_task(), loaders()
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


def test_history_is_that_of_a_loop_written_out():
    """An evaluation moves the generator, and comes after the update."""
    task, (training, validation) = a_task(), loaders()
    rows = []
    fine_tune(task, training, validation, **RECIPE, report=rows.append)

    task, (training, validation) = a_task(), loaders()
    optimizer = AdamW(task.params, task.trainable, lr=1e-3, weight_decay=0.1)
    expected = []
    for _ in range(2):
        for number, (indices, labels) in enumerate(training):
            logits, gradients = task.logits(indices, task.trainable)
            loss, d_loss = cross_entropy(logits, labels)
            optimizer.step(gradients(d_loss()))
            expected.append(float(loss))
            if number == 0:  # steps 0 and 3
                expected += [mean_loss(task, training, 2), mean_loss(task, validation, 2)]
        expected += [accuracy(task, training, 2), accuracy(task, validation, 2)]
    names = ("loss", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    assert [row[name] for row in rows for name in names if name in row] == expected


def test_losses_are_averaged_over_batches_and_accuracies_over_messages():
    task, (_, validation) = a_task(), loaders()
    logits, _ = task.logits(np.arange(7, 11))
    first, second = (float(cross_entropy(logits[part], LABELS[7:][part])[0]) for part in (slice(3), slice(3, 4)))
    assert mean_loss(task, validation) == pytest.approx((first + second) / 2, rel=1e-5)
    assert mean_loss(task, validation, most=1) == pytest.approx(first, rel=1e-5)
    right = logits.argmax(axis=1) == LABELS[7:]
    assert accuracy(task, validation) == right.mean()
    assert accuracy(task, validation, most=1) == right[:3].mean()


@pytest.mark.parametrize("accumulate, updates", [(2, [[0, 1], [2]]), (3, [[0, 1, 2]]), (5, [[0, 1, 2]])])
def test_accumulated_batches_make_one_update_each_divided_by_their_number(accumulate, updates):
    recipe = RECIPE | dict(epochs=1, accumulate=accumulate, eval_every=100)
    task, (training, validation) = a_task(), loaders()
    batches = list(loaders()[0])
    fine_tune(task, training, validation, **recipe, report=lambda row: None)

    expected = a_task()
    optimizer = AdamW(expected.params, expected.trainable, lr=1e-3, weight_decay=0.1)
    for update in updates:
        total = dict.fromkeys(expected.trainable, 0)
        for number in update:
            _, gradients = expected.loss(*batches[number], expected.trainable)
            total = {name: total[name] + gradient / accumulate for name, gradient in gradients().items()}
        optimizer.step(total)
    for name in task.params:
        np.testing.assert_allclose(task.params[name], expected.params[name], rtol=2e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("choice", ["head", "last_block", "last_two_blocks", "all", "h.1.attn.*,wpe.weight"])
def test_what_is_frozen_is_bitwise_unchanged_and_what_is_trainable_moves(choice):
    task, (training, validation) = a_task(choice), loaders()
    before = {name: array.copy() for name, array in task.params.items()}
    fine_tune(task, training, validation, **RECIPE, report=lambda row: None)
    moved = {name for name in before if not np.array_equal(task.params[name], before[name])}
    assert moved == task.trainable
    assert {array.dtype for array in task.params.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("choice, position", [("last_block", "last"), ("all", "mean"), ("all", "first")])
def test_it_learns_a_small_problem_by_heart(choice, position):
    task, (training, validation) = a_task(choice, position), loaders(batch_size=7)
    rows = []
    recipe = RECIPE | dict(epochs=150, lr=1e-2, weight_decay=0, eval_every=1000)
    fine_tune(task, training, validation, **recipe, report=rows.append)
    assert rows[-2]["loss"] < 0.02
    assert accuracy(task, training) == 1


def test_a_loss_that_is_no_number_ends_the_run_and_says_where():
    task, (training, validation) = a_task(), loaders()
    task.params["head.bias"][:] = np.nan
    with pytest.raises(InputError, match="nan at step 0"):
        fine_tune(task, training, validation, **RECIPE, report=lambda row: None)


def test_too_few_messages_for_one_batch_are_refused():
    task, (training, validation) = a_task(), loaders(batch_size=8)
    with pytest.raises(InputError, match="7 training messages do not fill one batch of 8"):
        fine_tune(task, training, validation, **RECIPE, report=lambda row: None)
