"""The two ways to fine-tune: the book's, and the default where that differs. Chosen by the accuracy on validation messages."""

BOOK = {"pad": "longest", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
DEFAULT = {"pad": "end", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
