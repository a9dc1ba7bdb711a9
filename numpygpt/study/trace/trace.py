"""One message's way through the model, forward and back, as it ran: every operation, every line, every number.

What is recorded is the shipped code while it runs, in float64. Nothing in `ops/` or `model/` knows of it:
`WatchedTape` is a Tape that notes what is done with it, and Python's own tracing sees the lines.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ... import ops
from ...model import block as block_module
from ...model.classifier import classifier
from ...model.fast import FAST, groups
from ...model.language import language_model
from ...model.tape import Tape
from ...model.trainable import trainable_names
from ...ops.attention import attention
from ...ops.cross_entropy import cross_entropy
from ...system.errors import InputError
from ...text.tokenizer import token_texts
from .recorder import Call, Recorder

# The files whose functions are recorded: not `remember`, which has no formula
OPERATIONS = {str(path) for path in Path(ops.__file__).parent.glob("*.py") if path.stem != "remember"}
BLOCKS = {block_module.block.__code__, block_module.block_at.__code__}


@dataclass(repr=False)
class Step:
    """One operation on the way, or a block's two sums.

    name       where it stands, under the parameters' name where it has some: h.1.ln_1, h.1.attention, cross_entropy
    op         the operation; settings, what else it was called with
    arguments  {name: array} of what it was given, in its own order; parameters, {argument: parameter's name} among
    them
    result     its result
    gradients  {argument: array} of the arguments that have one
    forward, backward   the Calls of watched functions. backward is None where nothing here or below learns; `ends` says
               that backpropagation stops here.
    """

    name: str
    op: Callable
    arguments: dict
    parameters: dict[str, str]
    settings: dict
    result: np.ndarray
    number: int | None = None  # of the tape's calls; None of a block
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    forward: list[Call] = field(default_factory=list)
    backward: list[Call] | None = None
    ends: bool = False
    dy: np.ndarray | None = None  # what the gradient functions were given

    def __getitem__(self, name):
        """Return the value of this name, as it last was: forward, a gradient (`dx`), or an argument."""
        if name[1:] in self.gradients and name.startswith("d"):
            return self.gradients[name[1:]]
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

    fast = {attention: FAST[attention]}  # all else runs whole, in this thread: of one message the numbers are the same

    def __init__(self, params, trainable, recorder, watched):
        super().__init__(params, trainable)
        self.recorder, self.watched, self.steps, self.sums = recorder, watched, [], []

    def __call__(self, op, x, *names, **settings):
        self.watched.add(op.__code__.co_filename)
        argument_names = list(inspect.signature(op).parameters)[: 1 + len(names)]
        values = [x, *(self.params[name] for name in names)]
        before, x_learns = self._calls(), self.something_learns
        y, backward = super().__call__(op, x, *names, **settings)
        layer = next(iter(names), op.__name__).rsplit(".", 1)[0]
        step = Step(
            name=op.__name__ if op.__name__.startswith(("embedding", "output")) else layer,
            op=op,
            arguments=dict(zip(argument_names, values)),
            parameters=dict(zip(argument_names[1:], names)),
            settings=groups(x, **settings)[0][1] if op is attention else settings,
            result=np.array(y),
            number=len(self.steps),
            forward=self._calls()[len(before) :],
            ends=self.something_learns and not x_learns,
        )
        self.steps.append(step)

        def watched(dy):
            before = self._calls()
            dx = backward(dy)
            if made := self._calls()[len(before) :]:
                step.dy, step.backward = np.array(dy), made
                step.gradients = {call.nested[1:]: call.returned for call in made}
            return dx

        return y, watched

    def _add(self, name, dparam):
        before = np.array(self.grads[name]) if name in self.grads else None
        super()._add(name, dparam)
        if before is not None:
            self.sums.append((name, before, np.array(dparam), np.array(self.grads[name])))

    def _calls(self):
        """The watched calls so far, at the place where we are."""
        return list(self.recorder.open.calls if self.recorder.open else self.recorder.calls)


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
    if folded and clf.pooling.position == "mean":
        raise InputError("folded: this classifier reads the mean of all rows, not one: leave it out")
    if clf.lora_scale is not None:
        raise InputError(
            "a classifier with LoRA's adapters is not traced: save it and trace the run, whose weights have them added"
        )
    (ids,), numbers = clf.encode([text]), clf.numbers([label])
    pooling = replace(clf.pooling, folded=folded)

    def run(tape, copies=1, pooling=pooling):
        logits, d_classifier = classifier(tape, np.tile(ids, copies), np.full(copies, len(ids)), clf.config, pooling)
        loss, dlogits = tape(cross_entropy, logits, targets=np.tile(numbers, copies))
        return loss, lambda: d_classifier(dlogits(1.0))

    trace = Trace(
        text,
        token_texts(clf.encoding, ids),
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
    trace = Trace(
        text, token_texts(gpt.encoding, ids), ids, None, None, params, learning, gpt.config, gpt.source, None, run
    )
    return recorded(trace)


def recorded(trace):
    """The trace with its run recorded."""
    watched = OPERATIONS | {block_module.__file__}
    with Recorder(lambda code: code.co_filename in watched) as recorder:
        tape = WatchedTape(trace.params, trace.trainable, recorder, watched)
        loss, backward = trace.run(tape)
        trace.grads = backward()
    trace.loss, trace.sums = float(loss), tape.sums
    trace.steps = _with_blocks(tape.steps, recorder.calls)
    return trace


def _with_blocks(steps, calls):
    """Return the steps, with each block's sums after its last operation.

    A block is numbered by its parameters, and so are the operations in it that have none.
    """
    forward = [call for call in calls if call.code in BLOCKS]
    backward = [c for c in calls if c.nested and c.function.name.startswith("block")]
    found = list(steps)
    for call, back in zip(forward, reversed(backward) if backward else [None] * len(forward)):
        made_in = {id(c) for c in call.all()}
        inside = [step for step in found if step.forward and id(step.forward[0]) in made_in]
        block = ".".join(next(name for step in inside for name in step.parameters.values()).split(".")[:2])
        for step in inside:
            step.name = step.name if step.parameters else f"{block}.{step.name}"
        place = max(i for i, step in enumerate(found) if any(step is other for other in inside))
        learns, ends = any(step.backward for step in inside), any(step.ends for step in inside)
        sums = Step(block, None, {}, {}, {}, call.returned[0], forward=[call], ends=ends)
        sums.backward = [back] if learns else None
        found.insert(place + 1, sums)
    return found


def as_float64(params):
    return {name: np.asarray(array, np.float64) for name, array in params.items()}
