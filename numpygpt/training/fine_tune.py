"""Fine-tuning: the training loop, with its evaluations, shared by ranks and cores, kept in a file, and reported."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pandas as pd

from ..model.parameters import fingerprint
from ..system.blas import threads
from ..system.errors import InputError
from ..system.settings import FINE_TUNING, checked
from ..system.single_process import SingleProcess
from .adamw import AdamW
from .loader import Loader, check_sets, loaders
from .loop import train
from .measures import accuracy, mean_loss
from .ranks import CHECK_EVERY
from .recipes import DEFAULT
from .resume import ANY, ResumeFile
from .schedule import SCHEDULES, default_lr
from .state import State

GRAIN = 2  # messages to a part of a batch, where the bits must not depend on the ranks: a batch of 8 keeps four busy
HALF = 4  # messages to a part that a core takes, of a narrow model: fewer are not worth the calls


def _nothing(*_):
    pass


def fine_tune(
    clf,
    training,
    validation,
    *,
    epochs: int = DEFAULT["epochs"],
    batch_size: int = 8,
    lr: float | None = None,
    weight_decay: float = 0.1,
    warmup: float = DEFAULT["warmup"],
    schedule: str = DEFAULT["schedule"],
    clip: float = DEFAULT["clip"],
    label_smoothing: float = DEFAULT["label_smoothing"],
    accumulate: int = 1,
    eval_every: int = 50,
    eval_batches: int = 5,
    ignore_index: int | None = None,
    seed: int = 123,
    report: Callable[[dict], None] = _nothing,
    resume: ResumeFile | None = None,
    ranks=SingleProcess(),
    exact: bool = False,
) -> pd.DataFrame:
    """Train the classifier's trainable parameters in place with AdamW. Return the history, a DataFrame of the rows
    reported.

    training, validation   what `loaders` takes, or two of the Loaders that it made (batch_size and seed are then
                           theirs)
    lr           the peak rate (default: default_lr's)
    warmup, schedule   the rate rises over this share of the updates, then stays ("constant") or falls along a "cosine":
                 see `learning_rate`. The warm-up has round(warmup * updates) updates, where Python's round takes a
                 half to the even number: 0.5 of 5 updates are 2. A small share of few updates is no warm-up.
    clip         the largest norm of an update's gradient
    label_smoothing   from 0 to 1, as in PyTorch's cross_entropy; the losses of evaluations have none
    accumulate   batches to an update. Each batch's loss, the mean over its messages, is divided by `accumulate`, and
                 the gradients add up. The update comes after every `accumulate` batches, and at the end of each epoch.
                 A shorter last group of an epoch is divided by `accumulate` too, so its gradient is smaller. A step is
                 a batch, as in the book.
    eval_every, eval_batches   at steps 0, eval_every, … (after the update) the losses, and after each epoch the
                 accuracies, are averaged over that many batches. A loss is nan where all messages of those batches
                 have the ignored label.
    ignore_index   the number of a label whose messages are left out of the losses: a batch's loss is the mean over its
                 other messages, as in PyTorch's cross_entropy. A batch without other messages adds no gradient, and its
                 row has no loss. A group of such batches alone makes no update, and no step of the schedule, which then
                 ends before its last rate.
    seed         draws the order of the training messages, as PyTorch would
    report       called with one dict for each step {epoch, step, examples, loss}, which at an evaluation has
                 train_loss and validation_loss too; and after each epoch {epoch, step, examples, train_accuracy,
                 validation_accuracy}. A row has no loss where all messages of its batch have the ignored label.
    resume       a file that keeps the run while it goes, and from which it goes on as if it had not been interrupted:
                 with the same weights in the end, bit for bit, and the same reports, the earlier ones first
    ranks        the `training.ranks.Ranks` that do this together: each takes its part of every batch; rank 0 alone
                 reports and saves
    exact        give the same bits with any number of ranks, if each has one BLAS thread: gradients are computed for
                 GRAIN messages at a time, and summed in their order

    Raises InputError for a number outside FINE_TUNING's bounds; where the loss stops being a number, the training
    messages do not fill one batch, there is no message to validate, or all messages of a set are ignored; and where the
    run in the file has other settings, naming the first of them.
    """
    if not hasattr(clf, "batch_loss"):
        raise InputError(f"clf: expected a Classifier, not a {type(clf).__name__}")
    if not isinstance(resume, ResumeFile | None):
        raise InputError(f"resume: expected a ResumeFile, not a {type(resume).__name__}")
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r}: use one of {', '.join(SCHEDULES)}")
    lr = default_lr(clf.config) if lr is None else lr
    settings: dict[str, Any] = dict(epochs=epochs, lr=lr, warmup=warmup, clip=clip, label_smoothing=label_smoothing)
    settings |= dict(accumulate=accumulate, eval_every=eval_every, eval_batches=eval_batches)
    settings |= dict(ignore_index=ignore_index, batch_size=batch_size, seed=seed, weight_decay=weight_decay)
    settings = checked(FINE_TUNING, settings) | dict(schedule=schedule, exact=exact)
    batch_size, seed, weight_decay = (settings.pop(name) for name in ("batch_size", "seed", "weight_decay"))
    if isinstance(training, Loader) != isinstance(validation, Loader):
        raise InputError("training, validation: give two Loaders, or two sets of messages")
    if not isinstance(training, Loader):
        training, validation = loaders(clf, (training, validation), batch_size, seed)
    check_sets((training.numbers, validation.numbers), training.batch_size, ignore_index)
    ignore_index, eval_batches, exact, label_smoothing = (
        settings[name] for name in ("ignore_index", "eval_batches", "exact", "label_smoothing")
    )
    grain = GRAIN if exact else HALF if clf.narrow and ranks.size == 1 else None
    state = State(AdamW(clf.params, clf.trainable, settings["lr"], weight_decay), training.generator)

    def mean(messages):
        return clf.batch_loss(*training.take(messages), training.prefix.depth, smoothing=label_smoothing)

    def gradient(batch):
        """Return (loss, gradients) of the mean over the batch's messages that count, computed by all ranks."""
        counted = batch[training.numbers[batch] != ignore_index]
        if not len(counted):
            return None, {}
        loss, grads = ranks.gradient(mean, counted, training.lengths(counted), grain)
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} at step {state.step}: lower the learning rate (now {settings['lr']:g}) or "
                "look at the weights"
            )
        return loss, grads

    def losses():
        sets = {"train_loss": training, "validation_loss": validation}
        return {name: mean_loss(clf, part, ranks, eval_batches, ignore_index) for name, part in sets.items()}

    def accuracies():
        sets = {"train_accuracy": training, "validation_accuracy": validation}
        return {name: accuracy(clf, part, ranks, eval_batches) for name, part in sets.items()}

    same = settings | _identity(training, validation, weight_decay, ranks)
    report = _nothing if ranks.rank else report
    of_loop = ("epochs", "lr", "warmup", "schedule", "clip", "accumulate", "eval_every")
    rows = train(state, training, gradient, losses, accuracies, **{name: settings[name] for name in of_loop})
    with resume.keeping(state, same, ranks) if resume else nullcontext(_nothing) as keep:
        ranks.check_equal("where they begin", lambda: (state.step, _fingerprint(training, validation)))
        for row in state.rows:
            report(row)
        for row in rows:
            state.rows.append(row)
            report(row)
            keep(row)
            if state.step % CHECK_EVERY == 1:
                ranks.check_equal("their parameters", lambda: fingerprint(state.optimizer.params))
    return pd.DataFrame(state.rows)


def _identity(training, validation, weight_decay, ranks):
    """What besides the settings must be the same for a run to go on with the same bits."""
    return {
        "batch_size": training.batch_size,
        "weight_decay": weight_decay,
        "messages": _fingerprint(training, validation),
        "OPENBLAS_NUM_THREADS": threads() if ranks.size == 1 else ANY,
    }


def _fingerprint(training, validation):
    """Of the messages of both sets."""
    messages = {"slot": training.prefix.slot, "lengths": training.prefix.lengths}
    return fingerprint(messages | {"training": training.numbers, "validation": validation.numbers})
