"""How an operation is made fast without touching its formula: a piece of its rows at a time, on all cores.

An elementwise formula goes over its arrays many times. Over a whole batch each pass is limited by memory; over a
piece that stays in a core's cache, hardly, and a temporary array costs little. The operation is written for any
number of rows; these decorators call it for pieces of them and put the results, and later the gradients, together.
"""

from functools import wraps

import numpy as np

from .blas import parallel

PIECE = 1 << 20  # bytes of x to a piece: few enough for the cache, enough that Python's part of the work does not show
FEW = 4  # pieces that are not worth waking the other cores, and putting together again
GROUP = 1 << 18  # entries of a group's attention weights: 1 MiB in float32
SLICE = 1 << 24  # logits computed at a time: 64 MiB in float32
BUNDLE = 1 << 18  # numbers that one core updates before it takes the next: small tensors together


def pieces(x):
    """Slices of consecutive rows that together are x, each about PIECE bytes."""
    step = max(1, PIECE // max(1, x[:1].nbytes))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def by_rows(op):
    """An operation on x (N, …) whose rows do not depend on each other, with pieces of x on all cores.

    op(x, *parameters, needs, **settings) -> y (N, …), backward. A parameter's gradient is the sum of the pieces'.
    """

    @wraps(op)
    def in_pieces(x, *parameters, needs=(True,) * 9, **settings):
        parts = pieces(x) if x.nbytes >= FEW * PIECE else [slice(None)]
        return _joined(lambda rows: op(x[rows], *parameters, needs=needs, **settings), parts, x, needs)

    return in_pieces


def by_message(op):
    """An operation on messages of one length, made one on messages of any lengths, laid end to end.

    op(x, lengths, …) may take it that all lengths are equal. Neighbours of one length come together, as many at a
    time as keep n_head * T * T numbers each in the cache: a batch padded to one length is a few large products, other
    messages one each. Raises ValueError where the lengths do not sum to its rows, or one is 0.
    """

    @wraps(op)
    def each_group(qkv, lengths, n_head, *, needs=(True,), **settings):
        check_lengths(lengths, len(qkv))
        groups = list(_equal_lengths(lengths, n_head))

        def run(group):
            rows, T = group
            lengths = [T] * ((rows.stop - rows.start) // T)
            return op(qkv[rows], lengths, n_head, needs=needs, **settings)

        return _joined(run, groups, qkv, needs, rows_of=lambda group: group[0])

    return each_group


def _joined(run, parts, x, needs, rows_of=lambda rows: rows):
    """(y, backward) of the whole from run(part) -> (y, backward) of each part."""
    if len(parts) == 1:
        return run(parts[0])
    done = parallel(run, parts)
    y = np.concatenate([y for y, _ in done])
    backwards = [backward for _, backward in done] if any(needs) else None

    def backward(dy):
        def part_backward(i):
            result = backwards[i](dy[rows_of(parts[i])])
            return result if isinstance(result, tuple) else (result,)

        gradients = zip(*parallel(part_backward, range(len(parts))))
        dx, *dparameters = gradients
        dx = np.concatenate(dx) if needs[0] else None
        sums = [sum(parts[1:], parts[0]) if parts[0] is not None else None for parts in dparameters]
        return (dx, *sums) if sums else dx

    return y, backward


def mean_of_slices(op):
    """op(x, wte, targets, needs) -> loss, the mean over rows of x (N, D), with at most SLICE logits at a time.

    Each slice counts in the mean as often as it has rows.
    """

    @wraps(op)
    def in_slices(x, wte, targets, needs=(True, True)):
        step = max(1, SLICE // len(wte))
        slices = [slice(start, start + step) for start in range(0, len(x), step)]
        if len(slices) == 1:
            return op(x, wte, targets, needs=needs)
        done = [op(x[rows], wte, targets[rows], needs=needs) for rows in slices]
        shares = [len(x[rows]) / len(x) for rows in slices]
        loss = sum(part * share for (part, _), share in zip(done, shares)).astype(x.dtype)
        backwards = [backward for _, backward in done] if any(needs) else None

        def backward(dloss=1.0):
            dxs, dwte = [], None
            for part_backward, share in zip(backwards, shares):
                dx, part = part_backward(dloss * share)
                dxs.append(dx)
                dwte = part if dwte is None else np.add(dwte, part, out=dwte)
            return np.concatenate(dxs) if needs[0] else None, dwte

        return loss, backward

    return in_slices


def check_lengths(lengths, N):
    """Raise ValueError unless these are the lengths of messages that together have N rows."""
    if len(lengths) == 0 or min(lengths) < 1 or sum(lengths) != N:
        raise ValueError(
            f"lengths must be at least 1 and sum to the {N} rows, got {list(map(int, lengths[:9]))}, sum {sum(lengths)}"
        )


def _equal_lengths(lengths, n_head):
    """(rows, T) of runs of neighbouring messages of one length T."""
    start = first = 0
    while first < len(lengths):
        T = int(lengths[first])
        most = first + max(1, GROUP // (n_head * T * T))
        last = first + 1
        while last < min(most, len(lengths)) and lengths[last] == T:
            last += 1
        yield slice(start, start + (last - first) * T), T
        start, first = start + (last - first) * T, last


def each_piece(function, groups):
    """function(*parts) for matching pieces of each group of equally shaped arrays, on all cores; for work done in
    place. All but a group's first may also be Products, each piece of which is made where it is worked on."""
    parallel(lambda bundle: [function(*(array[rows] for array in group)) for group, rows in bundle], _bundles(groups))


def _bundles(groups):
    bundle, numbers = [], 0
    for group in groups:
        for rows in pieces(group[0]):  # rows, and not a flat view, which would be a copy if an array is not in C order
            bundle.append((group, rows))
            numbers += group[0][rows].size
            if numbers >= BUNDLE:
                yield bundle
                bundle, numbers = [], 0
    yield bundle
