"""Arrays as the page has them: shape, range, mean, a histogram, and the numbers themselves, of a large array some
of them.

A number takes four characters: the upper three bytes of its float32 (five digits of it), in base 64.
"""

import base64
import hashlib

import numpy as np

BARS = 16  # of a histogram
SIZES = (
    6144,
    4096,
    3072,
    2048,
    1536,
    1024,
    768,
    512,
    384,
    256,
    128,
    64,
    32,
)  # how many numbers of an array are shown at most
LIMIT = 2_600_000  # characters for all numbers of a page


class Arrays:
    """The arrays of one page; what is equal is there once.

    sizes    [(letter, size)] of the dimensions, to name them
    rows     the message's; of the tables, of `vocabulary` and `positions` rows, those are shown that its token
             `ids` and places name
    """

    def __init__(self, sizes, rows, ids, vocabulary, positions):
        self.sizes, self.rows, self.vocabulary, self.positions = sizes, rows, vocabulary, positions
        self.shown_rows = sorted(set(map(int, ids)))
        self.arrays, self.numbers = [], {}

    def add(self, value) -> int:
        """The number under which the page knows this array."""
        value = np.asarray(value)
        key = hashlib.sha256(
            repr((value.shape, value.dtype.kind)).encode() + np.ascontiguousarray(value).tobytes()
        ).digest()
        if key not in self.numbers:
            self.numbers[key] = len(self.arrays)
            self.arrays.append(value)
        return self.numbers[key]

    def packed(self):
        """(JSON-able list of all of them, the most numbers shown of one)."""
        for most in SIZES:
            choices = [self._choice(_stack(array), most) for array in self.arrays]
            numbers = sum(len(_stack(a)) * len(rows) * len(columns) for a, (rows, columns) in zip(self.arrays, choices))
            if 4 * numbers <= LIMIT:
                break
        return [self._packed(array, *choice) for array, choice in zip(self.arrays, choices)], most

    def letters(self, shape):
        """The shape with its letters: `N 23, D 192`."""
        found, rows = [], "T" if len(shape) > 2 else "N"
        for axis, size in enumerate(shape):
            here = [letter for letter, known in self.sizes if known == size]
            last = axis == len(shape) - 1
            letter = next((x for x in here if last == (x not in "NHBTP")), here[0] if here else "")
            letter = "" if size == 1 else rows if letter == "N" else letter
            found.append(f"{letter} {size}".strip())
        return ", ".join(found)

    def _packed(self, array, rows, columns):
        if array.size == 1:
            return {"v": f"{float(array.reshape(())):.10g}"}
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        entry = {"s": self.letters(array.shape), "n": list(array.shape)}
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            entry |= {
                "lo": _short(low),
                "hi": _short(high),
                "mean": _short(float(finite.mean())),
                "h": _bars(finite, low, high),
            }
        else:
            entry |= {"lo": "", "hi": "", "mean": "", "h": ""}
        stack = _stack(array)
        cells = stack[:, rows][:, :, columns]
        if len(rows) < stack.shape[1]:
            entry["ri"] = rows.tolist()
        if len(columns) < stack.shape[2]:
            entry["ci"] = columns.tolist()
        return entry | {"d": list(cells.shape), "c": _coded(cells), "one": int(array.ndim == 1)}

    def _choice(self, stack, most):
        """The rows and the columns that are shown of each matrix of a stack, `most` numbers at most."""
        _, rows, columns = stack.shape
        if rows == self.vocabulary:
            chosen = np.array(self.shown_rows)
        elif rows in (self.rows, self.positions):
            chosen = np.arange(min(self.rows, rows, most // 8))
        else:
            chosen = _spread(rows, min(64, most // 8))
        room = max(1, most // len(chosen))
        if room < columns == self.vocabulary:  # of logits those of the tokens in sight, too: there the gradient is
            shown = np.array(self.shown_rows[: room // 2], int)
            return chosen, np.union1d(shown, _spread(columns, max(1, room - len(shown))))
        return chosen, _spread(columns, room)


def _stack(array):
    """An array as a stack of matrices: a vector is one row, what has more axes than two has them first."""
    return array.reshape(-1, *array.shape[-2:]) if array.ndim > 1 else array.reshape(1, 1, -1)


def _spread(size, count):
    return np.arange(size) if count >= size else np.unique(np.linspace(0, size - 1, count).round().astype(int))


def _bars(finite, low, high):
    """A digit 0…9 for each bar: its height."""
    if low == high:
        return "0" * (BARS // 2) + "9" + "0" * (BARS // 2 - 1)
    counts, _ = np.histogram(finite.ravel(), BARS, (low, high))
    heights = np.ceil(9 * counts / counts.max()).astype(int)
    return "".join(map(str, heights))


def _coded(cells):
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(cells, np.float32).view(np.uint32)
    rounded = np.where(bits & 0x7F800000 == 0x7F800000, bits, bits + 0x80) >> 8
    data = rounded.astype(">u4").tobytes()
    return base64.b64encode(np.frombuffer(data, np.uint8).reshape(-1, 4)[:, 1:].tobytes()).decode()


def _short(number):
    return f"{number:.4g}"
