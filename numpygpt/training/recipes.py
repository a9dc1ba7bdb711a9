"""Two ways to fine-tune: the book's, and the default where it differs.

A row of padding is hard to read through for a small model: a seed went astray with it, none with one `<|endoftext|>`.
"""

from typing import Any

BOOK: dict[str, Any] = {"pad": "longest", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
DEFAULT: dict[str, Any] = {"pad": "end", "warmup": 0.0, "schedule": "constant", "clip": float("inf")}
