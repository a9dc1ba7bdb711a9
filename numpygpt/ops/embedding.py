import numpy as np


def embedding(ids, wte, wpe, lengths, needs=(False, True, True)):
    """x[n] = wte[ids[n]] + wpe[positions[n]],  positions counting from 0 in each message

    ids (N,) whole numbers, wte (V, D), wpe (positions, D) -> x (N, D). backward: dx (N, D) -> None (ids have no
    gradient), dwte, dwpe.

    A row of a table is copied to every place that has its number, so it gets the sum of those places' gradients.
    """
    positions = np.concatenate([np.arange(T) for T in lengths])
    x = wte[ids] + wpe[positions]

    def backward(dx):
        dwte = sum_by_number(dx, ids, wte) if needs[1] else None
        dwpe = sum_by_number(dx, positions, wpe) if needs[2] else None
        return None, dwte, dwpe

    return x, backward


def sum_by_number(dx, numbers, table):
    """The gradient of `table`, from the gradients dx of copies of its rows: row numbers[n] went to place n."""
    dtable = np.zeros_like(table)
    for number, row in zip(
        numbers, dx
    ):  # and not dtable[numbers] += dx, which adds a number that comes twice only once
        dtable[number] += row
    return dtable
