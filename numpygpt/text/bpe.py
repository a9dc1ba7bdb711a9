"""Learn a byte-level BPE vocabulary from text (Sennrich, Haddow and Birch 2016, on bytes as in GPT-2)."""

import heapq
import re
from collections import Counter, defaultdict

import tiktoken

from ..system.errors import InputError
from .vocabulary import ENDOFTEXT, SINGLE_BYTES, WORDS

# Python's re has no \p{L}, so a letter is a word character that is neither a digit nor `_`. Only learning uses this
# pattern; the learned encoding splits text by GPT-2's own pattern.
_SPLIT = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def learn_bpe(texts, size):
    """Return a tiktoken.Encoding of `size` entries: the 256 bytes, the learned merges, and `<|endoftext|>` last.

    Each step merges the most frequent pair of neighbouring tokens within words, until the vocabulary is full. A tie
    goes to the smaller pair of ids. Raises InputError if `size` is below 257 or the text yields too few merges.
    """
    if size < 257:
        raise InputError(f"a vocabulary of {size} entries is too small: 256 bytes and <|endoftext|> make 257")
    counts = Counter(word for text in texts for word in _SPLIT.findall(text))
    number = {byte: i for i, byte in enumerate(SINGLE_BYTES)}
    words = [[number[byte] for byte in word.encode()] for word in counts]
    counts = list(counts.values())
    tokens = [bytes([byte]) for byte in SINGLE_BYTES]

    pairs, where = Counter(), defaultdict(set)  # each pair's count, and the words that contain it
    for w, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[w]
            where[pair].add(w)
    # The most frequent pair is on top. A changed count is pushed as a new entry, and outdated entries are dropped when
    # they reach the top. So no step has to look at every pair.
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    while len(tokens) < size - 1:
        while heap and -heap[0][0] != pairs[heap[0][1]]:
            heapq.heappop(heap)
        if not heap or -heap[0][0] < 2:
            raise InputError(
                f"the text yields only {len(tokens) + 1} vocabulary entries, not {size}: use more text or fewer entries"
            )
        _, best = heapq.heappop(heap)
        new = len(tokens)
        tokens.append(tokens[best[0]] + tokens[best[1]])
        changes = Counter()
        for w in where.pop(best):
            old, words[w] = words[w], _merge(words[w], best, new)
            for pair in zip(old, old[1:]):
                changes[pair] -= counts[w]
            for pair in zip(words[w], words[w][1:]):
                changes[pair] += counts[w]
                where[pair].add(w)
        for pair, change in changes.items():
            if change:
                pairs[pair] += change
                heapq.heappush(heap, (-pairs[pair], pair))
        del pairs[best]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return tiktoken.Encoding("learned", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={ENDOFTEXT: size - 1})


def _merge(word, pair, new):
    merged, i = [], 0
    while i < len(word):
        if tuple(word[i : i + 2]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged
