import numpy as np


def embedding(ids, wte, wpe, lengths):
    """x[n] = wte[ids[n]] + wpe[positions[n]],  where positions count from 0 in each message

    ids (N,) whole numbers, wte (V, D), wpe (positions, D) -> x (N, D). ids have no gradient. Raises IndexError for an
    id outside 0…V-1 and for a message longer than wpe.

    A row of a table is copied to each place that has its number, so it receives the sum of those places' gradients:
        dwte[i] = sum of dx[n] where ids[n] = i        dwpe[i] = sum of dx[n] where positions[n] = i
    """
    if np.min(ids) < 0:
        raise IndexError(f"id {np.min(ids)} is negative")  # NumPy would count it from the end of the table
    positions = np.concatenate([np.arange(T) for T in lengths])
    x = wte[ids] + wpe[positions]

    def dwte(dx):
        return sum_by_number(dx, ids, len(wte))

    def dwpe(dx):
        return sum_by_number(dx, positions, len(wpe))

    return x, (dwte, dwpe)


def sum_by_number(dx, numbers, count):
    """Return (count, D): row i is the sum of the rows of dx whose number is i."""
    sums = np.zeros((count, dx.shape[1]), dx.dtype)
    # A loop, because sums[numbers] += dx would add only one of the rows that share a number.
    for number, row in zip(numbers, dx):
        sums[number] += row
    return sums
