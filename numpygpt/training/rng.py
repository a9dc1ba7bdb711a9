"""PyTorch's CPU random numbers, drawn with NumPy: the same seed gives the same new head and the same order of messages.

Both libraries use mt19937 (Matsumoto & Nishimura 1998) with the same seeding, and differ in how 32-bit words become
numbers. That conversion follows PyTorch's aten/src/ATen/core/TransformationHelper.h, native/TensorFactories.cpp
(randperm) and nn/init.py.
"""

import numpy as np

from ..system.errors import InputError

# From this n on, (2**32 - 1) // 20, torch.randperm draws 64-bit words instead.
_RANDPERM_LIMIT = 214_748_364


class Generator:
    """The random stream of `torch.Generator().manual_seed(seed)`. As in PyTorch, only the seed's low 32 bits count."""

    def __init__(self, seed):
        self._mt19937 = np.random.RandomState(seed % 2**32)

    def get_state(self):
        """Return the state, (625,) uint32: mt19937's 624 words, and how many of them have been drawn."""
        _, words, drawn, *_ = self._mt19937.get_state()
        return np.append(words, np.uint32(drawn))

    def set_state(self, state):
        self._mt19937.set_state(("MT19937", state[:-1], int(state[-1])))

    def _words(self, count):
        return self._mt19937.randint(0, 2**32, count, dtype=np.uint32)  # the full range: the raw draws

    def uniform(self, low, high, shape):
        """Return a float32 array, uniform in [low, high): `torch.empty(shape).uniform_(low, high)`.

        Each number takes the low 24 bits of one word: u = (word mod 2^24) / 2^24, then u * (high - low) + low.
        PyTorch's kernels for AVX2 and later round that expression only once (2.13). So does this function: float64
        holds the unrounded value.
        """
        low, high = np.float32(low), np.float32(high)
        u = (self._words(shape) & 0xFFFFFF) * 2.0**-24
        return (u * float(high - low) + float(low)).astype(np.float32)

    def random_int64(self):
        """Return an int in [0, 2^63): `torch.empty((), dtype=torch.int64).random_()`.

        It is made of two words, the high word first, without the top bit.
        """
        high, low = self._words(2).tolist()
        return (high << 32 | low) & (2**63 - 1)

    def randperm(self, n):
        """Return 0 … n-1 in random order, int64 (n,): `torch.randperm(n)`, a Fisher-Yates shuffle from the front.

        Raises InputError from n = 214,748,364 on, where PyTorch changes its method.
        """
        if n >= _RANDPERM_LIMIT:
            raise InputError(f"cannot shuffle {n} messages as PyTorch does. Use fewer than {_RANDPERM_LIMIT}")
        order = list(range(n))
        for i, word in enumerate(self._words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)


def linear_init(generator, in_features, out_features):
    """Return the initial (weight (in, out), bias (out,)), float32, of `torch.nn.Linear(in_features, out_features)`.

    Both are uniform in ±1/sqrt(in_features). PyTorch draws the weight first, as [out, in]; this function returns its
    transpose.
    """
    bound = in_features**-0.5
    weight = generator.uniform(-bound, bound, (out_features, in_features))
    bias = generator.uniform(-bound, bound, (out_features,))
    return np.ascontiguousarray(weight.T), bias


def loader_order(generator, n, shuffle):
    """Return the order, int64 (n,), of one fresh pass over a DataLoader of n messages.

    It draws the same numbers from `generator` as PyTorch draws from its default generator: a base seed for workers,
    even where there are none; and for a shuffled loader the seed of the generator that makes the permutation.
    """
    generator.random_int64()
    if not shuffle:
        return np.arange(n, dtype=np.int64)
    return Generator(generator.random_int64()).randperm(n)
