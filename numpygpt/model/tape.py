"""The tape: what a forward pass carries through the model besides the rows, so that the way back finds its
parameters' gradients.

The model's own files read as if everything learned. What is frozen is spared here, in one place.
"""

from ..system.late import LATE


class Tape:
    """Parameters by name, which of them learn, and a place for their gradients.

    params      {name: array}
    trainable   names whose gradients are wanted
    grads       {name: gradient}, filled on the way back
    input_learns   whether a gradient is wanted for what enters the first operation, too
    late        a weight's gradient may be a `Product`, for an optimizer that reads it a few rows at a time

    y, backward = tape(op, x, *names, **settings) runs op(x, *parameters of those names, **settings). Its backward
    takes dy, stores the gradients of the parameters that learn, and returns dx. Where nothing before x learns, it
    ends the way back instead, by raising NothingBelowLearns; operations before that one have kept nothing for a
    backward pass.
    """

    def __init__(self, params, trainable=frozenset(), input_learns=False, late=False):
        self.params, self.trainable, self.grads = params, trainable, {}
        self.wanted = LATE if late else True
        self.something_learns = input_learns  # up to here; everything above must then pass a gradient down

    def __call__(self, op, x, *names, **settings):
        x_needs = self.something_learns
        needs = (x_needs, *(name in self.trainable and self.wanted for name in names))
        y, op_backward = op(x, *(self.params[name] for name in names), needs=needs, **settings)
        self.something_learns = any(needs)
        if not any(needs):
            op_backward = None  # and with it goes what it would have kept

        def backward(dy):
            if op_backward is None:
                raise NothingBelowLearns
            if not names:
                return op_backward(dy)
            dx, *dparams = op_backward(dy)
            for name, dparam in zip(names, dparams):
                self._add(name, dparam)
            if not x_needs:
                raise NothingBelowLearns
            return dx

        return y, backward

    def _add(self, name, dparam):
        if name in self.grads:
            self.grads[name] += dparam  # used in two places, as the tied embedding is
        elif name in self.trainable:
            self.grads[name] = dparam

    def way_back(self, backward):
        """A model's whole backward, made a function that returns grads, {name: gradient of what learns}, and can be
        called once.

        Once, because activations are given back on the way, and gradients add up. A second call raises RuntimeError.
        """
        called = False

        def once(*dy):
            nonlocal called
            if called:
                raise RuntimeError(
                    "this backward has been called, and what it needs is gone: run the forward pass again"
                )
            called = True
            try:
                backward(*dy)
            except NothingBelowLearns:
                pass
            return self.grads

        return once


class NothingBelowLearns(Exception):
    """The way back ends: no gradient goes further down, since nothing there learns."""


def both(name):
    """The names of a layer's two parameters."""
    return f"{name}.weight", f"{name}.bias"
