"""The book's fine-tuning script in PyTorch:
DataLoaders, losses every 50 steps, accuracies after each epoch and at the end.

    python -m bench.peer_script MODEL DATA OUT.json [--steps N]

It reads the files and cuts the sets with numpygpt's functions, which do as the book does, and so sees the same
messages. OUT.json gets the losses, the accuracies, and the seconds that each step and each evaluated batch took. With
--steps it stops after that many, and says how many there would have been.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.model.trainable import trainable_names
from numpygpt.text.batches import encode, padded_length
from numpygpt.text.messages import label_names, read_messages
from numpygpt.text.sources import find_messages
from numpygpt.text.split import balance, split

from . import peer

EPOCHS, BATCH_SIZE, EVAL_EVERY, EVAL_BATCHES = 5, 8, 50, 5


def loaders(data, encoding, n_positions):
    """(the number of labels, DataLoaders of the training, validation and test sets)"""
    messages = read_messages(find_messages(data), book_quotes=True)
    labels, sets = label_names(messages), split(balance(messages))
    pad_to = padded_length(
        "longest", [len(ids) for ids in encode(sets[0]["Text"], encoding, None, n_positions)], n_positions
    )
    made = []
    for part in sets:
        ids = torch.tensor([ids.tolist() for ids in encode(part["Text"], encoding, pad_to, n_positions)])
        numbers = torch.tensor([labels.index(label) for label in part["Label"]])
        first = not made
        made.append(DataLoader(TensorDataset(ids, numbers), BATCH_SIZE, shuffle=first, drop_last=first))
    return len(labels), made


class Evaluation:
    """The book's two measures over the first `most` batches of a fresh pass over a loader, or over all of them."""

    def __init__(self, model):
        self.model, self.seconds = model, []

    def loss(self, loader, most):
        losses = [F.cross_entropy(logits, labels).item() for logits, labels in self._outputs(loader, most)]
        return sum(losses) / len(losses)

    def accuracy(self, loader, most=None):
        right = torch.cat([logits.argmax(dim=1) == labels for logits, labels in self._outputs(loader, most)])
        return right.float().mean().item()

    def _outputs(self, loader, most):
        for number, (ids, labels) in enumerate(loader):
            if number == most:
                break
            start = time.perf_counter()
            with torch.no_grad():
                logits = self.model.classify(ids)
            self.seconds.append(time.perf_counter() - start)
            yield logits, labels


def fine_tune(model, optimizer, training, validation, evaluation, most):
    """Train; returns ({step: (training loss, validation loss)}, seconds of each step)."""
    losses, seconds = {}, []
    for epoch in range(1, EPOCHS + 1):
        for ids, labels in training:
            start = time.perf_counter()
            peer.train_step(F.cross_entropy(model.classify(ids), labels), optimizer)
            seconds.append(time.perf_counter() - start)
            step = len(seconds) - 1
            if step % EVAL_EVERY == 0:
                losses[step] = [evaluation.loss(loader, EVAL_BATCHES) for loader in (training, validation)]
                print(
                    f"Ep {epoch} (Step {step:06d}): Train loss {losses[step][0]:.3f}, Val loss {losses[step][1]:.3f}",
                    flush=True,
                )
            if len(seconds) == most:
                return losses, seconds
        shares = [evaluation.accuracy(loader, EVAL_BATCHES) for loader in (training, validation)]
        print(f"Training accuracy: {shares[0]:.2%} | Validation accuracy: {shares[1]:.2%}", flush=True)
    return losses, seconds


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.peer_script", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args(argv)

    config, params, encoding = load_checkpoint(args.model)
    labels, (training, validation, test) = loaders(args.data, encoding, config.n_positions)
    model = peer.load(config, params)
    del params
    torch.manual_seed(123)
    model.head = nn.Linear(config.n_embd, labels)
    learning = peer.freeze(model, trainable_names("last_block", dict(model.named_parameters()), config))
    torch.manual_seed(123)
    evaluation = Evaluation(model)
    losses, seconds = fine_tune(model, peer.adamw(learning), training, validation, evaluation, args.steps)
    steps = EPOCHS * len(training)
    sets = {"training": training, "validation": validation, "test": test}
    accuracy = {} if args.steps else {name: evaluation.accuracy(loader) for name, loader in sets.items()}

    evaluations = len(range(0, steps, EVAL_EVERY)) + EPOCHS
    batches = evaluations * sum(min(EVAL_BATCHES, len(loader)) for loader in (training, validation)) + sum(
        map(len, sets.values())
    )
    report = {"losses": losses, "accuracy": accuracy, "steps": steps, "batches": batches}
    report |= {"step_seconds": seconds, "batch_seconds": evaluation.seconds}
    args.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
