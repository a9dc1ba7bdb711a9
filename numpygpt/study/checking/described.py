"""Draw the arguments of any operation that are described as in `grammar`."""

import ast
import re

import numpy as np

from ...system.errors import InputError
from .exercise import Draw, is_float, sizes_of

DRAWS = 3


def draws(texts, rng):
    """[Draw] of arguments that are described so. Raises InputError."""
    return [_draw(f"draw {i + 1} of {DRAWS}", texts, rng) for i in range(DRAWS)]


def _draw(label, texts, rng):
    arguments = dict(_argument(text, rng) for text in texts)
    if empty := [name for name, a in arguments.items() if not np.size(a)]:
        raise InputError(f"{empty[0]} has no entries, so there is nothing to check; make every axis at least 1 long")
    floats = {name: a for name, a in arguments.items() if is_float(a)}
    if not floats:
        raise InputError("no argument is an array of floats, so there is no gradient to check; describe one as x=(5,7)")
    return Draw(label, arguments, sizes_of(arguments))


def _argument(text, rng):
    name, equals, value = text.partition("=")
    try:
        if not equals or not name.isidentifier():
            raise ValueError
        below = re.fullmatch(r"(\(.*\))<(\d+)", value)
        value = ast.literal_eval(below[1] if below else value)
        if isinstance(value, tuple):
            return name, rng.integers(0, int(below[2]), value) if below else rng.standard_normal(value)
        return name, np.array(value) if isinstance(value, list) else value
    except (ValueError, SyntaxError, TypeError):
        raise InputError(
            f"{text!r} describes no argument; write one as x=(5,7), ids=(5,)<4, lengths=[3,2] or n=2"
        ) from None
