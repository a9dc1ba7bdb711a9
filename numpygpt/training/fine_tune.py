"""The fine-tuning loop, with the book's evaluations at the book's moments."""

import math
from dataclasses import dataclass

import numpy as np

from ..model.classifier import classifier
from ..model.lora import adapted_weights, merge
from ..model.tape import Tape
from ..ops import cross_entropy
from ..system.errors import InputError
from ..text.batches import batches
from .adamw import AdamW
from .rng import loader_order


@dataclass
class Task:
    """A classifier and its messages, ready to train.

    params, config, trainable   the model: trainable parameters are writable arrays, changed in place
    prefix                      a FrozenPrefix of `depth` blocks over all messages
    position, causal            as in `classifier`
    lora_scale                  alpha / rank, where params has LoRA's adapters
    ignore_index                as in `cross_entropy`
    """

    params: dict
    config: object
    trainable: frozenset
    prefix: object
    depth: int
    position: str = "last"
    causal: bool = True
    lora_scale: float | None = None
    ignore_index: int | None = None

    def logits(self, indices, trainable=frozenset()):
        """logits (B, C) of the prefix's messages of these indices, and a function dlogits -> {name: gradient}."""
        params, wanted, d_merge = self.params, trainable, None
        if self.lora_scale is not None:
            params, d_merge = merge(params, self.config, self.lora_scale)
            wanted = trainable | adapted_weights(self.config) if trainable else trainable
        tape = Tape(params, wanted)
        x, lengths = self.prefix.batch(indices)
        logits, backward = classifier(tape, x, lengths, self.config, self.depth, self.position, self.causal)

        def gradients(dlogits):
            backward(dlogits)
            grads = d_merge(tape.grads) if d_merge else tape.grads
            return {name: grads[name] for name in trainable}

        return logits, gradients

    def loss(self, indices, labels, trainable=frozenset()):
        """The mean cross-entropy of the messages of these indices, and a function () -> {name: gradient}.

        Raises InputError where every one of them has the label to ignore: their mean would be no number.
        """
        if self.ignore_index is not None and (labels == self.ignore_index).all():
            raise InputError(
                f"a batch has only messages of the ignored label {self.ignore_index}: use larger batches or another label"
            )
        logits, gradients = self.logits(indices, trainable)
        loss, d_loss = cross_entropy(logits, labels, self.ignore_index)
        return float(loss), lambda: gradients(d_loss())


@dataclass
class Loader:
    """Batches of (indices, labels) in the order in which a PyTorch DataLoader would give them; each pass draws from the generator."""

    indices: np.ndarray  # (n,) of the messages in the task's prefix
    labels: np.ndarray  # (n,)
    batch_size: int
    generator: object
    shuffle: bool = False  # also drops the incomplete last batch, as the book's training loader does

    def __len__(self):
        return len(self.labels) // self.batch_size if self.shuffle else -(-len(self.labels) // self.batch_size)

    def __iter__(self):
        order = loader_order(self.generator, len(self.labels), self.shuffle)
        for batch in batches(order, self.batch_size, drop_last=self.shuffle):
            yield self.indices[batch], self.labels[batch]


def mean_loss(task, loader, most=None):
    """The mean of the losses of the first `most` batches (all, unless told) of a fresh pass over the loader."""
    return float(np.mean([task.loss(indices, labels)[0] for indices, labels in _first(loader, most)]))


def accuracy(task, loader, most=None):
    """The share of messages classified rightly in the first `most` batches of a fresh pass over the loader."""
    right = [task.logits(indices)[0].argmax(axis=1) == labels for indices, labels in _first(loader, most)]
    return float(np.mean(np.concatenate(right)))


def _first(loader, most):
    for done, batch in enumerate(loader):
        if done == most:
            break
        yield batch


def _add(total, grads, factor):
    """total + factor * grads, in the memory of grads."""
    for name, gradient in grads.items():
        if factor != 1:
            gradient *= factor
        if name in total:
            gradient += total[name]
    return grads


def fine_tune(task, training, validation, *, epochs, lr, weight_decay, accumulate, eval_every, eval_batches, report):
    """Train the task's trainable parameters in place with AdamW.

    training, validation   Loaders
    accumulate   batches to an update: each one's loss is divided by that many, the gradients add up, and the update comes after every
                 so-manieth batch and after the last of an epoch. A step is a batch, as in the book.
    eval_every, eval_batches   at steps 0, eval_every, … (after the update) the losses, and after each epoch the accuracies, are
                           averaged over that many batches
    report                 called with one dict for each step {epoch, step, examples, loss}, which at an evaluation has train_loss and
                           validation_loss too; and after each epoch {epoch, step, examples, train_accuracy, validation_accuracy}
    Raises InputError where the loss stops being a number, or the training messages do not fill one batch.
    """
    optimizer = AdamW(task.params, task.trainable, lr, weight_decay)
    step = examples = 0
    for epoch in range(1, epochs + 1):
        total = {}
        for number, (indices, labels) in enumerate(training, start=1):
            loss, gradients = task.loss(indices, labels, task.trainable)
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss became {loss} at step {step}: lower the learning rate (now {lr:g}) or look at the weights"
                )
            total = _add(total, gradients(), 1 / accumulate)
            if number % accumulate == 0 or number == len(training):
                optimizer.step(total)
                total = {}
            examples += len(labels)
            row = {"epoch": epoch, "step": step, "examples": examples, "loss": loss}
            if step % eval_every == 0:
                row["train_loss"] = mean_loss(task, training, eval_batches)
                row["validation_loss"] = mean_loss(task, validation, eval_batches)
            report(row)
            step += 1
        train_accuracy = accuracy(task, training, eval_batches)
        validation_accuracy = accuracy(task, validation, eval_batches)
        report(
            {"epoch": epoch, "step": step - 1, "examples": examples}
            | {"train_accuracy": train_accuracy, "validation_accuracy": validation_accuracy}
        )
