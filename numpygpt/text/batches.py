"""Encode, cut, pad and pack messages, in the same way for training and for classify."""

from collections.abc import Iterable

import numpy as np

from ..system.errors import InputError
from .tokenizer import encode_message

BATCH = 32  # messages per batch of a forward pass without training


def padded_length(mode, lengths, n_positions):
    """Return the number of tokens to which every message is cut and padded.

    mode   "longest": the largest of `lengths`, the training messages' token counts, which must be given
           "none": the result is None, and every message keeps its own length
           "end": the result is "end", and every message gets one final `<|endoftext|>`
           "context": n_positions
           a number from 1 to n_positions

    Store the result with the trained model: its predictions depend on it. Raises InputError for any other mode.
    """
    if mode == "end" and n_positions == 1:
        raise InputError("cannot pad to 'end': <|endoftext|> would take the model's only position; use 'none'")
    if mode == "none":
        return None
    if mode == "end":
        return "end"
    if mode == "context":
        return n_positions
    if mode == "longest" and lengths:
        return min(max(lengths), n_positions)
    try:
        length = int(mode)
    except ValueError:
        length = 0
    if not 0 < length <= n_positions:
        words = "longest, none" if lengths else "none"
        raise InputError(f"cannot pad to {mode!r}: use {words}, end, context or a number from 1 to {n_positions}")
    return length


def encode(texts, encoding, pad_to, n_positions):
    """Yield the token ids of each text, an int32 array (T,).

    pad_to   a number: cut to so many tokens, or pad on the right with `<|endoftext|>`, as in the book
             None: cut to n_positions
             "end": cut to n_positions - 1, and append one `<|endoftext|>`, which ended every document in pretraining

    Raises InputError if `texts` is a single string, or with the number, from 1, of a text that is empty or no string.
    """
    if isinstance(texts, str):
        raise InputError(f"expected a list of texts, got the single text {texts[:40]!r}; put it into a list")
    if not isinstance(texts, Iterable):
        raise InputError(f"expected a list of texts, got {texts!r}")
    most = {None: n_positions, "end": n_positions - 1}.get(pad_to, pad_to)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise InputError(f"message {number} is {text!r}; expected a text")
        ids = encode_message(encoding, text)[:most]
        if not ids:
            raise InputError(f"message {number} is empty, so there is nothing to classify; remove it or add text")
        padding = {None: 0, "end": 1}.get(pad_to, most - len(ids))
        yield np.array(ids + [encoding.eot_token] * padding, np.int32)


def pack(messages):
    """Concatenate the messages' tokens. Return (ids (N,), lengths (B,))."""
    return np.concatenate(messages), np.array([len(message) for message in messages])
