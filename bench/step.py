"""One training step, forward, backward and AdamW, for each choice of trainable parameters: 8 messages of 120 tokens.

numpygpt starts from the features of the frozen blocks, which it computes once per run, and runs the last block only for
the pooled row. PyTorch runs all blocks in every step; the next column has PyTorch with numpygpt's shortcuts. A turn is
three consecutive steps, as in a run (ten steps of the last block, 300 of the head). PyTorch without the shortcuts is
left out for the head, where its step takes as long as for the last block.

The limit of whole blocks is their matrix products at sgemm's rate. The last block and the head have few rows and need
few products; their limit is their memory traffic at a copy's rate (weights read twice, gradients written, and AdamW,
which reads four and writes three numbers for each parameter).
"""

from functools import partial

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import load
from numpygpt.training.adamw import AdamW
from numpygpt.training.batch import batch_loss
from numpygpt.training.frozen_features import FrozenPrefix

from .machine import Rates, installed
from .results import Row, Section
from .turns import in_turns, worst_difference

REPETITIONS = 5
MESSAGES, TOKENS = 8, 120

FAIR = "PyTorch, our shortcuts"
CHOICES = {"head": 300, "last_block": 10, "last_two_blocks": 3, "all": 3}  # {choice: steps per turn}


def measure(options):
    rows, differences, rates = [], [], Rates()
    for choice, count in CHOICES.items():
        steps = {"numpygpt": numpygpt_step(options.model, choice)}
        if installed("torch"):
            if choice != "head":
                steps["PyTorch"] = pytorch_step(options.model, choice)
            steps[FAIR] = pytorch_step(options.model, choice, shortcuts=True)
        turns = {name: partial(several, step, count) for name, step in steps.items()}
        runs = in_turns(turns, options.repetitions, f"step, {choice}")
        milliseconds = {name: [1000 * seconds / count for seconds, _ in runs[name]] for name in runs}
        measured = (milliseconds.get(name, []) for name in ("numpygpt", "PyTorch", FAIR))
        rows.append(Row(f"`{choice}`", "ms", *measured, limit=1000 * least_seconds(options.model, choice, rates)))
        differences.append(worst_difference(runs))
    notes = [rates.said()]
    if None not in differences:
        notes.append(
            "Same losses: after the same number of updates, the worst difference from PyTorch's is "
            f"{max(differences):.1e}."
        )
    return Section("step", __doc__, rows, notes)


def several(step, count):
    """Make some steps. Return the last step's loss."""
    return [step() for _ in range(count)][-1]


def least_seconds(model, choice, rates):
    """Return the seconds that a step of numpygpt needs at least on a machine of these rates (see above)."""
    clf = _classifier(model, choice)
    D, learning = clf.config.n_embd, sum(clf.params[name].size for name in clf.trainable)
    whole_blocks = max(0, clf.config.n_layer - 1 - clf.frozen_blocks)  # all trainable blocks except the last
    products = 3 * whole_blocks * 24 * batch(clf.config)[0].size * D**2  # forward, and two gradients
    return products / rates.products if whole_blocks else 4 * (2 + 1 + 7) * learning / rates.copying


def batch(config):
    """Return random (ids (messages, tokens), labels), with TOKENS tokens if the model has that many positions."""
    rng = np.random.default_rng(123)
    return rng.integers(config.vocab_size, size=(MESSAGES, min(TOKENS, config.n_positions))), rng.integers(
        2, size=MESSAGES
    )


def numpygpt_step(model, choice, at_once=True):
    """Return a function that makes one update of numpygpt's classifier and returns the loss before it.

    The update happens during backpropagation, as in training, or after it if not `at_once`.
    """
    clf = _classifier(model, choice)
    ids, labels = batch(clf.config)
    prefix = FrozenPrefix(clf.params, clf.config, ids, clf.frozen_blocks)
    optimizer = AdamW(clf.params, clf.trainable, lr=5e-5, weight_decay=0.1)

    def step():
        messages = prefix.batch(np.arange(MESSAGES))
        if at_once:
            return batch_loss(clf, *messages, labels, clf.frozen_blocks, optimizer=optimizer)[0]
        loss, grads = batch_loss(clf, *messages, labels, clf.frozen_blocks)
        optimizer.step(grads)
        return loss

    return step


def pytorch_step(model, choice, shortcuts=False):
    """Return such a function for PyTorch, with equal parameters and messages, optionally with numpygpt's shortcuts."""
    import torch
    import torch.nn.functional as F

    from . import peer

    clf = _classifier(model, choice)
    ids, labels = map(torch.from_numpy, batch(clf.config))
    gpt2 = peer.load(clf.config, clf.params)
    optimizer = peer.adamw(peer.freeze(gpt2, clf.trainable))
    if not shortcuts:
        return lambda: peer.train_step(F.cross_entropy(gpt2.classify(ids), labels), optimizer)
    last = torch.full((len(ids),), ids.shape[1] - 1)
    frozen = clf.frozen_blocks and torch.stack(peer.frozen_rows(gpt2, list(ids), clf.frozen_blocks, ids.numel()))

    def step():
        rows = frozen if clf.frozen_blocks else gpt2.blocks(ids, 0)
        return peer.train_step(F.cross_entropy(gpt2.classify_above(rows, last, clf.frozen_blocks), labels), optimizer)

    return step


def _classifier(model, choice):
    return Classifier(load(model), ["ham", "spam"], choice, position="last", seed=123)
