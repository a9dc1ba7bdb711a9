"""Fine-tuning: the training loop with its evaluations and reports, shared by ranks and cores, saved and resumed."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ..model.own_operations import OwnOperations
from ..model.parameters import fingerprint
from ..system.blas import threads
from ..system.errors import InputError
from ..system.settings import FINE_TUNING, SCHEDULES, checked
from ..system.single_process import SingleProcess
from .adamw import AdamW
from .batch import batch_loss
from .label_weights import label_weights as weights_of
from .loader import Loader, check_sets, loaders
from .loop import train
from .measures import accuracy, mean_loss
from .ranks import CHECK_EVERY
from .recipes import BOOK, default_setting
from .resume import ANY, ResumeFile
from .schedule import default_lr
from .state import State

if TYPE_CHECKING:
    import pandas as pd

GRAIN = 2  # messages per part of a batch with `exact`: a batch of 8 gives work to four ranks
HALF = 4  # messages per part that a core takes, for a narrow model: smaller parts cost more calls than they save


def _nothing(*_):
    pass


def fine_tune(
    clf,
    training,
    validation=None,
    *,
    epochs: int | None = None,
    batch_size: int = 8,
    lr: float | None = None,
    weight_decay: float = 0.1,
    warmup: float = BOOK["warmup"],
    schedule: str | None = None,
    clip: float = BOOK["clip"],
    label_smoothing: float | None = None,
    accumulate: int = 1,
    eval_every: int = 50,
    eval_batches: int = 5,
    ignore_index: int | None = None,
    label_weights: str | None = None,
    seed: int = 123,
    report: Callable[[dict], None] = _nothing,
    after_epoch: Callable[[int], None] = _nothing,
    resume: ResumeFile | None = None,
    ranks=SingleProcess(),
    exact: bool = False,
    ops: dict[str, Callable] | None = None,
) -> "pd.DataFrame":
    """Train the classifier's trainable parameters in place with AdamW.

    Parameters
    ----------
    clf : Classifier
        The classifier to train. Its other parameters are frozen.
    training, validation : list of (text, label), tuple (texts, labels), DataFrame or Loader
        The two sets: pairs, a tuple of a list of texts and a list of labels, DataFrames with a column text (or message)
        and a column label (or class), in any case, or two Loaders from `loaders`, whose batch_size and seed then apply.
        Without a validation set, training makes no evaluations.
    epochs : int, optional
        Passes over the training messages (default: 5 for a model of GPT-2's widths, 768 and up; 3 for a narrower one).
    batch_size : int
        Messages in a batch. A step is a batch, as in the book.
    lr : float, optional
        The peak learning rate (default: `default_lr`, which depends on the model's width).
    weight_decay : float
        AdamW's decoupled weight decay.
    warmup : float
        Share of the updates over which the rate rises. That is round(warmup * updates) updates, where Python's `round`
        takes a half to the even number: 0.5 of 5 updates is 2 updates. A small share of few updates is no warm-up.
    schedule : {"constant", "cosine"}, optional
        The rate after the warm-up; see `learning_rate` (default: "constant" for GPT-2's widths, "cosine" for a narrower
        model).
    clip : float
        The largest norm of an update's gradient; inf means no limit.
    label_smoothing : float, optional
        From 0 to 1, as in PyTorch's cross_entropy. The losses of evaluations have no smoothing (default: 0 for GPT-2's
        widths, 0.1 for a narrower model).
    accumulate : int
        Batches per update. Each batch's loss, the mean over its messages, is divided by `accumulate`, and the gradients
        are summed. The update comes after every `accumulate` batches, and at the end of each epoch. A shorter last
        group of an epoch is divided by `accumulate` too, so its gradient is smaller.
    eval_every, eval_batches : int
        Losses are averaged over `eval_batches` batches at steps 0, eval_every, … (after the update), and accuracies
        after each epoch. A loss is nan if all messages of those batches have the ignored label.
    ignore_index : int, optional
        The number of a label whose messages are left out of the losses. A batch's loss is the mean over its other
        messages, as in PyTorch's cross_entropy. A batch without other messages adds no gradient, and its row has no
        loss. A group of such batches makes no update and no step of the schedule, which then ends before its last rate.
    label_weights : {"balanced"}, optional
        The labels' weights in the loss, as in PyTorch's cross_entropy. "balanced" gives every label the same weight in
        total: a message of a rare label counts more. A batch's loss is then the weighted mean over its messages. The
        losses of evaluations have no weights.
    seed : int
        Draws the order of the training messages, as PyTorch draws it.
    report : callable
        Called with a dict for each step, {epoch, step, examples, loss}. At an evaluation the dict also has train_loss
        and validation_loss. After each epoch it is {epoch, step, examples, train_accuracy, validation_accuracy}. The
        dict has no loss if all messages of the batch have the ignored label.
    after_epoch : callable
        Called with the number of each epoch that ends here, 1, 2, …, when `clf` has its parameters. A resumed run does
        not call it for the epochs before.
    resume : ResumeFile, optional
        A file that saves the run at intervals. If the file exists, training resumes from it. A resumed run ends with
        the same weights, bit for bit, and makes the same reports, starting with the earlier ones.
    ranks : training.ranks.Ranks
        The processes that train together. Each computes its part of every batch; rank 0 alone reports and saves.
    exact : bool
        Give the same bits with any number of ranks, if each rank has one BLAS thread. Gradients are computed for GRAIN
        messages at a time and summed in order.
    ops : dict of str to callable, optional
        Functions of your own that training runs in the place of the operations of these names in `numpygpt/ops`. Each
        takes the same arguments, and returns its result and its gradient functions, or one `backward`. The functions of
        the exercises fit. The frozen blocks and the evaluations use the shipped operations.

    Returns
    -------
    pandas.DataFrame
        The history: a row for each dict that `report` received.

    Raises
    ------
    InputError
        If a number is out of range; the loss is not finite; the training messages do not fill one batch; the validation
        set is empty; all messages of a set are ignored; a name in `ops` is unknown, or its function does not fit;
        or the run in the file has other settings (the error names the first).

    Examples
    --------
    >>> import numpygpt
    >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
    >>> messages = [("See you at six", "ham"), ("You have won a prize", "spam")] * 4
    >>> history = numpygpt.fine_tune(clf, messages, messages, epochs=2)
    >>> history[["epoch", "step", "examples"]].iloc[-1].tolist()
    [2, 1, 16]
    """
    if not hasattr(clf, "trainable"):
        raise InputError(f"clf: expected a Classifier, not a {type(clf).__name__}")
    if not isinstance(resume, ResumeFile | None):
        raise InputError(f"resume: expected a ResumeFile, not a {type(resume).__name__}")
    epochs, schedule, label_smoothing = (
        default_setting(clf.config, name, value)
        for name, value in (("epochs", epochs), ("schedule", schedule), ("label_smoothing", label_smoothing))
    )
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r}: use one of {', '.join(SCHEDULES)}")
    lr = default_lr(clf.config) if lr is None else lr
    settings: dict[str, Any] = dict(epochs=epochs, lr=lr, warmup=warmup, clip=clip, label_smoothing=label_smoothing)
    settings |= dict(accumulate=accumulate, eval_every=eval_every, eval_batches=eval_batches)
    settings |= dict(ignore_index=ignore_index, batch_size=batch_size, seed=seed, weight_decay=weight_decay)
    settings = checked(FINE_TUNING, settings) | dict(schedule=schedule, exact=exact)
    settings["label_weights"] = label_weights
    batch_size, seed, weight_decay = (settings.pop(name) for name in ("batch_size", "seed", "weight_decay"))
    sets = [training] if validation is None else [training, validation]
    if len({isinstance(part, Loader) for part in sets}) > 1:
        raise InputError("training, validation: expected two Loaders, or two sets of messages")
    if not isinstance(training, Loader):
        sets = loaders(clf, sets, batch_size, seed)
    training = sets[0]
    if training.seen is not None:
        clf.seen_tokens = training.seen if clf.seen_tokens is None else clf.seen_tokens | training.seen
    check_sets([part.numbers for part in sets], training.batch_size, ignore_index)
    ignore_index, eval_batches, exact, label_smoothing = (
        settings[name] for name in ("ignore_index", "eval_batches", "exact", "label_smoothing")
    )
    grain = GRAIN if exact else HALF if clf.config.narrow and ranks.size == 1 else None
    weights = weights_of(label_weights, training.numbers, len(clf.labels), ignore_index)  # (C,)
    own = OwnOperations(ops) if ops else None
    optimizer = AdamW(clf.params, clf.trainable, settings["lr"], weight_decay)
    # Update during backpropagation where nothing needs all gradients together.
    alone = grain is None and ranks.size == 1 and settings["accumulate"] == 1 and clf.lora_scale is None and not own
    at_once = optimizer if alone and settings["clip"] == math.inf else None
    state = State(optimizer, training.generator)

    def mean(messages):
        x, lengths, numbers = training.take(messages)
        return batch_loss(clf, x, lengths, numbers, training.prefix.depth, label_smoothing, weights, own, at_once)

    def gradient(batch):
        """Return (loss, gradients) of the mean over the batch's messages that count, computed by all ranks."""
        counted = batch[training.numbers[batch] != ignore_index]
        if not len(counted):
            return None, {}
        of_labels = None if weights is None else weights[training.numbers[counted]]
        loss, grads = ranks.gradient(mean, counted, training.lengths(counted), grain, of_labels)
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} at step {state.step}. Lower the learning rate (now {settings['lr']:g}) or "
                "check the weights"
            )
        return loss, grads

    evaluated = dict(zip(("train", "validation"), sets)) if len(sets) > 1 else {}

    def losses():
        return {
            f"{name}_loss": mean_loss(clf, part, ranks, eval_batches, ignore_index) for name, part in evaluated.items()
        }

    def accuracies():
        return {f"{name}_accuracy": accuracy(clf, part, ranks, eval_batches) for name, part in evaluated.items()}

    same = settings | _identity(sets, weight_decay, ranks) | {"ops": sorted(ops) if ops else None}
    report = _nothing if ranks.rank else report
    of_loop = ("epochs", "lr", "warmup", "schedule", "clip", "accumulate", "eval_every")
    rows = train(state, training, gradient, losses, accuracies, **{name: settings[name] for name in of_loop})
    with resume.keeping(state, same, ranks) if resume else nullcontext(_nothing) as keep:
        ranks.check_equal("where they begin", lambda: (state.step, _fingerprint(sets)))
        for row in state.rows:
            report(row)
        for row in rows:
            state.rows.append(row)
            report(row)
            if not state.batch and not ranks.rank:
                after_epoch(row["epoch"])
            keep(row)
            if state.step % CHECK_EVERY == 1:
                ranks.check_equal("their parameters", lambda: fingerprint(state.optimizer.params))
    if own is not None:
        own.note_unused()
    import pandas as pd

    return pd.DataFrame(state.rows)


def _identity(sets, weight_decay, ranks):
    """Return what must be equal, besides the settings, for a resumed run to give the same bits."""
    return {
        "batch_size": sets[0].batch_size,
        "weight_decay": weight_decay,
        "messages": _fingerprint(sets),
        "OPENBLAS_NUM_THREADS": threads() if ranks.size == 1 else ANY,
    }


def _fingerprint(sets):
    """Return the fingerprint of the messages of all sets."""
    prefix = sets[0].prefix
    numbers = {name: part.numbers for name, part in zip(("training", "validation"), sets)}
    return fingerprint({"slot": prefix.slot, "lengths": prefix.lengths} | numbers)
