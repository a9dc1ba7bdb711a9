"""Build a byte-level BPE tokenizer from its tokens, merges and added tokens, which every file form holds.

tiktoken merges by rank, so it needs only {bytes of a token: rank}, and a token's rank is its id. Files write each byte
as one printable character.
"""

import re
from dataclasses import dataclass

import tiktoken

from ..system.errors import InputError

ENDOFTEXT = "<|endoftext|>"

# The pattern that splits text into words before BPE. openai/gpt-2, src/encoder.py:
#   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
# in tiktoken's faster, equivalent spelling (tiktoken_ext/openai_public.py, r50k_pat_str).
WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""

# GPT-2 writes a printable byte as itself and other bytes as U+0100, U+0101, … (openai/gpt-2, src/encoder.py,
# bytes_to_unicode). The ids 0 … 255 of the published vocabulary have this order too, printable bytes first.
_PRINTABLE = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
_HIDDEN = [byte for byte in range(256) if byte not in _PRINTABLE]
SINGLE_BYTES = _PRINTABLE + _HIDDEN
_CHARACTER = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + n) for n, byte in enumerate(_HIDDEN)}
_BYTE = {character: byte for byte, character in _CHARACTER.items()}

# Special tokens that a vocabulary lists without any other file declaring them: <s>, <|endoftext|>, [PAD]
_SPECIAL_FORM = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")


@dataclass(frozen=True)
class Added:
    """A token that no merge makes.

    special   whether it marks structure, such as [PAD]. Text never contains it: there its characters are ordinary
    """

    id: int
    special: bool = True


class Tokenizer(tiktoken.Encoding):
    """A tiktoken.Encoding with any end token, and with added tokens that are found in text.

    end       the token that ends a document, which is also the padding
    in_text   {token: id} of the added tokens that text may contain
    around    (ids before, ids after) of the special tokens that a file's template puts around each text. Encoding
              does not add them
    """

    def __init__(
        self, name, *, mergeable_ranks, special_tokens, pat_str=WORDS, end=ENDOFTEXT, in_text=None, around=((), ())
    ):
        super().__init__(name, pat_str=pat_str, mergeable_ranks=mergeable_ranks, special_tokens=special_tokens)
        self.end, self.in_text, self.around = end, in_text or {}, around
        longest_first = sorted(self.in_text, key=len, reverse=True)
        self._cuts = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if in_text else None

    @property
    def eot_token(self):
        return self._special_tokens[self.end]

    def encode_ordinary(self, text):
        if not self._cuts:
            return super().encode_ordinary(text)
        ids = []
        for number, part in enumerate(self._cuts.split(text)):  # every second part is an added token
            ids += [self.in_text[part]] if number % 2 else super().encode_ordinary(part)
        return ids

    def __getstate__(self):
        state = super().__getstate__()
        return state | {"end": self.end, "in_text": self.in_text, "around": self.around}


def build(name, vocab_path, vocab, merges, added, end=None, around=((), ())):
    """Return the Tokenizer of a vocabulary.

    vocab_path   the file of the vocabulary, for errors
    vocab        {characters: id}
    merges       [(where, first, second)] in order; `where` begins an error
    added        {token: Added}
    end          the name of the end token, or None for `<|endoftext|>`

    Raises InputError where a byte has no id, a merge does not fit, a token is neither merged nor added, or ids have
    gaps.
    """
    ranks = _merged(vocab_path, vocab, merges)
    for token, each in added.items():
        if vocab.get(token, each.id) != each.id:
            raise InputError(
                f"{vocab_path}: token {token[:100]!r} has the id {vocab[token]}, but as an added token {each.id}"
            )
    for token, number in vocab.items():
        if token not in ranks and token not in added:
            if not _SPECIAL_FORM.fullmatch(token):
                raise InputError(
                    f"{vocab_path}: no merge makes {token[:100]!r}, and no file declares it as an added token"
                )
            added = added | {token: Added(number)}
    special = {token: each.id for token, each in added.items() if token not in ranks}
    ids = sorted([*ranks.values(), *special.values()])
    for expected, number in enumerate(ids):
        if number != expected:
            what = f"no token has id {expected}" if number > expected else f"two tokens have id {number}"
            raise InputError(f"{vocab_path}: {what}, expected ids from 0 to {len(ids) - 1}")
    end = end if end in special else ENDOFTEXT
    if end not in special:
        raise InputError(
            f"{vocab_path}: there is no {ENDOFTEXT}, and no tokenizer_config.json that names another special token as "
            "eos_token; add one of them"
        )
    return Tokenizer(
        name,
        mergeable_ranks={bytes(map(_BYTE.get, token)): rank for token, rank in ranks.items()},
        special_tokens=special,
        end=end,
        in_text={token: each.id for token, each in added.items() if not each.special},
        around=around,
    )


def _merged(vocab_path, vocab, merges):
    """Return {characters: id} of the single bytes and of the merges' results."""
    ranks = {}
    for character, byte in _BYTE.items():
        if character not in vocab:
            raise InputError(f"{vocab_path}: byte {byte} ({character!r}) has no id")
        ranks[character] = vocab[character]
    last = -1
    for where, first, second in merges:
        token = first + second
        for part in (first, second):
            if part not in ranks:
                raise InputError(f"{where}: {part[:100]!r} is neither a byte nor the result of a merge above")
        if token in ranks:
            raise InputError(f"{where}: a merge above already makes {token[:100]!r}")
        rank = vocab.get(token)
        if rank is None or rank <= last:
            raise InputError(
                f"{where}: {vocab_path.name} gives its result {token[:100]!r} the id {rank}, expected more than "
                f"{last}: ids must follow the order of the merges"
            )
        ranks[token] = last = rank
    return ranks


def characters(token):
    """Return the printable characters that stand for a token's bytes in a file."""
    return "".join(map(_CHARACTER.get, token))
