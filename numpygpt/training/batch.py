"""The logits of one batch, and its loss with the gradients."""

from contextlib import nullcontext

import numpy as np

from ..model.classifier import classifier
from ..model.lora import adapted_weights, merge
from ..model.tape import Tape
from ..ops.cross_entropy import cross_entropy
from ..system.blas import one_thread


def batch_loss(clf, x, lengths, numbers, start, smoothing=0.0, weights=None, own=None, optimizer=None):
    """Return (loss, {name: gradient}) of a batch: the mean cross-entropy in nats, and a gradient per trainable name.

    With an `optimizer` (not with LoRA), each parameter is updated during backpropagation, as soon as its gradient is
    complete, and the dict is empty. Nothing is updated if the loss is not finite.

    x         the input of block `start`, laid end to end; token ids if `start` is 0
    numbers   (B,) label numbers
    smoothing, weights   `cross_entropy`'s
    own       an OwnOperations, to be used in the place of shipped operations
    """
    params, d_weights = merge(clf.params, clf.config, clf.lora_scale)
    learning = clf.trainable if d_weights is None else clf.trainable | adapted_weights(clf.config)
    tape = Tape(params, learning, own=own, finished=optimizer and optimizer.update)
    with product_threads(clf, start):
        logits, backward = classifier(tape, x, lengths, clf.config, clf.pooling, start)
        mean_loss = cross_entropy if own is None else own[cross_entropy]
        loss, (dlogits,) = mean_loss(logits, numbers, smoothing=smoothing, weights=weights)
        if optimizer and not np.isfinite(loss):
            return float(loss), {}
        if optimizer:
            optimizer.begin()
        grads = backward(dlogits())
    if optimizer:
        return float(loss), {}
    if d_weights is not None:
        grads = d_weights(grads)
    return float(loss.real), {
        name: grads[name] for name in clf.trainable
    }  # complex: where a second derivative is taken


def batch_logits(clf, x, lengths, start):
    """Return the logits (B, C) of a batch, which is as in batch_loss."""
    params, _ = merge(clf.params, clf.config, clf.lora_scale)
    with product_threads(clf, start):
        return classifier(Tape(params), x, lengths, clf.config, clf.pooling, start)[0]


def product_threads(clf, start):
    """Return a context that sets the threads of a batch's matrix products. The batch enters block `start`.

    The products of a narrow model have one thread each. So have a wide model's products in the last block's one row and
    in the head. Two threads are a fifth faster there on an idle machine. But beside another program they wait for each
    other and are two to three times slower.
    """
    one_row = start >= clf.config.n_layer - 1 and clf.pooling.position != "mean"
    return one_thread() if clf.config.narrow or one_row else nullcontext()
