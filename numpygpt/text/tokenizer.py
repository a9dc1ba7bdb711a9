"""Load and save GPT-2's tokenizer, a byte-level BPE, from tiktoken or from a folder's vocab.json and merges.txt.

tiktoken merges by rank, so it needs only {bytes of a token: rank}. The two files hold the same information as text.
vocab.json maps a token's characters to its id. Each line of merges.txt has the pair of tokens that a new token is
merged from. Both files write each byte as one printable character.
"""

import json
from pathlib import Path

import tiktoken

from ..system.errors import InputError
from ..system.files import replacing

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

# Hugging Face's and OpenAI's names of the same two files
_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def load_tokenizer(name_or_folder):
    """Return the tiktoken.Encoding of a folder's vocab.json and merges.txt, or of "gpt2" if no folder has that name.

    A folder needs no network. Raises InputError if its files are missing, damaged or contradict each other, or if
    tiktoken cannot download GPT-2's vocabulary.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        for vocab, merges in _FILES:
            if (folder / vocab).is_file() and (folder / merges).is_file():
                return _from_files(folder / vocab, folder / merges)
        raise InputError(f"{folder}: the folder has no tokenizer; put vocab.json and merges.txt there")
    if str(name_or_folder) != "gpt2":
        raise InputError(f"{name_or_folder}: no such folder; expected gpt2 or a folder with vocab.json and merges.txt")
    try:
        return tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # no network; a download that does not match its hash
        raise InputError(
            f"tiktoken could not download GPT-2's vocabulary ({type(error).__name__}: no network?); "
            "name a folder with GPT-2's vocab.json and merges.txt, "
            "or set TIKTOKEN_CACHE_DIR to a folder with the encoder files"
        ) from None


def encode_message(encoding, text):
    """Return the token ids of a message. A literal `<|endoftext|>` in it is ordinary text, not the special token."""
    return encoding.encode_ordinary(text)


def save_tokenizer(encoding, folder):
    """Write vocab.json and merges.txt, from which load_tokenizer and transformers restore this encoding.

    Raises InputError like tokenizer_files, before anything is written.
    """
    for name, text in tokenizer_files(encoding).items():
        with replacing(Path(folder) / name) as file:
            file.write(text.encode())


def tokenizer_files(encoding):
    """Return {"vocab.json": text, "merges.txt": text} of an encoding built like GPT-2's.

    For GPT-2 the files equal the published ones byte for byte. Raises InputError if the ids have gaps, there are other
    special tokens, or no merge produces a token.
    """
    ranks, last = encoding._mergeable_ranks, len(encoding._mergeable_ranks)
    tokens = sorted(ranks, key=ranks.get)
    if encoding._special_tokens != {ENDOFTEXT: last} or [ranks[token] for token in tokens] != list(range(last)):
        raise InputError(
            f"tokenizer {encoding.name}: not built like GPT-2's; expected ids without gaps and {ENDOFTEXT} last"
        )
    vocab = {_characters(token): rank for rank, token in enumerate(tokens)} | {ENDOFTEXT: last}
    pairs = [_pair(encoding.name, token, ranks) for token in tokens[256:]]
    lines = ["#version: 0.2"] + [f"{_characters(first)} {_characters(second)}" for first, second in pairs]
    return {"vocab.json": json.dumps(vocab), "merges.txt": "\n".join(lines) + "\n"}


def _from_files(vocab_path, merges_path):
    vocab, merges = _read_vocab(vocab_path), _read_merges(merges_path)
    made = {character: bytes([byte]) for character, byte in _BYTE.items()}  # a token's characters -> its bytes
    for character, byte in _BYTE.items():
        if vocab.get(character, 256) >= 256:
            raise InputError(
                f"{vocab_path}: byte {byte} ({character!r}) must have an id below 256, but has {vocab.get(character)}"
            )
    for rank, (line, first, second) in enumerate(merges, start=256):
        where, token = f"{merges_path}, line {line}", first + second
        for part in (first, second):
            if part not in made:
                raise InputError(f"{where}: {part[:100]!r} is neither a byte nor the result of a line above")
        if token in made:
            raise InputError(f"{where}: a line above already makes {token[:100]!r}")
        if vocab.get(token) != rank:
            raise InputError(
                f"{where}: this merge makes id {rank}, "
                f"but {vocab_path.name} gives {token[:100]!r} the id {vocab.get(token)}"
            )
        made[token] = made[first] + made[second]
    last = len(made)
    if vocab.pop(ENDOFTEXT, None) != last:
        raise InputError(f"{vocab_path}: {ENDOFTEXT} must have the last id, {last} after the {len(merges)} merges")
    for token in vocab:
        if token not in made:
            raise InputError(
                f"{vocab_path}: no line of {merges_path.name} makes {token[:100]!r}; only {ENDOFTEXT} is special"
            )
    if len(set(vocab.values())) != last:
        raise InputError(f"{vocab_path}: two bytes have the same id")
    return tiktoken.Encoding(
        str(vocab_path.parent),
        pat_str=WORDS,
        mergeable_ranks={made[token]: rank for token, rank in vocab.items()},
        special_tokens={ENDOFTEXT: last},
    )


def _read_vocab(path):
    """Return {characters: id}."""
    try:
        vocab = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(vocab, dict):
        raise InputError(f"{path}: expected a JSON object of tokens and their ids")
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < 2**31:
            raise InputError(f"{path}: the id of token {token[:100]!r} is not a whole number")
    return vocab


def _read_merges(path):
    """Return [(line number, first, second)]."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if number == 1 and (line.startswith("#version") or not line):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise InputError(f"{path}, line {number}: expected two tokens with a space between, found {line[:100]!r}")
        merges.append((number, *parts))
    return merges


def _pair(name, token, ranks):
    """Return the two tokens whose merge makes this token: the result of BPE with only the merges of lower rank."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        merged = [ranks.get(first + second, len(ranks)) for first, second in zip(parts, parts[1:])]
        best = merged.index(min(merged))
        if merged[best] >= ranks[token]:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    if len(parts) != 2:
        raise InputError(
            f"tokenizer {name}: token {ranks[token]} ({token[:100]!r}) is not a merge of two earlier tokens"
        )
    return parts


def _characters(token):
    return "".join(map(_CHARACTER.get, token))


def token_texts(encoding, ids):
    """Return the text of each token id. Bytes that are no whole character are shown as ⟨e2⟩."""
    texts = []
    for token in ids:
        data = encoding.decode_single_token_bytes(int(token)) if token < encoding.n_vocab else b""
        try:
            texts.append(data.decode())
        except UnicodeDecodeError:
            texts.append("".join(chr(b) if b < 128 else f"⟨{b:02x}⟩" for b in data))
    return texts
