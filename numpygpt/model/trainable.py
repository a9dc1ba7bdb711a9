"""The set of names of the trainable parameters. All other parameters are frozen."""

import re
from fnmatch import fnmatchcase

from ..system.errors import InputError

CHOICES = ("head", "last_block", "last_two_blocks", "all", "lora")


def choices(trainable):
    """Return the parts of a `trainable` text, which are separated by commas."""
    if not isinstance(trainable, str):
        raise InputError(f"trainable {trainable!r}: expected one text, with commas between its parts")
    return trainable.split(",")


def trainable_names(choice, params, config):
    """Return the names in `params` that `choice` selects.

    choice   one or more of CHOICES and of glob patterns of names, separated by commas: "head,h.11.mlp.*". last_block is
             the book's choice: the last block, the final layernorm and the head.
    Raises InputError if `choice` is not a text, or a pattern selects nothing.
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
            raise InputError(
                f"trainable: {part!r} selects nothing, because this model has no {' or '.join(patterns[part])}"
            )
        if not matching:
            raise InputError(
                f"trainable: {part!r} is neither one of {', '.join(CHOICES)} nor a pattern that matches a parameter "
                f"(names look like h.{last}.mlp.c_fc.weight)"
            )
        chosen |= matching
    return frozenset(chosen)


def frozen_depth(trainable, config):
    """Return the number of blocks below the lowest trainable parameter.

    It is 0 if an embedding is trainable, and n_layer if no block is.
    """
    if trainable & {"wte.weight", "wpe.weight"}:
        return 0
    return min(
        (int(found[1]) for found in map(re.compile(r"h\.(\d+)\.").match, trainable) if found), default=config.n_layer
    )
