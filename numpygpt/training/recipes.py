"""Two ways to fine-tune: the book's, and the default where it differs, chosen by accuracy on validation messages."""

from typing import Any

BOOK: dict[str, Any] = {"pad": "longest", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
DEFAULT: dict[str, Any] = {"pad": "end", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
