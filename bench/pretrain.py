"""One training step of `numpygpt.pretrain` at `mini`'s sizes: 8 windows of 256 tokens, all parameters.

A step is forward, backward, the clipping of the gradient, and AdamW with the learning rate of its schedule, in both
programs. A turn is three consecutive steps. The limit is the products of the blocks and the output layer at sgemm's
rate. There is no shortcut to add to PyTorch here.
"""

from functools import partial

import numpy as np

from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.training.pretraining import Pretraining, windows
from numpygpt.training.schedule import learning_rate

from .machine import Rates, installed
from .results import Row, Section
from .step import several
from .turns import in_turns, worst_difference

REPETITIONS = 10
MODEL, WINDOWS, STEPS = "mini", 8, 3
SETTINGS = dict(steps=3000, batch_size=WINDOWS, lr=2e-3, warmup=100, weight_decay=0.1, clip=1.0, seed=123)


def measure(options):
    sides = {"numpygpt": numpygpt_step()}
    if installed("torch"):
        sides["PyTorch"] = pytorch_step()
    runs = in_turns(
        {name: partial(several, step, STEPS) for name, step in sides.items()}, options.repetitions, "pretrain"
    )
    rates, (config, _, _) = Rates(), work()
    tokens = WINDOWS * config.n_positions
    measured = [[STEPS * tokens / seconds for seconds, _ in runs.get(name, [])] for name in ("numpygpt", "PyTorch")]
    of_a_token = 3 * (24 * config.n_layer * config.n_embd**2 + 2 * config.vocab_size * config.n_embd)
    row = Row("a step", "tokens/s", *measured, limit=rates.products / of_a_token, higher_is_better=True)
    notes, worst = [rates.said()], worst_difference(runs)
    if worst is not None:
        notes.append(
            f"Same losses: after the same number of updates, the worst difference from PyTorch's is {worst:.1e}."
        )
    return Section("pretrain", __doc__, [row], notes)


def work():
    """Return (config, writable params, documents): random tokens for as many steps as any measurement makes."""
    config, params, _ = load_checkpoint(MODEL)
    rng = np.random.default_rng(123)
    documents = list(rng.integers(config.vocab_size, size=(100 * WINDOWS, config.n_positions), dtype=np.int32))
    return config, {name: np.array(array) for name, array in params.items()}, documents


def numpygpt_step():
    """Return a function that makes one update and returns the loss before it."""
    config, params, documents = work()
    return Pretraining(params, config, documents, 0, context=config.n_positions, **SETTINGS).step


def pytorch_step():
    """Return such a function for PyTorch, with the same windows."""
    import torch

    from . import peer

    config, params, documents = work()
    gpt2 = peer.load(config, params)
    matrices, vectors = ([p for p in gpt2.parameters() if (p.ndim == 2) == both] for both in (True, False))
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0}]
    optimizer = peer.adamw(groups, betas=(0.9, 0.95), weight_decay=SETTINGS["weight_decay"])
    rate = partial(learning_rate, steps=SETTINGS["steps"], peak=SETTINGS["lr"], warmup=SETTINGS["warmup"])
    order = np.random.default_rng([SETTINGS["seed"], 0])  # of the first epoch
    batches = iter(torch.from_numpy(windows(documents, 0, config.n_positions, order)).long().split(WINDOWS))
    done = 0

    def step():
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = rate(done)
        done += 1
        batch = next(batches)
        optimizer.zero_grad()
        loss = gpt2.language_loss(batch[:, :-1], batch[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gpt2.parameters(), SETTINGS["clip"])
        optimizer.step()
        return loss.item()

    return step
