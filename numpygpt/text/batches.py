"""From texts to batches: the one way, for training and for classify,
in which a message is encoded, cut, padded and packed."""

import numpy as np

from ..system.errors import InputError
from .tokenizer import encode_message

BATCH = 32  # messages that go forward together where nothing is learned


def padded_length(mode, lengths, n_positions):
    """How many tokens every message is cut and padded to; None where each keeps its own length, "end" where it also
    gets one `<|endoftext|>`.

    mode is "longest" (the longest of `lengths`, the training messages' token counts; without them it is refused),
    "none", "end", "context" (n_positions) or a number up to n_positions, else InputError. The answer belongs to the
    trained model: its predictions depend on it.
    """
    if mode == "end" and n_positions == 1:
        raise InputError("cannot pad to 'end': <|endoftext|> would take the model's only position; use none")
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
    """Yields int32 arrays (T,), the token ids of each text: cut to pad_to tokens and padded on the right to as many
    with `<|endoftext|>`, as the book does; with pad_to None only cut, to n_positions; with "end" cut to one less, and
    one `<|endoftext|>` after it, which pretraining has put after every document.

    Raises InputError for a text without tokens or what is no text, giving its number from 1; and for a single text.
    """
    if isinstance(texts, str):
        raise InputError(f"expected a list of texts, not one text by itself: {texts[:40]!r}")
    most = {None: n_positions, "end": n_positions - 1}.get(pad_to, pad_to)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise InputError(f"message {number} is {text!r}: a text is expected")
        ids = encode_message(encoding, text)[:most]
        if not ids:
            raise InputError(f"message {number} is empty: there is nothing to classify; remove it or give it text")
        padding = {None: 0, "end": 1}.get(pad_to, most - len(ids))
        yield np.array(ids + [encoding.eot_token] * padding, np.int32)


def batches(order, batch_size, drop_last):
    """Cut an order of messages (N,) into arrays of batch_size; of the last one's remainder, too, unless it is dropped.

    Raises InputError where that drops everything.
    """
    if drop_last and len(order) < batch_size:
        raise InputError(f"{len(order)} training messages do not fill one batch of {batch_size}: use a smaller batch")
    end = len(order) - len(order) % batch_size if drop_last else len(order)
    return [order[start : start + batch_size] for start in range(0, end, batch_size)]


def pack(messages):
    """The messages' tokens laid end to end: (ids (N,), lengths (B,))."""
    return np.concatenate(messages), np.array([len(message) for message in messages])
