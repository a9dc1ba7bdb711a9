"""The default run of numpygpt.train in PyTorch: `mini`'s recipe, with the same messages, order, losses and accuracies.

    python -m bench.pytorch small MODEL DATA OUT.json [--steps N] [--shortcuts none]

PyTorch has no batch of messages of different lengths whose attention is as fast as that of a padded one. So each batch
is padded to its longest message. Attention is causal: padding after a message changes none of its rows, and only the
mean over the rows needs a mask. With --shortcuts, the frozen blocks run once for each distinct message.
"""

import math
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR

from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.text.split import shares
from numpygpt.training.recipes import SMALL
from numpygpt.training.schedule import default_lr

from . import book, peer

STARTED = "started"  # the line that says that all is loaded


def run(model, data, steps=None, shortcuts=None):
    """Train on the messages of a file. Return the contents of OUT.json, as `book.run` does."""
    config, params, encoding = load_checkpoint(model)
    training, validation, test, messages = book.loaders(data, encoding, config.n_positions, False, shares(Path(data)))
    gpt2, depth = peer.load(config, params), config.n_layer - 2
    torch.manual_seed(123)
    gpt2.head = nn.Linear(config.n_embd, 2)
    chosen = (*(f"h.{block}." for block in (depth, depth + 1)), "ln_f.", "head.")
    learning = peer.freeze(gpt2, {name for name, _ in gpt2.named_parameters() if name.startswith(chosen)})
    print(STARTED, flush=True)
    torch.manual_seed(123)
    lengths = torch.tensor([len(ids) for ids in messages])
    kept = book.rows_kept(gpt2, messages, depth) if shortcuts else messages

    def classify(places):
        x = pad_sequence([kept[i] for i in places], batch_first=True)
        rows, start = (x, depth) if shortcuts else (gpt2.blocks(x, 0), 0)
        return gpt2.classify_mean_above(rows, lengths[places], start)

    epochs = SMALL["epochs"]
    optimizer = peer.adamw(learning, lr=default_lr(config))
    updates = epochs * len(training)
    schedule = LambdaLR(optimizer, lambda done: 0.1 + 0.45 * (1 + math.cos(math.pi * done / updates)))
    loss = partial(F.cross_entropy, label_smoothing=SMALL["label_smoothing"])

    def learn(logits, labels):
        found = peer.train_step(loss(logits, labels), optimizer)
        schedule.step()
        return found

    evaluation = book.Evaluation(classify)
    report = book.fine_tune(classify, learn, training, validation, evaluation, epochs, steps)
    return report | {"accuracy": evaluation.accuracies({"training": training, "validation": validation, "test": test})}
