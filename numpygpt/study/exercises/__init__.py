"""The exercises, one a file, in a sensible order."""

from importlib import import_module

NAMES = (
    "linear",
    "softmax",
    "cross_entropy",
    "gelu",
    "layernorm",
    "embedding",
    "take_rows",
    "mean_rows",
    "attention",
    "causal_attention",
    "residual",
    "tied_output",
    "lora",
    "adamw",
    "query_attention",
    "block",
    "freezing",
)


def exercise(name):
    """The Exercise of that name."""
    return import_module(f".{name}", __name__).EXERCISE
