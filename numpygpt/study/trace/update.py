"""One step of AdamW on a trace's gradients: its lines for one parameter, and the loss before and after."""

from dataclasses import dataclass

import numpy as np

from ...model.tape import Tape
from ...training.adamw import AdamW
from ...training.schedule import default_lr
from .recorder import Call, Recorder


@dataclass(frozen=True)
class Update:
    """name, gradient, old, new   a parameter that is easy to read, its gradient, and its values before and after
    lr              the learning rate
    calls           the recorded Calls of AdamW's update of this parameter
    before, after   the loss, before and after a step of all parameters that learn
    """

    name: str
    gradient: np.ndarray
    old: np.ndarray
    new: np.ndarray
    lr: float
    calls: list[Call]
    before: float
    after: float


def update_of(trace) -> Update:
    """Make one step of AdamW on copies of the parameters, and return its Update."""
    name = min(trace.trainable, key=lambda name: (name != "head.weight", "ln_f" not in name, trace.params[name].size))
    params = {n: np.array(a) if n in trace.trainable else a for n, a in trace.params.items()}
    lr, one = default_lr(trace.config), {name: np.array(params[name])}
    with Recorder(is_update) as recorder:
        AdamW(one, [name], lr=lr).step({name: trace.grads[name]})
    AdamW(params, trace.trainable, lr=lr).step(trace.grads)
    after = float(np.ravel(trace.run(Tape(params))[0])[0])
    old = np.array(trace.params[name])
    return Update(name, trace.grads[name], old, one[name], lr, recorder.calls, trace.loss, after)


def is_update(code):
    """Whether a code object is that of AdamW's formula."""
    return code is AdamW.update.__code__ or code in AdamW.update.__code__.co_consts
