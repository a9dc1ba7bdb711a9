"""One training step of the language model, all parameters: 4 windows of 64 tokens, forward, backward and AdamW.

The limit is the products of the blocks and the output layer at sgemm's rate. AdamW's limit is its memory traffic at a
copy's rate: it reads four numbers and writes three for each parameter. There is no shortcut to add to PyTorch here.
"""

import numpy as np

from numpygpt.checkpoints.load import load_weights
from numpygpt.model.language import language_model
from numpygpt.model.tape import Tape
from numpygpt.training.adamw import AdamW

from .machine import Rates, installed
from .results import Row, Section
from .turns import in_turns, timed, worst_difference

REPETITIONS = 10
WINDOWS, TOKENS = 4, 64


def measure(options):
    sides = {"numpygpt": numpygpt_parts(options.model)}
    if installed("torch"):
        sides["PyTorch"] = _pytorch_parts(options.model)

    for gradients, update in sides.values():
        update(gradients()[1])  # in_turns warms up once, but the heap needs two steps to settle
    parts = {name: [] for name in sides}  # (seconds of forward and backward, of AdamW) of each step
    runs = in_turns({name: _step(*sides[name], parts[name]) for name in sides}, options.repetitions, "language")
    parts = {name: parts[name][1:] for name in parts}  # without the warm-up round
    rates, (config, params, ids, _) = Rates(), _work(options.model)
    D, rows = config.n_embd, ids.size
    products = 3 * rows * (24 * config.n_layer * D**2 + 2 * config.vocab_size * D) / rates.products
    update = 7 * sum(array.nbytes for array in params.values()) / rates.copying
    whole = [[1000 * seconds for seconds, _ in runs.get(name, [])] for name in ("numpygpt", "PyTorch")]
    rows = [Row("whole step", "ms", *whole, limit=1000 * products)]
    for part, (what, limit) in enumerate({"forward and backward": products, "AdamW": update}.items()):
        sides = ([1000 * both[part] for both in parts.get(name, [])] for name in ("numpygpt", "PyTorch"))
        rows.append(Row(what, "ms", *sides, limit=1000 * limit))
    worst = worst_difference(runs)
    notes = [rates.said()]
    if worst is not None:
        notes.append(
            f"Same losses: after the same number of updates, the worst difference from PyTorch's is {worst:.1e}."
        )
    return Section("language", __doc__, rows, notes)


def _step(gradients, update, parts):
    """Return a function that makes one step, records the times of its parts, and returns the loss."""

    def step():
        both, (loss, grads) = timed(gradients)
        adamw, _ = timed(lambda: update(grads))
        parts.append((both, adamw))
        return loss

    return step


def numpygpt_parts(model):
    """Return the two parts of a step: () -> (loss, gradients), and gradients -> None, the update."""
    config, params, ids, targets = _work(model)
    lengths = np.full(len(ids), ids.shape[1])
    optimizer = AdamW(params, params.keys(), lr=5e-5, weight_decay=0.1)

    def gradients():
        tape = Tape(params, params.keys())
        loss, backward = language_model(tape, ids.ravel(), lengths, targets.ravel(), config)
        backward()
        return float(loss), tape.grads

    return gradients, lambda grads: optimizer.step(grads)  # looked up at each call, because `operations` times it


def _pytorch_parts(model):
    """Return the two parts of PyTorch's step. PyTorch keeps the gradients itself."""
    import torch

    from . import peer

    config, params, *batch = _work(model)
    ids, targets = map(torch.from_numpy, batch)
    gpt2 = peer.load(config, params)
    optimizer = peer.adamw(gpt2.parameters())

    def gradients():
        optimizer.zero_grad()
        loss = gpt2.language_loss(ids, targets)
        loss.backward()
        return loss.item(), None

    return gradients, lambda grads: optimizer.step()


def _work(model):
    """Return (config, writable params, ids, targets), with random windows (WINDOWS, TOKENS)."""
    config, params = load_weights(model)
    windows = np.random.default_rng(123).integers(
        config.vocab_size, size=(WINDOWS, min(TOKENS, config.n_positions) + 1)
    )
    ids, targets = np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])
    return config, {name: np.array(array) for name, array in params.items()}, ids, targets
