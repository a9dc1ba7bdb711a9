"""What a tape through the model needs besides the operations: parameters by name, and a place for their gradients."""


class Tape:
    """One forward pass, remembering what its backward pass will need, and not more.

    params      {name: array}
    trainable   names whose gradients are wanted
    grads       {name: gradient}, filled by the backward functions

    Called as `y, backward = tape(op, x, *names, **settings)`, it runs op(x, *parameters of those names, **settings). The backward
    it returns takes dy, stores the gradients of the trainable parameters, and returns dx: or None, if nothing trainable lies
    before x, so that no gradient has to go there. Then all backward functions from there down pass the None on and cost nothing,
    and their forward operations have kept no activations.
    """

    def __init__(self, params, trainable=frozenset()):
        self.params, self.trainable, self.grads = params, trainable, {}
        self.learning = False  # has the tape met a trainable parameter yet?

    def __call__(self, op, x, *names, **settings):
        needs = (self.learning, *(name in self.trainable for name in names))
        y, op_backward = op(x, *(self.params[name] for name in names), needs=needs, **settings)
        if not any(needs):
            return y, lambda dy: None
        self.learning = True

        def backward(dy):
            if not names:
                return op_backward(dy)
            dx, *dparams = op_backward(dy)
            for name, dparam in zip(names, dparams):
                if name in self.grads:
                    self.grads[name] += dparam  # used in two places, as a tied embedding is
                elif name in self.trainable:
                    self.grads[name] = dparam
            return dx

        return y, lambda dy: None if dy is None else backward(dy)


def both(name):
    """The names of a layer's two parameters."""
    return f"{name}.weight", f"{name}.bias"
