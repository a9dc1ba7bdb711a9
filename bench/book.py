"""The book's chapter-6 script in PyTorch:
pandas, DataLoaders, losses every 50 steps, accuracies after each epoch and at the end.

    python -m bench.pytorch book MODEL DATA OUT.json [--steps N] [--shortcuts longest|none]

With --shortcuts, PyTorch uses numpygpt's shortcuts: the frozen blocks run once for each distinct message, and the last
block only for the pooled row. With --shortcuts none, no message is padded, and the file is read without CSV quoting, as
in `python -m numpygpt.train --model gpt2 --data sms`.

DATA is a file of ham and spam like UCI's, tab-separated without a header. numpygpt only reads MODEL. All operations on
the messages are written here, in the book's order. OUT.json gets the losses, the accuracies, the printed lines, and the
seconds of each step and each evaluated batch. With --steps the script stops early and reports the full number of steps.
"""

import csv
import time

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from numpygpt.checkpoints.load import load_checkpoint

from . import peer

EPOCHS, BATCH_SIZE, EVAL_EVERY, EVAL_BATCHES = 5, 8, 50, 5
AT_ONCE = 1024  # tokens per forward pass of the frozen blocks; 512 and 2,048 are no faster


def loaders(data, encoding, n_positions, pad=True, shares=(0.7, 0.1)):
    """Return DataLoaders of (place, label) of the three sets, and the messages as tensors of ids, padded by default.

    shares   of the messages, for training and for validation
    """
    quoting = csv.QUOTE_MINIMAL if pad else csv.QUOTE_NONE
    frame = pd.read_csv(data, sep="\t", header=None, names=["Label", "Text"], keep_default_na=False, quoting=quoting)
    spam = frame[frame["Label"] == "spam"]
    ham = frame[frame["Label"] == "ham"]
    if len(ham) > len(spam):  # equal counts need no balancing
        ham = ham.sample(len(spam), random_state=123)
    balanced = pd.concat([ham, spam]).sample(frac=1, random_state=123).reset_index(drop=True)
    first, second = int(len(balanced) * shares[0]), int(len(balanced) * shares[0]) + int(len(balanced) * shares[1])

    encoded = [encoding.encode_ordinary(text) for text in balanced["Text"]]
    longest = min(max(map(len, encoded[:first] if pad else encoded)), n_positions)
    messages = [torch.tensor(ids[:longest] + [encoding.eot_token] * (longest - len(ids)) * pad) for ids in encoded]
    examples = list(zip(range(len(messages)), balanced["Label"].map({"ham": 0, "spam": 1})))
    return (
        DataLoader(examples[:first], BATCH_SIZE, shuffle=True, drop_last=True),
        DataLoader(examples[first:second], BATCH_SIZE),
        DataLoader(examples[second:], BATCH_SIZE),
        messages,
    )


def whole_model(gpt2, messages):
    """Return a function from places of messages to their logits, as in the book: all blocks, all rows."""
    return lambda places: gpt2.classify(torch.stack([messages[i] for i in places]))


def rows_kept(gpt2, messages, depth):
    """Run the lowest `depth` blocks once per distinct message. Return the rows (T, D) of each message."""
    distinct = {tuple(ids.tolist()): ids for ids in messages}
    rows = dict(zip(distinct, peer.frozen_rows(gpt2, list(distinct.values()), depth, AT_ONCE)))
    return [rows[tuple(ids.tolist())] for ids in messages]


def with_shortcuts(gpt2, messages):
    """Run the frozen blocks once per distinct message. Return a function from places of messages to their logits."""
    depth = len(gpt2.h) - 1
    rows = rows_kept(gpt2, messages, depth)
    last = torch.tensor([len(ids) - 1 for ids in messages])
    return lambda places: gpt2.classify_above(
        pad_sequence([rows[i] for i in places], batch_first=True), last[places], depth
    )


class Evaluation:
    """Return the book's two measures over the first `most` batches of a new pass over a loader, or over all batches."""

    def __init__(self, classify):
        self.classify, self.seconds = classify, []

    def loss(self, loader, most):
        losses = [F.cross_entropy(logits, labels).item() for logits, labels in self._outputs(loader, most)]
        return sum(losses) / len(losses)

    def accuracy(self, loader, most=None):
        right = torch.cat([logits.argmax(dim=1) == labels for logits, labels in self._outputs(loader, most)])
        return right.double().mean().item()

    def accuracies(self, sets):
        return {name: self.accuracy(loader) for name, loader in sets.items()}

    def _outputs(self, loader, most):
        for number, (places, labels) in enumerate(loader):
            if number == most:
                break
            start = time.perf_counter()
            with torch.no_grad():
                logits = self.classify(places)
            self.seconds.append(time.perf_counter() - start)
            yield logits, labels


def fine_tune(classify, learn, training, validation, evaluation, epochs, most=None):
    """Train for `epochs` epochs, or at most `most` steps. Return
    {"step_losses", "step_seconds", "losses" {step: (training, validation)}, "log" (the printed lines)}.

    learn   (logits, labels) -> loss, a function that makes one update
    """
    done = {"step_losses": [], "step_seconds": [], "losses": {}, "log": []}

    def say(line):
        print(line, flush=True)
        done["log"].append(line)

    for epoch in range(1, epochs + 1):
        for places, labels in training:
            step, start = len(done["step_losses"]), time.perf_counter()
            if step == most:
                return done
            done["step_losses"].append(learn(classify(places), labels))
            done["step_seconds"].append(time.perf_counter() - start)
            if step % EVAL_EVERY == 0:
                train, val = (evaluation.loss(part, EVAL_BATCHES) for part in (training, validation))
                done["losses"][step] = train, val
                say(f"Ep {epoch} (Step {step:06d}): Train loss {train:.3f}, Val loss {val:.3f}")
        train, val = (evaluation.accuracy(part, EVAL_BATCHES) for part in (training, validation))
        say(f"Training accuracy: {train:.2%} | Validation accuracy: {val:.2%}")
    return done


def run(model, data, epochs=EPOCHS, steps=None, shortcuts=None):
    """Train on the messages of a file. Return the contents of OUT.json.

    model       as in load_checkpoint
    steps       stop after this many steps
    shortcuts   "longest" or "none": use numpygpt's shortcuts, with the book's padding or with none
    """
    config, params, encoding = load_checkpoint(model)
    training, validation, test, messages = loaders(data, encoding, config.n_positions, shortcuts != "none")
    gpt2 = peer.load(config, params)
    del params
    torch.manual_seed(123)
    gpt2.head = nn.Linear(config.n_embd, 2)
    chosen = (f"h.{config.n_layer - 1}.", "ln_f.", "head.")
    learning = peer.freeze(gpt2, {name for name, _ in gpt2.named_parameters() if name.startswith(chosen)})
    torch.manual_seed(123)
    classify = (with_shortcuts if shortcuts else whole_model)(gpt2, messages)
    evaluation = Evaluation(classify)
    optimizer = peer.adamw(learning)

    def learn(logits, labels):
        return peer.train_step(F.cross_entropy(logits, labels), optimizer)

    report = fine_tune(classify, learn, training, validation, evaluation, epochs, steps)
    sets = {"training": training, "validation": validation, "test": test}
    report["accuracy"] = {} if steps else evaluation.accuracies(sets)

    report["steps"] = epochs * len(training)
    evaluations = len(range(0, report["steps"], EVAL_EVERY)) + epochs
    evaluated = sum(min(EVAL_BATCHES, len(loader)) for loader in (training, validation))
    report["batches"] = evaluations * evaluated + sum(map(len, sets.values()))
    return report | {"batch_seconds": evaluation.seconds}
