"""The fine-tuning loop, with the book's evaluations at the book's moments."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..model.classifier import classifier
from ..model.walk import Walk
from ..ops import cross_entropy
from ..text.batches import batches
from .adamw import AdamW
from .rng import loader_order


@dataclass
class Task:
    """A classifier and its messages, ready to train.

    params, config, trainable   the model: trainable parameters are writable arrays, changed in place
    prefix                      a FrozenPrefix of `depth` blocks over all messages
    position, causal            as in `classifier`
    """

    params: dict
    config: object
    trainable: frozenset
    prefix: object
    depth: int
    position: str = "last"
    causal: bool = True

    def logits(self, indices, trainable=frozenset()):
        """logits (B, C) of the prefix's messages of these indices, and a function dlogits -> {name: gradient}."""
        walk = Walk(self.params, trainable)
        x, lengths = self.prefix.batch(indices)
        logits, backward = classifier(walk, x, lengths, self.config, self.depth, self.position, self.causal)

        def gradients(dlogits):
            backward(dlogits)
            return walk.grads

        return logits, gradients


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
    losses = [float(cross_entropy(task.logits(indices)[0], labels)[0]) for indices, labels in _first(loader, most)]
    return float(np.mean(losses))


def accuracy(task, loader, most=None):
    """The share of messages classified rightly in the first `most` batches of a fresh pass over the loader."""
    right = [task.logits(indices)[0].argmax(axis=1) == labels for indices, labels in _first(loader, most)]
    return float(np.mean(np.concatenate(right)))


def _first(loader, most):
    for done, batch in enumerate(loader):
        if done == most:
            break
        yield batch


def fine_tune(task, training, validation, epochs, lr, weight_decay, eval_every, eval_batches, report):
    """Train the task's trainable parameters in place with AdamW.

    training, validation   Loaders
    eval_every, eval_batches   at steps 0, eval_every, … (after the update) the losses, and after each epoch the accuracies, are
                           averaged over that many batches
    report                 called with one dict for each step {epoch, step, examples, loss}, which at an evaluation has train_loss and
                           validation_loss too; and after each epoch {epoch, step, examples, train_accuracy, validation_accuracy}
    Raises InputError where the loss stops being a number, or the training messages do not fill one batch.
    """
    optimizer = AdamW(task.params, task.trainable, lr, weight_decay)
    step = examples = 0
    for epoch in range(1, epochs + 1):
        for indices, labels in training:
            logits, gradients = task.logits(indices, task.trainable)
            loss, d_loss = cross_entropy(logits, labels)
            if not np.isfinite(loss):
                raise InputError(f"the loss became {loss} at step {step}: lower the learning rate (now {lr:g}) or look at the weights")
            optimizer.step(gradients(d_loss()))
            examples += len(labels)
            row = {"epoch": epoch, "step": step, "examples": examples, "loss": float(loss)}
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
