"""One message's way through the model, forward and back, as it ran: every operation, every line, every number.

What is recorded is the shipped code while it runs, in float64. Nothing in `ops/` or `model/` knows of it:
`WatchedTape` is a Tape that notes what is done with it, and Python's own tracing sees the lines.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ... import ops
from ...model import block as block_module
from ...model.classifier import classifier
from ...model.language import language_model
from ...model.tape import NothingBelowLearns, Tape
from ...model.trainable import trainable_names
from ...ops.cross_entropy import cross_entropy
from ...system.errors import InputError
from .recorder import Call, Recorder

OPERATIONS = Path(ops.__file__).parent
BLOCKS = {block_module.block.__code__, block_module.block_at.__code__}


@dataclass(repr=False)
class Step:
    """One operation on the way, or a block's two sums.

    name       where it stands, under the parameters' name where it has some: h.1.ln_1, h.1.attention, cross_entropy
    op         the operation as it was called, without its pieces; settings, what else it was called with
    arguments  {name: array} of what it was given, in its own order; parameters, {argument: parameter's name} among
    them
    result     its result
    learns     the arguments that have a gradient; gradients {argument: array}, of those
    forward, backward   the Calls of watched functions; backward is None where the way back had ended before, and
                        `ends` says that
               it ends here
    """

    name: str
    op: Callable
    arguments: dict
    parameters: dict[str, str]
    settings: dict
    result: np.ndarray
    number: int | None = None  # of the tape's calls; None of a block
    learns: list[str] = field(default_factory=list)
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    forward: list[Call] = field(default_factory=list)
    backward: list[Call] | None = None
    ends: bool = False
    dy: np.ndarray | None = None  # what backward was given

    def __getitem__(self, name):
        """The value of this name, as it last was: forward, backward (`dx`), or an argument."""
        found = None
        for call in [call for top in [*self.forward, *(self.backward or [])] for call in top.all()]:
            for values in [call.arguments, *(made for runs in call.lines.values() for made in runs)]:
                found = values.get(name, found)
        if found is None:
            raise KeyError(f"{self.name} has no {name!r}")
        return found

    def __repr__(self):
        return f"{self.name}: {', '.join(self.names())}"

    def names(self):
        """All names that have a value."""
        calls = [call for top in [*self.forward, *(self.backward or [])] for call in top.all()]
        return list(
            dict.fromkeys(
                name
                for call in calls
                for values in [call.arguments, *(made for runs in call.lines.values() for made in runs)]
                for name in values
            )
        )


class WatchedTape(Tape):
    """A Tape that notes each operation, in `steps`, and where gradients add up, in `sums`: (parameter, before,
    plus, after).

    watched   the files whose functions the recorder records; an operation's is added before it runs
    """

    def __init__(self, params, trainable, recorder, watched):
        super().__init__(params, trainable)
        self.recorder, self.watched, self.steps, self.sums = recorder, watched, [], []

    def __call__(self, op, x, *names, **settings):
        op, settings = whole(op, settings)
        self.watched.add(op.__code__.co_filename)
        argument_names = list(inspect.signature(op).parameters)[: 1 + len(names)]
        values = [x, *(self.params[name] for name in names)]
        before = self._calls()
        x_learns = self.something_learns
        y, backward = super().__call__(op, x, *names, **settings)
        step = Step(
            name="",
            op=op,
            arguments=dict(zip(argument_names, values)),
            parameters=dict(zip(argument_names[1:], names)),
            settings=settings,
            result=np.array(y),
            number=len(self.steps),
            learns=[
                argument
                for argument, learns in zip(argument_names, [x_learns, *(name in self.trainable for name in names)])
                if learns
            ],
            forward=self._calls()[len(before) :],
        )
        step.name = self._name(step)
        self.steps.append(step)

        def watched(dy):
            step.dy = np.array(dy)
            before = self._calls()
            try:
                return backward(dy)
            except NothingBelowLearns:
                step.ends = True
                raise
            finally:
                made = self._calls()[len(before) :]
                if made:
                    step.backward = made
                    returned = made[0].returned
                    found = dict(zip(argument_names, returned if isinstance(returned, tuple) else (returned,)))
                    step.gradients = {name: found[name] for name in step.learns}

        return y, watched

    def _add(self, name, dparam):
        before = np.array(self.grads[name]) if name in self.grads else None
        super()._add(name, dparam)
        if before is not None:
            self.sums.append((name, before, np.array(dparam), np.array(self.grads[name])))

    def _calls(self):
        """The watched calls so far, at the place where we are."""
        return list(self.recorder.open.calls if self.recorder.open else self.recorder.calls)

    def _name(self, step):
        if step.parameters and not step.op.__name__.startswith(("embedding", "output")):
            return next(iter(step.parameters.values())).rsplit(".", 1)[0]
        call = self.recorder.open
        while call and call.code not in BLOCKS:
            call = call.parent
        return f"h.{call.number}.{step.op.__name__}" if call else step.op.__name__


def whole(op, settings):
    """(operation, settings) without the pieces it is made fast with: all rows at once, in this thread. Of one
    message the numbers are the same.
    """
    if isinstance(op, partial):
        op, settings = op.func, op.keywords | settings
    return inspect.unwrap(op), settings


@dataclass(repr=False)
class Trace:
    """A message's way through the model.

    text, tokens   the message and its tokens' text; label, the class it has, or None of a language model
    steps          the way: every operation and, after a block's, its sums
    loss, grads    the loss in nats, and {name: gradient} of what learns
    run            run(tape, copies) -> loss, backward: the forward pass on another Tape, of so many copies of the
                   message
    """

    text: str
    tokens: list[str]
    ids: np.ndarray
    labels: list[str] | None
    label: str | None
    params: dict[str, np.ndarray]
    trainable: frozenset[str]
    config: object
    source: str
    pooling: object
    run: Callable
    steps: list[Step] = field(default_factory=list)
    sums: list[tuple] = field(default_factory=list)
    loss: float = float("nan")
    grads: dict[str, np.ndarray] = field(default_factory=dict)
    other_pooling: float | None = (
        None  # largest relative difference of a gradient, where the last block runs the other way
    )

    def __getitem__(self, name) -> Step:
        """The step of this name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; there are {', '.join(step.name for step in self.steps)}")

    def __repr__(self):
        return f"Trace of {self.text!r}: loss {self.loss:.6f}, steps {', '.join(step.name for step in self.steps)}"

    def page(self) -> str:
        """The whole page, HTML."""
        from .page import page

        return page(self)

    def save(self, path) -> None:
        """Write the page. Raises InputError where the file exists."""
        from .page import save

        save(path, self.page())

    def _repr_html_(self):
        from .page import framed

        return framed(self.page())


def trace_classifier(clf, text, label, folded=False) -> Trace:
    """The Trace of one message and its label through a Classifier's loss.

    folded   the last block computed for the one row that is read, as in training; else the textbook's, over all rows

    Raises InputError for a message without tokens, an unknown label, LoRA's adapters, and `folded` where the classifier
    reads the mean of all rows.
    """
    if folded and clf.reading.position == "mean":
        raise InputError("folded: this classifier reads the mean of all rows, not one: leave it out")
    if clf.lora_scale is not None:
        raise InputError(
            "a classifier with LoRA's adapters is not traced: save it and trace the run, whose weights have them added"
        )
    (ids,), numbers = clf.encode([text]), clf.numbers([label])
    pooling = replace(clf.pooling, folded=folded)

    def run(tape, copies=1, pooling=pooling):
        logits, d_classifier = classifier(tape, np.tile(ids, copies), np.full(copies, len(ids)), clf.config, pooling)
        loss, d_loss = tape(cross_entropy, logits, targets=np.tile(numbers, copies))
        return loss, lambda: d_classifier(d_loss(1.0))

    trace = Trace(
        text,
        pieces(clf.encoding, ids),
        ids,
        clf.labels,
        str(label),
        as_float64(clf.params),
        clf.trainable,
        clf.config,
        clf.gpt.source,
        pooling,
        run,
    )
    recorded(trace)
    if pooling.position == "mean" or pooling.first_alone:
        return trace
    other = Tape(trace.params, trace.trainable)
    run(other, pooling=replace(pooling, folded=not folded))[1]()
    trace.other_pooling = max(
        float(np.abs(trace.grads[name] - gradient).max() / max(np.abs(gradient).max(), 1e-300))
        for name, gradient in other.grads.items()
        if not name.endswith("attn.c_attn.bias")
    )
    return trace


def trace_language(gpt, text, trainable="all") -> Trace:
    """The Trace of a text through the language model's loss: each token but the first, predicted from those before.

    Raises InputError for a text of fewer than two tokens, or a `trainable` that selects nothing.
    """
    learning = trainable_names(trainable, gpt.params, gpt.config)
    ids = np.array(gpt.encode(text), np.int64)
    if len(ids) < 2:
        raise InputError("the language model predicts a token from those before: give a text of at least two tokens")

    def run(tape, copies=1):
        lengths = np.full(copies, len(ids) - 1)
        return language_model(tape, np.tile(ids[:-1], copies), lengths, np.tile(ids[1:], copies), gpt.config)

    params = as_float64(gpt.params)
    trace = Trace(text, pieces(gpt.encoding, ids), ids, None, None, params, learning, gpt.config, gpt.source, None, run)
    return recorded(trace)


def recorded(trace):
    """The trace with its run recorded."""
    watched = {block_module.__file__, *map(str, OPERATIONS.glob("*.py"))}
    with Recorder(lambda code: code.co_filename in watched) as recorder:
        tape = WatchedTape(trace.params, trace.trainable, recorder, watched)
        loss, backward = trace.run(tape)
        trace.grads = backward()
    trace.loss, trace.sums = float(loss), tape.sums
    trace.steps = _with_blocks(tape.steps, recorder.calls)
    return trace


def _with_blocks(steps, calls):
    """The steps, with each block's sums after its last operation."""
    forward = [call for call in calls if call.code in BLOCKS]
    backward = {
        id(f): b
        for f, b in zip(reversed(forward), [c for c in calls if c.backward and c.function.name.startswith("block")])
    }
    found = list(steps)
    for call in forward:
        inside = {id(c) for c in call.all()}
        place = max(i for i, step in enumerate(found) if step.forward and id(step.forward[0]) in inside)
        back = backward.get(id(call))
        found.insert(
            place + 1,
            Step(
                f"h.{call.number}",
                None,
                {},
                {},
                {},
                call.returned[0],
                forward=[call],
                backward=[back] if back else None,
                ends=bool(back and back.ended),
            ),
        )
    return found


def as_float64(params):
    return {name: np.asarray(array, np.float64) for name, array in params.items()}


def pieces(encoding, ids):
    """Each token's text; bytes that are no whole character as ⟨e2⟩."""
    texts = []
    for token in ids:
        data = encoding.decode_single_token_bytes(int(token)) if token < encoding.n_vocab else b""
        try:
            texts.append(data.decode())
        except UnicodeDecodeError:
            texts.append("".join(chr(b) if b < 128 else f"⟨{b:02x}⟩" for b in data))
    return texts
