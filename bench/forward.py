"""The forward pass of the frozen blocks, 8 messages of 120 tokens, and the machine's rate of matrix products.

sgemm is the largest product of a block, all rows by the MLP's first matrix, in NumPy's own BLAS. It is measured in
turns with the other rows, in the same process. Only a block's four matrix products are counted, 24 N D² operations for
N rows of width D; attention, layernorm and GELU take time but are not counted. One batch runs as in a training step,
with its products split over the cores. "As predict runs them": each of two cores runs half of the messages, and the
last block runs for one row. "As train runs them": each core runs whole batches. The limit is NumPy's sgemm.
"""

from statistics import median

import numpy as np

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import load
from numpygpt.model.tape import Tape
from numpygpt.model.trunk import blocks
from numpygpt.ops.embedding import embedding
from numpygpt.system import blas
from numpygpt.training.frozen_features import BATCH_ROWS, FrozenPrefix

from .machine import installed
from .results import Row, Section
from .step import MESSAGES, batch
from .turns import in_turns

REPETITIONS = 5
PRODUCTS = 40  # sgemms per timing, which then takes about as long as the blocks


def measure(options):
    gpt = load(options.model)
    config, params = gpt.config, gpt.params
    ids, _ = batch(config)
    rows, D, last = ids.size, config.n_embd, config.n_layer - 1
    lengths = np.full(MESSAGES, ids.shape[1])
    rows_in, _ = embedding(ids.ravel(), params["wte.weight"], params["wpe.weight"], lengths)
    a, b = (np.random.default_rng(123).standard_normal(shape, np.float32) for shape in ((rows, D), (D, 4 * D)))
    product = np.empty((rows, 4 * D), np.float32)
    at_once = BATCH_ROWS // ids.shape[1]  # messages in one of the prefix's batches
    many = np.random.default_rng(123).integers(config.vocab_size, size=(2 * blas.threads() * at_once, ids.shape[1]))
    per_block = 24 * rows * D**2
    work = {
        "sgemm": PRODUCTS * 8 * rows * D**2,
        f"{last} blocks": last * per_block,
        f"{last + 1} blocks": (last + 1) * per_block,
        f"{last} blocks, as predict runs them": last * per_block,
        f"{last} blocks, as train runs them": last * per_block * len(many) // MESSAGES,
    }
    clf = Classifier(gpt, ["ham", "spam"], "head", position="last")
    messages = list(ids.astype(np.int32))
    functions = dict(
        zip(
            work,
            (
                lambda: [np.matmul(a, b, out=product) for _ in range(PRODUCTS)],
                lambda: blocks(Tape(params), rows_in, lengths, range(last), config),
                lambda: blocks(Tape(params), rows_in, lengths, range(last + 1), config),
                lambda: clf._logits(messages),
                lambda: FrozenPrefix(params, config, many, last),
            ),
        )
    )
    peers = _peers(config, params, ids, a, b) if installed("torch") else {}
    runs = in_turns(functions | peers, options.repetitions, "forward")

    rates = {what: [work[what] / seconds / 1e9 for seconds, _ in runs[what]] for what in work}
    peer_work = {"PyTorch sgemm": work["sgemm"], "PyTorch": last * per_block}
    peer_rates = {what: [peer_work[what] / seconds / 1e9 for seconds, _ in runs[what]] for what in peers}
    sgemm = Row(
        f"sgemm {rows} × {D} by {D} × {4 * D}", "GFLOP/s", rates.pop("sgemm"), peer_rates.get("PyTorch sgemm", [])
    )
    allowed = median(sgemm.ours)
    measured = [Row(what, "GFLOP/s", rates[what], peer_rates.get("PyTorch", []), limit=allowed) for what in rates]
    table = [sgemm, *measured]
    for row in table:
        row.higher_is_better = True
    return Section("forward", __doc__, table)


def _peers(config, params, ids, a, b):
    import torch

    from . import peer

    gpt2, ids, a, b = peer.load(config, params), *map(torch.from_numpy, (ids, a, b))

    @torch.no_grad()
    def blocks():
        gpt2.blocks(ids, config.n_layer - 1)

    return {"PyTorch sgemm": lambda: [torch.mm(a, b) for _ in range(PRODUCTS)], "PyTorch": blocks}
