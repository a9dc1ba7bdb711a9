"""PyTorch's CPU random numbers, drawn with NumPy: the same seed gives the same new head and the same order of messages.

Both libraries run mt19937 (Matsumoto & Nishimura 1998), seeded alike; what differs is how 32-bit words become
numbers, which here follows PyTorch's aten/src/ATen/core/TransformationHelper.h, native/TensorFactories.cpp (randperm)
and nn/init.py.
"""

import numpy as np

from ..system.errors import InputError

# From here on torch.randperm draws 64-bit words instead: (2**32 - 1) // 20.
_RANDPERM_LIMIT = 214_748_364


class Generator:
    """The stream of `torch.Generator().manual_seed(seed)`. As there, only the low 32 bits of the seed count."""

    def __init__(self, seed):
        self._mt19937 = np.random.RandomState(seed % 2**32)

    def get_state(self):
        """(625,) uint32: mt19937's 624 words, and how many of them are drawn. Where the stream goes on from."""
        _, words, drawn, *_ = self._mt19937.get_state()
        return np.append(words, np.uint32(drawn))

    def set_state(self, state):
        self._mt19937.set_state(("MT19937", state[:-1], int(state[-1])))

    def _words(self, count):
        return self._mt19937.randint(0, 2**32, count, dtype=np.uint32)  # the full range: the raw draws

    def uniform(self, low, high, shape):
        """float32 array, uniform in [low, high): `torch.empty(shape).uniform_(low, high)`.

        One word a number, its low 24 bits: u = (word mod 2^24) / 2^24, then u * (high - low) + low. PyTorch's kernels
        for AVX2 and later fuse that into one rounding (2.13); float64 holds the unrounded value, so this does too.
        """
        low, high = np.float32(low), np.float32(high)
        u = (self._words(shape) & 0xFFFFFF) * 2.0**-24
        return (u * float(high - low) + float(low)).astype(np.float32)

    def random_int64(self):
        """An int in [0, 2^63): `torch.empty((), dtype=torch.int64).random_()`. Two words, the high one first, less
        the top bit."""
        high, low = self._words(2).tolist()
        return (high << 32 | low) & (2**63 - 1)

    def randperm(self, n):
        """0 … n-1 in random order, int64 (n,): `torch.randperm(n)`, a Fisher-Yates shuffle from the front.

        Raises InputError for n of 214,748,364 and more, where PyTorch changes its method.
        """
        if n >= _RANDPERM_LIMIT:
            raise InputError(f"cannot shuffle {n} messages as PyTorch would: use fewer than {_RANDPERM_LIMIT}")
        order = list(range(n))
        for i, word in enumerate(self._words(max(n - 1, 0)).tolist()):
            j = i + word % (n - i)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)


def linear_init(generator, in_features, out_features):
    """What `torch.nn.Linear(in_features, out_features)` starts from: (weight (in, out), bias (out,)), float32.

    Both are uniform in ±1/sqrt(in_features). PyTorch draws the weight first, as [out, in]; it is returned as our [in,
    out].
    """
    bound = in_features**-0.5
    weight = generator.uniform(-bound, bound, (out_features, in_features))
    bias = generator.uniform(-bound, bound, (out_features,))
    return np.ascontiguousarray(weight.T), bias


def loader_order(generator, n, shuffle):
    """The order, int64 (n,), of one fresh pass over a DataLoader of n messages.

    Takes from the generator what PyTorch's default generator would lose to it: a base seed for workers, drawn even
    where there are none; and for a shuffled loader, when its sampler starts, the seed of the generator that makes the
    permutation.
    """
    generator.random_int64()
    if not shuffle:
        return np.arange(n, dtype=np.int64)
    return Generator(generator.random_int64()).randperm(n)
