"""Pretraining: next-token prediction over a stream of documents, with warm-up, cosine decay and clipping; interruptible."""

import json
import math

import numpy as np

from ..checkpoints.safetensors import open_safetensors, write_safetensors
from ..model.language import language_model
from ..model.tape import Tape
from ..system.blas import parallel
from ..system.errors import InputError
from .adamw import AdamW

PART = 1024  # tokens whose activations are alive at a time, on one core: few enough for its cache


def windows(documents, separator, length, rng):
    """The documents in random order, each followed by the separator, laid end to end and cut: (windows, length + 1) int32.

    The last id of a window is the first of the next, so that every id but the very first is predicted once. What does not fill a
    window is left out: another part of the text each time. rng is a numpy Generator, or None to keep the order.
    """
    order = range(len(documents)) if rng is None else rng.permutation(len(documents))
    stream = np.concatenate([np.append(documents[i], np.int32(separator)) for i in order])
    count = (len(stream) - 1) // length
    starts = np.arange(count)[:, None] * length
    return stream[starts + np.arange(length + 1)]


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up over `warmup` steps, then half a cosine down to a tenth of the peak (Brown et al. 2020, appendix B)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def clip(grads, limit):
    """Scale all gradients in place so that their norm, taken together, is at most `limit`; returns the norm they had."""
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))
    if norm > limit:
        for g in grads.values():
            g *= limit / norm
    return norm


class Pretraining:
    """Trains all of `params` in place.

    documents   list of (T,) int32 arrays; separator the id between them
    steps, batch_size, context   updates in all, windows to an update, tokens to a window
    lr, warmup, weight_decay, limit   see `learning_rate`, AdamW and `clip`; matrices decay, biases and layernorms do not

    The batch of a step depends on the seed and the step alone, so a run that is saved and resumed is the run that was not interrupted.
    """

    def __init__(
        self, params, config, documents, separator, *, steps, batch_size, context, lr, warmup, weight_decay, limit, seed
    ):
        self.params, self.config, self.documents, self.separator = params, config, documents, separator
        self.steps, self.batch_size, self.context, self.lr = steps, batch_size, context, lr
        self.warmup, self.limit, self.seed = warmup, limit, seed
        self.per_epoch = len(windows(documents, separator, context, None)) // batch_size
        if not self.per_epoch:
            raise InputError(
                f"the text does not fill one batch of {batch_size} windows of {context} tokens: use smaller ones"
            )
        matrices = {name for name, array in params.items() if array.ndim == 2}
        self.optimizers = [
            AdamW(params, matrices, lr, weight_decay, (0.9, 0.95)),
            AdamW(params, params.keys() - matrices, lr, 0, (0.9, 0.95)),
        ]
        self.done = 0
        self.history = []  # rows for the caller's use, JSON-able; saved and resumed with the rest
        self._epoch = None

    def step(self):
        """One update; returns the loss before it. Raises InputError where that is no number."""
        epoch, place = divmod(self.done, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._windows = windows(
                self.documents, self.separator, self.context, np.random.default_rng([self.seed, epoch])
            )
        batch = self._windows[place * self.batch_size : (place + 1) * self.batch_size]
        loss, grads = self._gradients(batch)
        if not np.isfinite(loss):
            raise InputError(f"the loss became {loss} at step {self.done}: lower the learning rate (now {self.lr:g})")
        clip(grads, self.limit)
        for optimizer in self.optimizers:
            optimizer.lr = learning_rate(self.done, self.steps, self.lr, self.warmup)
            optimizer.step(grads)
        self.done += 1
        return loss

    def _gradients(self, batch):
        """(loss, {name: gradient}) of a batch of windows. Windows are independent, so they are taken in parts, a part on a core; the
        gradient of the batch's mean loss is the mean of the parts', each counted as often as it has windows. What a part is does not
        depend on the number of cores, nor therefore does any bit of the result.
        """

        def part_gradients(part):
            tape = Tape(self.params, self.params.keys())
            lengths = np.full(len(part), self.context)
            loss, backward = language_model(tape, part[:, :-1].ravel(), lengths, part[:, 1:].ravel(), self.config)
            backward()
            return loss, tape.grads

        parts = np.array_split(batch, math.ceil(len(batch) / max(1, PART // self.context)))
        total_loss, total = 0.0, {}
        for part, (loss, grads) in zip(parts, parallel(part_gradients, parts)):
            share = len(part) / len(batch)
            total_loss += float(loss) * share
            for name, gradient in grads.items():
                gradient *= share
                total[name] = np.add(total[name], gradient, out=gradient) if name in total else gradient
        return total_loss, total

    def _state(self):
        state = {f"params.{name}": array for name, array in self.params.items()}
        for optimizer in self.optimizers:
            state |= {f"m.{name}": array for name, array in optimizer.m.items()}
            state |= {f"v.{name}": array for name, array in optimizer.v.items()}
        return state

    def save(self, path, settings):
        """Write all that `resume` needs to one file; `settings`, JSON-able, is what must be the same for going on to make sense."""
        progress = json.dumps({"done": self.done, "history": self.history, "settings": settings}).encode()
        write_safetensors(path, self._state() | {"progress": np.frombuffer(progress, np.uint8)})

    def resume(self, path, settings):
        """Go on from a file that `save` wrote. Raises InputError where its settings are others, naming the first difference."""
        stored = open_safetensors(path)
        try:
            progress = json.loads(stored["progress"].read().tobytes())
            done, history, found = int(progress["done"]), list(progress["history"]), progress["settings"]
            differing = [key for key in settings if found.get(key) != settings[key]]
        except (KeyError, ValueError, TypeError, AttributeError):
            raise InputError(f"{path}: damaged; remove it to start anew") from None
        if differing:
            key = differing[0]
            raise InputError(
                f"{path}: that run has {key} = {found.get(key)!r}, not {settings[key]!r}; repeat its settings or remove it"
            )
        for name, array in self._state().items():
            if name not in stored or stored[name].shape != array.shape:
                raise InputError(f"{path}: tensor {name} is missing or of another shape; remove it to start anew")
            array[...] = stored[name].read()
        self.done, self.history = done, history
        for optimizer in self.optimizers:
            optimizer.t = done
