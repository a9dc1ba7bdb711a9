"""One message's path through the model, forward and back: every operation, every line, every value.

The shipped code is recorded while it runs, in float64. `ops/` and `model/` contain no code for this: `WatchedTape` is a
Tape that records its calls, and Python's own tracing records the lines.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ... import ops
from ...model import block as block_module
from ...model.classifier import classifier
from ...model.fast import groups
from ...model.language import language_model
from ...model.tape import Tape
from ...model.trainable import trainable_names
from ...ops.attention import attention
from ...ops.cross_entropy import cross_entropy
from ...ops.output_loss import output_loss
from ...system.errors import InputError
from ...text.tokenizer import token_texts
from .page import framed, operation_page, page, save
from .recorder import Call, Recorder
from .sums import Sum, of_input, of_middle, of_tied, of_token

# The files whose lines are recorded. What `remember` calls is recorded; `remember` itself has no formula.
WATCHED = {str(file) for file in Path(ops.__file__).parent.glob("*.py") if file.name != "remember.py"}
BLOCKS = {block_module.block.__code__, block_module.block_at.__code__}


@dataclass(repr=False)
class Step:
    """One operation of the model, or one of a block's two sums.

    name       the name of the operation's parameters, or else its own, after its block's: h.1.ln_1, h.1.attention,
               h.1.sum_1 (a = x + attended), h.1.sum_2 (y = a + fed)
    op         the operation; settings, its arguments that are not arrays of the model
    arguments  {name: array} in the operation's own order; parameters, {argument: parameter's name} among them
    result     the operation's result
    learns     the arguments whose gradient is wanted; gradients, {argument: array} of these
    forward, backward   the Calls of watched functions; backward is None where no gradient function was called
    ends       whether backpropagation stops here, because nothing below learns
    dy         what the gradient functions were given
    sums       where the gradients of the result, or of the parameters, add up
    said       of a learner's own operation, what the check says of it
    beside     of it, too, the wrong arrays: (their possible names, numbers, the right numbers)
    """

    name: str
    op: Callable | None  # None of a sum
    arguments: dict
    parameters: dict[str, str]
    settings: dict
    result: np.ndarray | None = None
    number: int | None = None  # of the tape's calls; None of a sum
    learns: list[str] = field(default_factory=list)
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    forward: list[Call] = field(default_factory=list)
    backward: list[Call] | None = None
    ends: bool = False
    dy: np.ndarray | float | None = None
    sums: list[Sum] = field(default_factory=list)
    said: list[str] | None = None
    beside: list[tuple[set, np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def kind(self):
        """The operation's name; of a sum, sum_1 or sum_2."""
        return self.op.__name__ if self.op else self.name.rsplit(".", 1)[1]

    def __getitem__(self, name):
        """Return the last value of this name: of the forward pass, the backward pass (`dx`), or an argument.

        A name of the operation itself wins over the same name in an operation inside it.
        """
        values = self._values()
        if name not in values:
            raise KeyError(f"{self.name} has no {name!r}")
        return values[name]

    def __repr__(self):
        return f"{self.name}: {', '.join(self.names())}"

    def page(self) -> str:
        """Return the page of this operation alone, as HTML."""
        return operation_page(self)

    def save(self, path) -> None:
        """Write that page to a new file. Raises InputError if the file exists."""
        save(path, self.page())

    def _repr_html_(self):
        return framed(self.page())

    def names(self):
        """Return all names that have a value."""
        return list(self._values())

    def _values(self):
        tops = [*self.forward, *(self.backward or [])]
        inner = [call for top in tops for call in top.all() if call is not top]
        found = {}
        for call in [*inner, *tops]:
            for values in [call.constants, call.arguments, *(made for runs in call.lines.values() for made in runs)]:
                found |= values
        return found


class WatchedTape(Tape):
    """A Tape that records each operation in `steps`, and where gradients add up in `sums`: (name, before, plus, after).

    It runs every operation whole, in this thread, because the Recorder sees one thread. For one message the results
    are the same.
    """

    def __init__(self, params, trainable, recorder, watched):
        super().__init__(params, trainable)
        self.recorder, self.watched, self.steps, self.sums = recorder, watched, [], []

    def __call__(self, op, x, *names, **settings):
        self.watched.add(op.__code__.co_filename)
        if op is attention:
            ((_, settings),) = groups(x, **settings)  # one message is one group
        argument_names = list(inspect.signature(op).parameters)[: 1 + len(names)]
        wanted = [self.something_learns, *(name in self.trainable for name in names)]
        step = Step(
            name=names[0].rsplit(".", 1)[0] if names and x.ndim == 2 and op is not output_loss else op.__name__,
            op=op,
            arguments=dict(zip(argument_names, [x, *(self.params[name] for name in names)])),
            parameters=dict(zip(argument_names[1:], names)),
            settings=settings,
            number=len(self.steps),
            learns=[argument for argument, learns in zip(argument_names, wanted) if learns],
            ends=any(wanted) and not wanted[0],
        )
        self.steps.append(step)

        def watched(function):
            def gradient(dy):
                step.dy, before = np.array(dy), len(self._calls())
                found = function(dy)
                step.gradients[function.__name__[1:]] = np.array(found)
                step.backward = (step.backward or []) + self._calls()[before:]
                return found

            return gradient

        def whole(x, *params):
            before = len(self._calls())
            y, functions = op(x, *params, **settings)
            step.result, step.forward = np.array(y), self._calls()[before:]
            return y, [watched(function) for function in functions]

        return super().__call__(whole, x, *names)

    def _add(self, name, dparam):
        before = np.array(self.grads[name]) if name in self.grads else None
        super()._add(name, dparam)
        if before is not None:
            self.sums.append((name, before, np.array(dparam), np.array(self.grads[name])))

    def _calls(self):
        """Return the calls recorded so far inside the open call."""
        return self.recorder.open.calls if self.recorder.open else self.recorder.calls


@dataclass(repr=False)
class Trace:
    """A message's path through the model.

    text, tokens   the message, and the text of each token
    label          the message's class, or None for a language model
    steps          every operation and each block's two sums, in the order in which they run
    loss, grads    the loss in nats, and {name: gradient} of what learns
    run            run(tape, copies) -> loss, backward: the forward pass of this many copies of the message on a Tape
    other_pooling  the largest relative difference of a gradient between the folded and the ordinary last block
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
    other_pooling: float | None = None

    def __getitem__(self, name) -> Step:
        """Return the step of this name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"no step {name!r}; there are {', '.join(step.name for step in self.steps)}")

    def __repr__(self):
        return f"Trace of {self.text!r}: loss {self.loss:.6f}, steps {', '.join(step.name for step in self.steps)}"

    def page(self) -> str:
        """Return the page, as HTML."""
        return page(self)

    def save(self, path) -> None:
        """Write the page to a new file. Raises InputError if the file exists."""
        save(path, self.page())

    def _repr_html_(self):
        return framed(self.page())


def trace_classifier(clf, text, label, folded=False) -> Trace:
    """Trace one message and its label through a Classifier's loss.

    folded   whether the last block is computed only for the row that is read, as in training, or for all rows

    Raises InputError for a message without tokens, an unknown label, LoRA's adapters.
    """
    if folded and clf.pooling.position == "mean":
        raise InputError("folded: this classifier reads the mean of all rows, not one row: omit it")
    if clf.lora_scale is not None:
        raise InputError(
            "a classifier with LoRA adapters cannot be traced. Save it and trace the run, in which they are merged"
        )
    (ids,), numbers = clf.encode([text]), clf.numbers([label])
    pooling = replace(clf.pooling, folded=folded)

    def run(tape, copies=1, pooling=pooling):
        logits, d_classifier = classifier(tape, np.tile(ids, copies), np.full(copies, len(ids)), clf.config, pooling)
        loss, d_loss = tape(cross_entropy, logits, targets=np.tile(numbers, copies))
        return loss, lambda: d_classifier(d_loss(1.0))

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
    """Trace a text through the language model's loss: each token but the first is predicted from the tokens before it.

    Raises InputError for a text of fewer than two tokens, or a `trainable` that selects nothing.
    """
    learning = trainable_names(trainable, gpt.params, gpt.config)
    ids = np.array(gpt.encode(text), np.int64)
    if len(ids) < 2:
        raise InputError("a language model predicts tokens from earlier ones: give a text of at least two tokens")

    def run(tape, copies=1):
        lengths = np.full(copies, len(ids) - 1)
        return language_model(tape, np.tile(ids[:-1], copies), lengths, np.tile(ids[1:], copies), gpt.config)

    params = as_float64(gpt.params)
    trace = Trace(
        text, token_texts(gpt.encoding, ids), ids, None, None, params, learning, gpt.config, gpt.source, None, run
    )
    return recorded(trace)


def recorded(trace):
    """Run the trace's forward and backward pass, record them, and return the trace."""
    watched = {block_module.__file__, *WATCHED}
    with Recorder(lambda code: code.co_filename in watched) as recorder:
        tape = WatchedTape(trace.params, trace.trainable, recorder, watched)
        loss, backward = trace.run(tape)
        trace.grads = backward()
    trace.loss, trace.sums, trace.steps = float(loss), tape.sums, tape.steps
    embedding = trace.steps[0]
    embedding.sums = of_token(embedding, trace.tokens) + of_tied(trace.sums, embedding.arguments["ids"])
    _add_sums(trace.steps, recorder.calls)
    return trace


def _add_sums(steps, calls):
    """Insert a step for each of a block's two sums where it runs, and name the block's operations after the block."""
    forward = [call for call in calls if call.code in BLOCKS]
    backward = [call for call in calls if call.function.nested and call.function.outer.startswith("block")]
    backward += [None] * len(forward)  # where no backward pass ran
    below = steps[0]  # the step whose result is the block's x
    for call, back in zip(forward, reversed(backward[: len(forward)])):
        own = [step for step in steps if step.number is not None and _within(call, step)]
        name = next(".".join(step.name.split(".")[:2]) for step in own if step.parameters)  # h.3 of h.3.ln_1
        for step in own:
            if not step.parameters:
                step.name = f"{name}.{step.name}"
        mlp = next(inner for inner in call.calls if inner.function.name == "mlp")
        middle, end = _first_sum(name, call), _second_sum(name, call)
        steps.insert(next(i for i, step in enumerate(steps) if step in own and _within(mlp, step)), middle)
        steps.insert(steps.index(own[-1]) + 1, end)
        if any(step.backward for step in own):
            _add_gradients(name, below, middle, end, back)
        below = end


def _within(call, step):
    return any(inner is step.forward[0] for inner in call.all())


def _first_sum(name, call):
    part = call.only({"x", "x_read", "attended", "a"}, "block")
    return Step(f"{name}.sum_1", None, {}, {}, {}, _value_in(part, "a"), forward=[part])


def _second_sum(name, call):
    part = call.only({"a", "fed", "y"}, "block")
    return Step(f"{name}.sum_2", None, {}, {}, {}, call.returned[0], forward=[part])


def _value_in(call, name):
    return next(made[name] for runs in call.lines.values() for made in runs if name in made)


def _add_gradients(name, below, middle, end, back):
    """Give the block's sums, and the step below the block, the gradients that the block's backward pass added."""
    title = name.replace("h.", "block ") + ", backward"
    end.dy = back.arguments["dy"]
    end.backward = [back.only({"dy"}, title)]
    if added := of_middle(back):
        middle.dy, middle.sums = added.total[1], [added]
        middle.backward = [back.only({"dy", "da"}, title)]
    if added := of_input(back):
        below.sums.insert(0, added)
        if below.op is None:
            below.backward.insert(0, back.only({"da", "dx"}, f"{title}: its x is this y"))


def as_float64(params):
    return {name: np.asarray(array, np.float64) for name, array in params.items()}
