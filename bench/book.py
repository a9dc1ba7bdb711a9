"""The book's chapter-6 script in PyTorch:
pandas, DataLoaders, losses every 50 steps, accuracies after each epoch and at the end.

    python -m bench.book MODEL DATA OUT.json [--epochs N] [--steps N]

DATA is a file of ham and spam, tab-separated without a header, as UCI's is. Of numpygpt only the reader of MODEL is
used; what is done with the messages, and in which order, is written here as the book has it. OUT.json gets the losses,
the accuracies, the printed lines, and the seconds that each step and each evaluated batch took. With --steps it stops
after that many, and says how many there would have been.
"""

import argparse
import json
import time
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from numpygpt.checkpoints.load import load_checkpoint

from . import peer

EPOCHS, BATCH_SIZE, EVAL_EVERY, EVAL_BATCHES = 5, 8, 50, 5


def loaders(data, encoding, n_positions):
    """DataLoaders of the training, validation and test sets."""
    frame = pd.read_csv(data, sep="\t", header=None, names=["Label", "Text"], keep_default_na=False)
    spam = frame[frame["Label"] == "spam"]
    ham = frame[frame["Label"] == "ham"]
    if len(ham) > len(spam):  # as many already: nothing to balance
        ham = ham.sample(len(spam), random_state=123)
    balanced = pd.concat([ham, spam]).sample(frac=1, random_state=123).reset_index(drop=True)
    first, second = int(len(balanced) * 0.7), int(len(balanced) * 0.7) + int(len(balanced) * 0.1)

    encoded = [encoding.encode_ordinary(text) for text in balanced["Text"]]
    longest = min(max(map(len, encoded[:first])), n_positions)
    padded = [torch.tensor(ids[:longest] + [encoding.eot_token] * (longest - len(ids))) for ids in encoded]
    examples = list(zip(padded, balanced["Label"].map({"ham": 0, "spam": 1})))
    return (
        DataLoader(examples[:first], BATCH_SIZE, shuffle=True, drop_last=True),
        DataLoader(examples[first:second], BATCH_SIZE),
        DataLoader(examples[second:], BATCH_SIZE),
    )


class Evaluation:
    """The book's two measures over the first `most` batches of a fresh pass over a loader, or over all of them."""

    def __init__(self, model):
        self.model, self.seconds = model, []

    def loss(self, loader, most):
        losses = [F.cross_entropy(logits, labels).item() for logits, labels in self._outputs(loader, most)]
        return sum(losses) / len(losses)

    def accuracy(self, loader, most=None):
        right = torch.cat([logits.argmax(dim=1) == labels for logits, labels in self._outputs(loader, most)])
        return right.double().mean().item()

    def _outputs(self, loader, most):
        for number, (ids, labels) in enumerate(loader):
            if number == most:
                break
            start = time.perf_counter()
            with torch.no_grad():
                logits = self.model.classify(ids)
            self.seconds.append(time.perf_counter() - start)
            yield logits, labels


def fine_tune(model, optimizer, training, validation, evaluation, epochs, most):
    """Train for so many epochs, or `most` steps of them; returns
    {"step_losses", "step_seconds", "losses" {step: (training, validation)}, "log", the lines printed}."""
    done = {"step_losses": [], "step_seconds": [], "losses": {}, "log": []}

    def say(line):
        print(line, flush=True)
        done["log"].append(line)

    for epoch in range(1, epochs + 1):
        for ids, labels in training:
            step, start = len(done["step_losses"]), time.perf_counter()
            if step == most:
                return done
            done["step_losses"].append(peer.train_step(F.cross_entropy(model.classify(ids), labels), optimizer))
            done["step_seconds"].append(time.perf_counter() - start)
            if step % EVAL_EVERY == 0:
                train, val = (evaluation.loss(part, EVAL_BATCHES) for part in (training, validation))
                done["losses"][step] = train, val
                say(f"Ep {epoch} (Step {step:06d}): Train loss {train:.3f}, Val loss {val:.3f}")
        train, val = (evaluation.accuracy(part, EVAL_BATCHES) for part in (training, validation))
        say(f"Training accuracy: {train:.2%} | Validation accuracy: {val:.2%}")
    return done


def run(model, data, epochs=EPOCHS, steps=None):
    """Train on the messages of a file; returns what the command writes.

    model   as load_checkpoint takes it
    steps   stop after so many
    """
    config, params, encoding = load_checkpoint(model)
    training, validation, test = loaders(data, encoding, config.n_positions)
    gpt2 = peer.load(config, params)
    del params
    torch.manual_seed(123)
    gpt2.head = nn.Linear(config.n_embd, 2)
    chosen = (f"h.{config.n_layer - 1}.", "ln_f.", "head.")
    learning = peer.freeze(gpt2, {name for name, _ in gpt2.named_parameters() if name.startswith(chosen)})
    torch.manual_seed(123)
    evaluation = Evaluation(gpt2)
    report = fine_tune(gpt2, peer.adamw(learning), training, validation, evaluation, epochs, steps)
    sets = {"training": training, "validation": validation, "test": test}
    report["accuracy"] = {} if steps else {name: evaluation.accuracy(loader) for name, loader in sets.items()}

    report["steps"] = epochs * len(training)
    evaluations = len(range(0, report["steps"], EVAL_EVERY)) + epochs
    evaluated = sum(min(EVAL_BATCHES, len(loader)) for loader in (training, validation))
    report["batches"] = evaluations * evaluated + sum(map(len, sets.values()))
    return report | {"batch_seconds": evaluation.seconds}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.book", description=__doc__.partition("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args(argv)
    args.out.write_text(json.dumps(run(args.model, args.data, args.epochs, args.steps)))


if __name__ == "__main__":
    main()
