"""The book's names for GPT-2's tensors, and ours."""

import re

import numpy as np

from ..system.errors import InputError
from .derived import side_by_side, zeros

# The book's names and ours, for the model and for its block N (after `trf_blocks.N.`). The book's matrices are
# [out, in].
_BOOK = {
    "tok_emb.weight": "wte.weight",
    "pos_emb.weight": "wpe.weight",
    "final_norm.scale": "ln_f.weight",
    "final_norm.shift": "ln_f.bias",
    "out_head.weight": "lm_head.weight",
}
_BOOK_BLOCK = {
    "norm1.scale": "ln_1.weight",
    "norm1.shift": "ln_1.bias",
    "att.out_proj.weight": "attn.c_proj.weight",
    "att.out_proj.bias": "attn.c_proj.bias",
    "norm2.scale": "ln_2.weight",
    "norm2.shift": "ln_2.bias",
    "ff.layers.0.weight": "mlp.c_fc.weight",
    "ff.layers.0.bias": "mlp.c_fc.bias",
    "ff.layers.2.weight": "mlp.c_proj.weight",
    "ff.layers.2.bias": "mlp.c_proj.bias",
}
_BOOK_IN_BLOCK = re.compile(r"trf_blocks\.(\d{1,4})\.(.+)", re.DOTALL)
_QUERY_KEY_VALUE = ("att.W_query", "att.W_key", "att.W_value")  # the columns of our c_attn, in this order


def is_book(tensors):
    """Return whether the tensors have the book's names."""
    return any(name in _BOOK or _BOOK_IN_BLOCK.fullmatch(name) for name in tensors)


def from_book(tensors, source):
    """Rename the tensors of the book's GPTModel: transpose matrices, join query, key and value, drop masks.

    Models without query, key and value biases (`qkv_bias` False) get zeros, which leaves their function unchanged.
    A classifier's `out_head` keeps its name. Raises InputError if one of a block's three matrices or biases is missing
    or has another shape.
    """
    named, attention = {}, {}
    classifier = "out_head.bias" in tensors or _rows(tensors, "out_head.weight") != _rows(tensors, "tok_emb.weight")
    for name, tensor in tensors.items():
        match = _BOOK_IN_BLOCK.fullmatch(name)
        block, name_in_block = match.groups() if match else ("", "")
        if name in _BOOK and not (classifier and name.startswith("out_head.")):
            named[_BOOK[name]] = tensor
        elif name_in_block in _BOOK_BLOCK:
            matrix = len(tensor.shape) == 2
            named[f"h.{block}.{_BOOK_BLOCK[name_in_block]}"] = side_by_side([tensor]) if matrix else tensor
        elif re.fullmatch(r"att\.W_(query|key|value)\.(weight|bias)", name_in_block):
            attention.setdefault(block, {})[name_in_block] = tensor
        elif name_in_block != "att.mask":
            named[name] = tensor
    for block, held in attention.items():
        for kind in ("weight", "bias"):
            parts = [held.get(f"{part}.{kind}") for part in _QUERY_KEY_VALUE]
            if kind == "bias" and parts == [None, None, None]:  # then `held` contains only the three weights
                parts = [zeros(tensor.shape[:1]) for tensor in held.values()]
            _check_alike(parts, [f"{source}: trf_blocks.{block}.{part}.{kind}" for part in _QUERY_KEY_VALUE])
            named[f"h.{block}.attn.c_attn.{kind}"] = side_by_side(parts)
    return named


def to_book(params, config):
    """Return {name: array} for the book's `GPTModel.load_state_dict`, masks included. The arrays are views if possible.

    `out_head.weight` is the token embedding. A classifier replaces it by its head [labels, n_embd] and `out_head.bias`.
    """
    named = {book: params[ours] for book, ours in _BOOK.items() if ours != "lm_head.weight"}
    mask = np.triu(np.ones((config.n_positions, config.n_positions), np.float32), k=1)
    for n in range(config.n_layer):
        for book, ours in _BOOK_BLOCK.items():
            named[f"trf_blocks.{n}.{book}"] = params[f"h.{n}.{ours}"].T
        for kind in ("weight", "bias"):
            for part, array in zip(_QUERY_KEY_VALUE, np.split(params[f"h.{n}.attn.c_attn.{kind}"], 3, axis=-1)):
                named[f"trf_blocks.{n}.{part}.{kind}"] = array.T
        named[f"trf_blocks.{n}.att.mask"] = mask
    return named | {"out_head.weight": params["wte.weight"]}


def _rows(tensors, name):
    return tensors[name].shape[:1] if name in tensors else None


def _check_alike(tensors, names):
    for name, tensor in zip(names, tensors):
        if tensor is None:
            raise InputError(f"{name} is missing")
        if not tensor.shape or tensor.shape != tensors[0].shape or tensor.dtype.kind != "f":
            raise InputError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected floats of the query's shape"
            )
