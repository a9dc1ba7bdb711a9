"""Load and save a GPT-2's tokenizer, a byte-level BPE, from tiktoken or from a folder's files.

A folder has the vocabulary and the merges in tokenizer.json, as transformers 5 saves them, or in vocab.json and
merges.txt. vocab.json maps a token's characters to its id. Each line of merges.txt has the pair of tokens that a new
token is merged from.
"""

import json
from pathlib import Path

import tiktoken

from ..system.errors import InputError
from ..system.files import read_json
from .tokenizer_json import added_token, read_tokenizer_json, token_ids, tokenizer_json
from .vocabulary import ENDOFTEXT, Added, build, characters

# Hugging Face's and OpenAI's names of the same two files
_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))

# Files of other kinds of tokenizer, none of which is byte-level BPE
_OTHERS = {
    "vocab.txt": "WordPiece",
    "tokenizer.model": "SentencePiece",
    "spiece.model": "SentencePiece",
    "sentencepiece.bpe.model": "SentencePiece",
    "meta.pkl": "nanoGPT's table of characters",
}


def has_tokenizer(folder):
    """Return whether the folder has a file of any tokenizer, complete or not."""
    return any((Path(folder) / name).is_file() for name in ("tokenizer.json", *sum(_FILES, ()), *_OTHERS))


def load_tokenizer(name_or_folder):
    """Return the tiktoken.Encoding of a folder, or of "gpt2" if no folder has that name.

    tokenizer.json wins over vocab.json and merges.txt, as in transformers. A folder needs no network. Raises InputError
    if its files are missing, damaged, contradict each other or describe another kind of tokenizer, or if tiktoken
    cannot download GPT-2's vocabulary.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return _from_folder(folder)
    if str(name_or_folder) != "gpt2":
        raise InputError(
            f"{name_or_folder}: no such folder; expected gpt2 or a folder with tokenizer.json, or with vocab.json and "
            "merges.txt"
        )
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


def tokenizer_files(encoding):
    """Return {file name: text} of a byte-level BPE encoding.

    The files are vocab.json and merges.txt. For GPT-2 they equal the published ones byte for byte. An encoding whose
    only special token is not a last `<|endoftext|>` gets tokenizer.json and tokenizer_config.json instead. Raises
    InputError if the ids have gaps, bytes are missing, or no merge produces a token.
    """
    vocab, merges, added = vocabulary_of(encoding)
    if list(added) != [ENDOFTEXT] or added[ENDOFTEXT].id != len(vocab):
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end_token(encoding)}
        return {
            "tokenizer.json": tokenizer_json(vocab, merges, added, around(encoding)),
            "tokenizer_config.json": json.dumps(config) + "\n",
        }
    lines = ["#version: 0.2"] + [f"{first} {second}" for first, second in merges]
    return {"vocab.json": json.dumps(vocab | {ENDOFTEXT: len(vocab)}), "merges.txt": "\n".join(lines) + "\n"}


def as_tokenizer_json(encoding):
    """Return the text of a tokenizer.json that adds no special token to a text and finds none in it.

    Raises InputError like tokenizer_files.
    """
    vocab, merges, added = vocabulary_of(encoding)
    in_text = {token: each for token, each in added.items() if not each.special}
    return tokenizer_json(vocab | {token: each.id for token, each in added.items()}, merges, in_text)


def end_token(encoding):
    """Return the name of the token that ends a document."""
    return getattr(encoding, "end", ENDOFTEXT)


def around(encoding):
    """Return (ids before, ids after) that the tokenizer's file puts around each text, and numpygpt does not."""
    return getattr(encoding, "around", ((), ()))


def vocabulary_of(encoding):
    """Return ({characters: id}, [(first, second)] of the merges, {token: Added}) of an encoding."""
    ranks, special = encoding._mergeable_ranks, encoding._special_tokens
    tokens = sorted(ranks, key=ranks.get)
    ids = sorted([*ranks.values(), *special.values()])
    end = end_token(encoding)
    if ids != list(range(len(ids))) or end not in special or any(bytes([byte]) not in ranks for byte in range(256)):
        raise InputError(
            f"tokenizer {encoding.name}: not built like GPT-2's; expected ids without gaps, all bytes and {end}"
        )
    vocab = {characters(token): ranks[token] for token in tokens}
    merges = [tuple(map(characters, _pair(encoding.name, token, ranks))) for token in tokens if len(token) > 1]
    added = {token: Added(number) for token, number in special.items()}
    in_text = getattr(encoding, "in_text", {})
    return vocab, merges, added | {token: Added(number, special=False) for token, number in in_text.items()}


def _from_folder(folder):
    end, added = _declared(folder)
    if (folder / "tokenizer.json").is_file():
        return read_tokenizer_json(folder / "tokenizer.json", end)
    for vocab, merges in _FILES:
        present = [name for name in (vocab, merges) if (folder / name).is_file()]
        if len(present) == 2:
            content = token_ids(folder / vocab, read_json(folder / vocab))
            numbered = [(f"{folder / merges}, line {n}", *pair) for n, *pair in _read_merges(folder / merges)]
            return build(str(folder), folder / vocab, content, numbered, added, end)
        if present:
            missing = merges if present == [vocab] else vocab
            raise InputError(f"{folder}: the folder has {present[0]} but no {missing}; copy it there too")
    for name, kind in _OTHERS.items():
        if (folder / name).is_file():
            raise InputError(
                f"{folder / name}: {kind}, but numpygpt reads only byte-level BPE, as in GPT-2: tokenizer.json, or "
                "vocab.json and merges.txt"
            )
    raise InputError(f"{folder}: the folder has no tokenizer; put tokenizer.json, or vocab.json and merges.txt, there")


def _declared(folder):
    """Return (the name of the end token or None, {token: Added}) from the files beside the vocabulary."""
    read = {
        name: read_json(folder / name) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    }
    config, named, old = read.values()
    if config.get("add_prefix_space"):
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: add_prefix_space is true; numpygpt adds no space before a text"
        )
    special = {_content(value) for entry in (config, named) for value in _flattened(entry.values())}
    added = {
        token: Added(number, token in special) for token, number in token_ids(folder / "added_tokens.json", old).items()
    }
    decoder = config.get("added_tokens_decoder", {})
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        added |= added_token(folder / "tokenizer_config.json", entry, int(number) if number.isdecimal() else number)
    return _content(config.get("eos_token")) or _content(named.get("eos_token")), added


def _flattened(values):
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _content(entry):
    """Return the text of a token in a tokenizer_config.json: a string, or an object with its content."""
    entry = entry.get("content") if isinstance(entry, dict) else entry
    return entry if isinstance(entry, str) else None


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
        merged = [ranks.get(first + second, ranks[token]) for first, second in zip(parts, parts[1:])]
        best = merged.index(min(merged))
        if merged[best] >= ranks[token]:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    if len(parts) != 2:
        raise InputError(
            f"tokenizer {name}: token {ranks[token]} ({token[:100]!r}) is not a merge of two earlier tokens"
        )
    return parts


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
