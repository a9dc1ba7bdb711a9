"""How the tape runs an operation fast, without touching its formula: in parts of its rows, on all cores.

An elementwise formula passes over its arrays many times. Over a whole batch, memory limits the speed of each pass; over
a chunk that stays in a core's cache, it hardly does. Attention takes messages of one length, and the logits of a whole
vocabulary are too large to exist at once. FAST lists these operations. All others run whole.
"""

import numpy as np

from ..ops.attention import attention
from ..ops.gelu import gelu
from ..ops.layernorm import layernorm
from ..ops.output_loss import output_loss
from ..ops.pool import check_lengths
from ..system import chunks as by_size
from ..system.blas import parallel

MIN_CHUNKS = 4  # with fewer, waking the other cores and joining the results costs more than it saves
GROUP = 1 << 18  # entries of a group's attention weights: 1 MiB in float32
SLICE = 1 << 24  # logits computed at a time: 64 MiB in float32


def whole(x, *params, **settings):
    """Return one part, [(rows, settings)], with all rows."""
    return [(slice(None), settings)]


def chunks(x, *params, **settings):
    """Divide rows that do not depend on each other into chunks that fit the cache."""
    parts = by_size.chunks(x)
    return [(rows, settings) for rows in parts] if len(parts) >= MIN_CHUNKS else [(slice(None), settings)]


def groups(qkv, lengths, n_head, **settings):
    """Divide messages of any lengths, laid end to end, into groups of neighbours that have one length T.

    A group has at most GROUP attention weights. A batch padded to one length gives a few large products. Messages of
    different lengths give one product each. Raises ValueError where the lengths do not sum to the rows, or one is 0.
    """
    check_lengths(lengths, len(qkv))
    parts, start, first = [], 0, 0
    while first < len(lengths):
        T = int(lengths[first])
        most = first + max(1, GROUP // (n_head * T * T))
        last = first + 1
        while last < min(most, len(lengths)) and lengths[last] == T:
            last += 1
        stop = start + (last - first) * T
        parts.append((slice(start, stop), {"T": T, "n_head": n_head, **settings}))
        start, first = stop, last
    return parts


def slices(x, wte, targets):
    """Divide rows so that at most SLICE logits, one for each row and vocabulary entry, exist at a time."""
    step = max(1, SLICE // len(wte))
    parts = [slice(start, start + step) for start in range(0, len(x), step)]
    return [(rows, {"targets": targets[rows]}) for rows in parts]


def joined(op, x, params, parts, wanted):
    """Run `op` on `parts` of x (N, …), on all cores. Return y (N, …) and `gradients`.

    gradients(dy) returns a list: x's gradient, joined from the parts, and each parameter's gradient, summed over the
    parts. It has None for gradients that are not wanted.
    """

    def run(part):
        rows, settings = part
        y, functions = op(x[rows], *params, **settings)
        return y, keep(functions, wanted)

    done = parallel(run, parts)
    y = np.concatenate([y for y, _ in done])
    kept = [functions for _, functions in done]

    def gradients(dy):
        def part_gradients(i):
            rows, _ = parts[i]
            return call(kept[i], dy[rows])

        dx, *dparams = zip(*parallel(part_gradients, range(len(parts))))
        return [None if dx[0] is None else np.concatenate(dx), *map(_sum, dparams)]

    return y, gradients


def averaged(op, x, params, parts, wanted):
    """Like `joined`, for an operation whose result is a mean over rows. Runs one part after another."""
    shares = [len(x[rows]) / len(x) for rows, _ in parts]
    loss, kept = 0, []
    for (rows, settings), share in zip(parts, shares):
        part_loss, functions = op(x[rows], *params, **settings)
        loss += part_loss * share
        kept.append(keep(functions, wanted))

    def gradients(dloss):
        dxs, dparams = [], None
        for share in shares:
            dx, *found = call(kept.pop(0), dloss * share)  # pop frees the part's logits
            dxs.append(dx)
            dparams = found if dparams is None else [_add(a, b) for a, b in zip(dparams, found)]
        return [None if dxs[0] is None else np.concatenate(dxs), *dparams]

    return loss.astype(x.dtype), gradients


# Operation: (how its rows are divided, how the parts' results are put together)
FAST = {
    layernorm: (chunks, joined),
    gelu: (chunks, joined),
    attention: (groups, joined),
    output_loss: (slices, averaged),
}


def keep(functions, wanted):
    """Return the gradient function of each argument, or None for a gradient that is not wanted."""
    missing = len(wanted) - len(functions)  # token ids have no gradient, and so no function
    return [None] * missing + [f if w else None for f, w in zip(functions, wanted[missing:])]


def call(functions, dy):
    """Return each function's gradient of dy; None stays None."""
    return [None if function is None else function(dy) for function in functions]


def _sum(gradients):
    return None if gradients[0] is None else sum(gradients[1:], gradients[0])


def _add(total, gradient):
    return None if total is None else np.add(total, gradient, out=total)
