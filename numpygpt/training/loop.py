"""The training loop: epochs, batches, loss, gradients, update, evaluation."""

import math

from .schedule import clip_norm, learning_rate


def train(
    state,
    loader,
    gradient,
    losses,
    accuracies,
    *,
    epochs,
    lr,
    warmup,
    schedule,
    clip,
    accumulate,
    eval_every,
):
    """Train from `state` to the last epoch. Yield a row after each batch, and one after each epoch.

    gradient     batch -> (loss, {name: gradient}) of its mean loss; (None, {}) where all its messages are ignored. The
                 dict is also empty if the parameters were updated during backpropagation
    losses       () -> {"train_loss": …, "validation_loss": …}
    accuracies   () -> {"train_accuracy": …, "validation_accuracy": …}

    The rows and the settings are `fine_tune`'s. At each yield the state is complete and can be saved.
    """
    optimizer, updates = state.optimizer, epochs * math.ceil(len(loader) / accumulate)
    for epoch in range(state.epoch, epochs + 1):
        for batch in state.batches(loader):
            optimizer.lr = learning_rate(optimizer.t, updates, lr, round(warmup * updates), schedule)
            loss = state.add(*gradient(batch), 1 / accumulate)
            if state.grads and (state.batch % accumulate == 0 or state.batch == len(loader)):
                clip_norm(state.grads, clip)
                optimizer.step(state.grads)
                state.grads = {}
            row = {"epoch": epoch, "step": state.step, "examples": state.examples}
            if loss is not None:
                row["loss"] = loss
            if state.step % eval_every == 0:
                row |= losses()
            state.step += 1
            yield row
        row = {"epoch": epoch, "step": state.step - 1, "examples": state.examples} | accuracies()
        state.epoch, state.batch = epoch + 1, 0
        yield row
