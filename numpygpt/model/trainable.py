"""Which parameters learn: a set of names. Everything else is frozen."""

import re
from fnmatch import fnmatchcase

from ..system.errors import InputError

CHOICES = ("head", "last_block", "last_two_blocks", "all", "lora")


def choices(trainable):
    """Return the parts of a `trainable`, which commas separate."""
    if not isinstance(trainable, str):
        raise InputError(f"trainable {trainable!r}: expected one text, with commas between its parts")
    return trainable.split(",")


def trainable_names(choice, params, config):
    """The names in `params` that `choice` selects.

    choice   one of CHOICES, or glob patterns of names, or several of both, separated by commas: "head,h.11.mlp.*".
             last_block is the book's choice: the last block, the final layernorm and the head.
    Raises InputError for what is no text, and for a pattern that selects nothing.
    """
    last = config.n_layer - 1
    patterns = {
        "head": ["head.*"],
        "last_block": [f"h.{last}.*", "ln_f.*", "head.*"],
        "last_two_blocks": [f"h.{max(last - 1, 0)}.*", f"h.{last}.*", "ln_f.*", "head.*"],
        "all": ["*"],
        "lora": ["*.lora_A", "*.lora_B"],
    }
    chosen = set()
    for part in choices(choice):
        matching = {name for name in params for pattern in patterns.get(part, [part]) if fnmatchcase(name, pattern)}
        if not matching and part in patterns:
            raise InputError(f"trainable: {part!r} selects nothing: this model has no {' or '.join(patterns[part])}")
        if not matching:
            raise InputError(
                f"trainable: {part!r} is neither one of {', '.join(CHOICES)} nor a pattern that matches a parameter "
                f"(names look like h.{last}.mlp.c_fc.weight)"
            )
        chosen |= matching
    return frozenset(chosen)


def frozen_depth(trainable, config):
    """How many of the lowest blocks come before every trainable parameter: 0 where an embedding learns, n_layer where
    no block does."""
    if trainable & {"wte.weight", "wpe.weight"}:
        return 0
    return min(
        (int(found[1]) for found in map(re.compile(r"h\.(\d+)\.").match, trainable) if found), default=config.n_layer
    )
