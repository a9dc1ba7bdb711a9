"""Find the distinct messages of a data set, so that repeated messages are computed only once."""

import hashlib
from array import array

import numpy as np


class DistinctMessages:
    """The token ids of the distinct messages, in order of appearance.

    slot     (messages,) the index of each given message among the distinct messages
    ids      the concatenated token ids of all distinct messages
    counts   (distinct,) the number of tokens of each distinct message
    """

    def __init__(self, messages):
        places, slot, ids, counts = {}, [], array("i"), []
        for message in messages:
            message = np.ascontiguousarray(message, np.int32)
            key = hashlib.blake2b(message, digest_size=16).digest()  # shorter than the message, which may be long
            if key not in places:
                places[key] = len(places)
                ids.frombytes(message.tobytes())
                counts.append(len(message))
            slot.append(places[key])
        self.slot, self.ids, self.counts = np.array(slot), np.frombuffer(ids, np.int32), np.array(counts)
        self._starts = np.cumsum(self.counts) - self.counts

    def ids_of(self, i):
        """Return the token ids (T,) of distinct message i."""
        return self.ids[self._starts[i] : self._starts[i] + self.counts[i]]
