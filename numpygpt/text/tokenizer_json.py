"""Read and write tokenizer.json, the file of Hugging Face's tokenizers library, for a byte-level BPE like GPT-2's.

The format can describe many other tokenizers. A setting that would give other ids than GPT-2's way is an error.
"""

import json

from ..system.errors import InputError
from ..system.files import read_json
from .vocabulary import Added, build

# The settings of "model" that change ids, and the values that change nothing
_MODEL = {
    "type": ("BPE",),
    "dropout": (None, 0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "ignore_merges": (False,),
}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def token_ids(path, vocab):
    """Return `vocab` if it maps tokens to ids, and otherwise raise InputError."""
    if not isinstance(vocab, dict):
        raise InputError(f"{path}: expected a JSON object of tokens and their ids")
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < 2**31:
            raise InputError(f"{path}: the id of token {token[:100]!r} is not a whole number")
    return vocab


def added_token(path, entry, number):
    """Return {token: Added} of an added token's entry, as in tokenizer.json and tokenizer_config.json."""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str) or not entry["content"]:
        raise InputError(f"{path}: expected an added token's content and id, found {str(entry)[:100]!r}")
    token, special = entry["content"], entry.get("special") is True
    token_ids(path, {token: number})
    changed = [key for key in ("lstrip", "rstrip", "single_word") if entry.get(key)]
    if changed and not special:
        raise InputError(f"{path}: the added token {token[:100]!r} has {changed[0]}, which numpygpt does not compute")
    return {token: Added(number, special)}


def read_tokenizer_json(path, end=None):
    """Return the Tokenizer in a tokenizer.json.

    end   the name of the end token, or None for `<|endoftext|>`

    Raises InputError if the file is damaged or its tokenizer does not work like GPT-2's.
    """
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, dict):
        raise InputError(f"{path}: expected a tokenizer with a model, found {str(model)[:100]!r}")
    for key, allowed in _MODEL.items():
        if model.get(key, allowed[0]) not in allowed:
            _refuse(path, f"model's {key}", model[key], allowed[0])
    if content.get("normalizer") is not None:
        _refuse(path, "normalizer", content["normalizer"], None)
    _check_byte_level(path, content.get("pre_tokenizer"))
    added = {}
    for entry in _list(path, content, "added_tokens"):
        added |= added_token(path, entry, entry.get("id") if isinstance(entry, dict) else None)
    merges = []
    for number, merge in enumerate(_list(path, model, "merges"), start=1):
        pair = merge.split(" ") if isinstance(merge, str) else merge  # newer files have lists
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
            raise InputError(f"{path}, merge {number}: expected two tokens, found {str(merge)[:100]!r}")
        merges.append((f"{path}, merge {number}", *pair))
    around = _around(path, content.get("post_processor"), added)
    return build(str(path.parent), path, token_ids(path, model.get("vocab")), merges, added, end, around)


def _check_byte_level(path, pre_tokenizer):
    match pre_tokenizer:
        case {"type": "Sequence", "pretokenizers": [dict(found)]} | dict(found):
            if all(found.get(key, True) == value for key, value in _BYTE_LEVEL.items()):
                return
    _refuse(path, "pre_tokenizer", pre_tokenizer, _BYTE_LEVEL)


def _around(path, processor, added):
    """Return (ids before, ids after) that the template of a post_processor puts around each text."""
    ids = []
    match processor:
        case None | {"type": "ByteLevel"}:
            return (), ()
        case {"type": "TemplateProcessing", "single": [*parts]}:
            for part in parts:
                match part:
                    case {"Sequence": _}:
                        ids.append(None)
                    case {"SpecialToken": {"id": str(name)}} if name in added:
                        ids.append(added[name].id)
            if len(ids) == len(parts) and ids.count(None) == 1:
                text = ids.index(None)
                return tuple(ids[:text]), tuple(ids[text + 1 :])
    _refuse(path, "post_processor", processor, None)


def _list(path, content, key):
    found = content.get(key) or []
    if not isinstance(found, list):
        raise InputError(f"{path}: {key} must be a list, found {str(found)[:100]!r}")
    return found


def _refuse(path, key, found, wanted):
    shown = json.dumps(found)
    shown = shown[:100] + "…" * (len(shown) > 100)
    raise InputError(f"{path}: its {key} is {shown}; numpygpt computes only {json.dumps(wanted)}, as in GPT-2")


def tokenizer_json(vocab, merges, added, around=((), ())):
    """Return the text of a tokenizer.json.

    vocab    {characters: id} of the tokens that merges make
    merges   [(first, second)]
    added    {token: Added}
    around   (ids before, ids after) that a template puts around each text
    """
    flags = {name: False for name in ("single_word", "lstrip", "rstrip", "normalized")}
    byte_level = _BYTE_LEVEL | {"trim_offsets": True}
    names = {each.id: token for token, each in added.items()}
    before, after = ([{"SpecialToken": {"id": names[i], "type_id": 0}} for i in ids] for ids in around)
    template = [*before, {"Sequence": {"id": "A", "type_id": 0}}, *after]
    special = {names[i]: {"id": names[i], "ids": [i], "tokens": [names[i]]} for ids in around for i in ids}
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": each.id, "content": token, "special": each.special} | flags
            for token, each in sorted(added.items(), key=lambda item: item[1].id)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": special,
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": vocab | {token: each.id for token, each in added.items()},
            "merges": [f"{first} {second}" for first, second in merges],
        },
    }
    return json.dumps(content, ensure_ascii=False) + "\n"
