"""The tape: it runs operations, keeps the gradient functions it needs, and collects the parameters' gradients.

The model's own files read as if all parameters were trainable. Freezing happens here, in one place.
"""

from collections import Counter

from ..system import blas
from .fast import FAST, call, keep, whole


class Tape:
    """Parameters by name, and their gradients. Use a new tape for every forward pass.

    params      {name: array}
    trainable   names whose gradients are wanted
    grads       {name: gradient}, filled by the backward pass
    own         an OwnOperations: functions to call in the place of shipped operations, which `op` then names
    input_learns   whether the gradient of the model's input is wanted too; the backward pass puts it in `dinput`
    finished    a function of {name: gradient}. The backward pass calls it, perhaps on another core, when a gradient is
                complete and the parameter is not read any more; `grads` then does not keep the gradient

    y, backward = tape(op, x, *names, **settings) runs op(x, *parameters of those names, **settings). `backward` takes
    dy, adds the gradients of trainable parameters to `grads`, and returns dx. Backpropagation stops where no parameter
    below is trainable: there `backward` returns 0.0, and the operation keeps no activations.
    """

    def __init__(self, params, trainable=frozenset(), input_learns=False, own=None, finished=None):
        self.params, self.trainable, self.grads = params, trainable, {}
        self.own, self.finished = own, finished
        self.something_learns = input_learns  # so far; later operations must then return dx
        self.used, self.dinput = False, None
        self.uses = Counter()  # of each trainable parameter, minus those that the backward pass has finished
        self.started = []  # functions that wait for what another core has begun

    def __call__(self, op, x, *names, **settings):
        if self.used:
            raise RuntimeError("this tape's backward pass has run: use a new Tape for another forward pass")
        params = [self.params[name] for name in names]
        wanted = (self.something_learns, *(name in self.trainable for name in names))
        self.something_learns = any(wanted)
        self.uses.update(name for name in names if name in self.trainable)
        divide, join = FAST.get(op, (whole, None))
        parts = divide(x, *params, **settings)
        op = op if self.own is None else self.own[op]
        if len(parts) == 1:
            y, functions = op(x, *params, **parts[0][1])
            d_x, *d_params = keep(functions, wanted)

            def gradients(dy):
                dx = None if d_x is None else d_x(dy)
                # A core that is idle forms the parameters' gradients while this one goes on with dx.
                once = any(wanted[1:]) and all(self.uses[name] < 2 for name in names)
                waits = blas.start(lambda: self._add_all(names, call(d_params, dy))) if once else None
                if waits is None:
                    return dx, *call(d_params, dy)
                self.started.append(waits)
                return (dx,)
        else:
            y, gradients = join(op, x, params, parts, wanted)

        def backward(dy):
            if not any(wanted):
                return 0.0
            dx, *dparams = gradients(dy)
            self._add_all(names, dparams)
            return 0.0 if dx is None else dx

        return y, backward

    def _add_all(self, names, dparams):
        for name, dparam in zip(names, dparams):
            if dparam is not None:
                self._add(name, dparam)

    def _add(self, name, dparam):
        if name in self.grads:
            self.grads[name] += dparam  # a parameter used in two places, like the tied embedding
        else:
            self.grads[name] = dparam
        self.uses[name] -= 1
        if self.finished and not self.uses[name]:
            self.finished({name: self.grads.pop(name)})

    def backward_once(self, backward):
        """Return a model's backward as a function that can be called once and returns {name: gradient}.

        A second call raises RuntimeError, because the first call frees the activations.
        """

        def once(*dy):
            if self.used:
                raise RuntimeError(
                    "this backward has been called, which freed the activations: run the forward pass again"
                )
            self.used = True
            self.dinput = backward(*dy)
            for waits in reversed(self.started):  # what no core has begun yet is done here
                waits()
            return self.grads

        return once


def weight_and_bias(name):
    """Return the names of a layer's two parameters."""
    return f"{name}.weight", f"{name}.bias"
