"""Two ways to fine-tune: the book's, and the default where it differs.

The book's reads the last of a long row of padding, which a small model finds hard: a seed went astray with it. The mean
of a message's own rows hears every token, and is the better answer by far on messages kept back for such choices.
There smoothed labels are better, too: all training messages are soon answered rightly, and certainty is no gain.
"""

from typing import Any

BOOK: dict[str, Any] = {
    "trainable": "last_block",
    "epochs": 5,
    "pad": "longest",
    "position": "last",
    "warmup": 0.0,
    "schedule": "constant",
    "clip": float("inf"),
    "label_smoothing": 0.0,
}
DEFAULT: dict[str, Any] = {
    "trainable": "last_two_blocks",
    "epochs": 3,
    "pad": "none",
    "position": "mean",
    "warmup": 0.0,
    "schedule": "cosine",
    "clip": float("inf"),
    "label_smoothing": 0.1,
}
