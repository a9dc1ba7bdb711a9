"""Other people's names for GPT-2's tensors, turned into ours and back, and the check that all of them are there.

Every function takes {name: tensor}, where a tensor need only have `shape` and `dtype`: it may still
lie on the disk. Only what is not stored as we have it, but transposed or in parts, is read by the
function that a _Derived tensor carries.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..model.config import Config
from ..model.parameters import parameter_shapes
from ..system.errors import InputError, Note

# The causal masks, which older files carry along. They are constants, not parameters (`attn.c_attn.bias` is one).
_MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")

_BLOCK = re.compile(r"h\.(\d{1,4})\.")

_LISTED = 3  # tensors named in an error or a note; the rest are counted

# The book's names, of the model and of its block N (behind `trf_blocks.N.`), with ours.
# Its linear layers are [out, in].
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

_OPENAI = re.compile(r"model/(?:(wte|wpe)|(?:h(\d{1,4})/)?([\w/]+)/([gwb]))")


@dataclass(frozen=True)
class _Derived:
    """A tensor made from stored ones when it is read."""

    shape: tuple
    dtype: np.dtype
    read: Callable


def to_gpt2(tensors, source):
    """The tensors under our names, whoever named them: Hugging Face, OpenAI or the book. Raises InputError as these do.

    A name that nobody gives stays as it is, for check_parameters to complain of.
    `lm_head.weight` stays, where there is one.
    """
    if any(name.startswith("model/") for name in tensors):
        return from_openai(tensors, source)
    if any(name in _BOOK or _BOOK_IN_BLOCK.fullmatch(name) for name in tensors):
        return from_book(tensors, source)
    return from_hugging_face(tensors, source)


def from_hugging_face(tensors, source):
    """The tensors of a Hugging Face GPT-2, without the `transformer.` that newer files put first, and without masks.

    `lm_head.weight` stays, where there is one. Raises InputError where a tensor occurs with and without the prefix.
    """
    named = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("transformer.")
        if name in named:
            raise InputError(f"{source}: {name} occurs twice, with and without the prefix transformer.")
        if not (_MASK.fullmatch(name) and len(tensor.shape) in (0, 4)):
            named[name] = tensor
    return named


def from_openai(tensors, source):
    """The tensors of OpenAI's release: `model/h0/attn/c_attn/w` is ours but for a first axis of size 1.

    What a training saved beside the model is left aside, with a Note that names it: a step counter, an optimizer's
    moments, which stand outside `model/` or under the name of the variable that they belong to (`model/wte/Adam`).
    """
    named, aside = {}, []
    for name, tensor in tensors.items():
        match = _OPENAI.fullmatch(name)
        if match:
            embedding, block, layer, kind = match.groups(default="")
            layer = embedding or layer.replace("/", ".")
            name = (f"h.{block}." if block else "") + layer + (".bias" if kind == "b" else ".weight")
            if kind == "w" and len(tensor.shape) == 3 and tensor.shape[0] == 1:
                tensor = _without_first_axis(tensor)
        elif not name.startswith("model/") or name.rpartition("/")[0] in tensors:
            aside.append(name[:100])
            continue
        named[name] = tensor
    if aside:
        more = f" and {len(aside) - _LISTED} more" if len(aside) > _LISTED else ""
        warnings.warn(f"{source}: left aside what is not the model's: {', '.join(aside[:_LISTED])}{more}", Note, 2)
    return named


def from_book(tensors, source):
    """The tensors of the book's GPTModel: matrices transposed, query, key and value side by side, masks left out.

    Its models trained without query, key and value biases (`qkv_bias` False) get zeros, which are the same function.
    Raises InputError where some of a block's three matrices or biases are missing or do not match.
    """
    named, attention = {}, {}
    for name, tensor in tensors.items():
        match = _BOOK_IN_BLOCK.fullmatch(name)
        block, name_in_block = match.groups() if match else ("", "")
        if name in _BOOK:
            named[_BOOK[name]] = tensor
        elif name_in_block in _BOOK_BLOCK:
            matrix = len(tensor.shape) == 2
            named[f"h.{block}.{_BOOK_BLOCK[name_in_block]}"] = _side_by_side([tensor]) if matrix else tensor
        elif re.fullmatch(r"att\.W_(query|key|value)\.(weight|bias)", name_in_block):
            attention.setdefault(block, {})[name_in_block] = tensor
        elif name_in_block != "att.mask":
            named[name] = tensor
    for block, held in attention.items():
        for kind in ("weight", "bias"):
            parts = [held.get(f"{part}.{kind}") for part in _QUERY_KEY_VALUE]
            if kind == "bias" and parts == [None, None, None]:  # then held has the three weights and nothing else
                parts = [np.broadcast_to(np.float32(0), tensor.shape[:1]) for tensor in held.values()]
            _check_alike(parts, [f"{source}: trf_blocks.{block}.{part}.{kind}" for part in _QUERY_KEY_VALUE])
            named[f"h.{block}.attn.c_attn.{kind}"] = _side_by_side(parts)
    return named


def to_book(params, config):
    """{name: array} that the book's `GPTModel.load_state_dict` accepts, its masks included; views where they can be.

    `out_head.weight` is the token embedding. A classifier puts its own head,
    [labels, n_embd], and `out_head.bias` there.
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


def deduced_config(tensors, source):
    """The Config of tensors under our names, from their shapes; heads are 64 wide, as in all of OpenAI's sizes.

    Raises InputError where a size cannot be told.
    """
    sizes = _sizes(tensors)
    for key in ("vocab_size", "n_positions", "n_embd", "n_layer"):
        if not sizes.get(key):
            raise InputError(f"{source}: its tensors show no {key}: these are not GPT-2's weights")
    if sizes["n_embd"] % 64:
        raise InputError(
            f"{source}: n_embd is {sizes['n_embd']}, no multiple of the 64 that a GPT-2's head is wide, so the number "
            "of heads cannot be told; put a config.json beside it"
        )
    return Config(**sizes, n_head=sizes["n_embd"] // 64)


def check_parameters(tensors, config, source):
    """Raise InputError unless the tensors are exactly the parameters of a GPT-2 of this Config.

    The error names `source`, and either the size in the Config that the tensors contradict,
    or the tensors that are missing, unknown, of another shape or no floats.
    """
    for key, found in _sizes(tensors).items():
        if getattr(config, key) != found:
            raise InputError(
                f"{source}: {key} is {getattr(config, key)} in the configuration, but {found} in the weights"
            )
    problems = []
    shapes = parameter_shapes(config)
    for name, shape in shapes.items():
        if name not in tensors:
            problems.append(f"{name} is missing")
        elif tuple(tensors[name].shape) != shape:
            problems.append(f"{name} has shape {tuple(tensors[name].shape)}, expected {shape}")
        elif tensors[name].dtype.kind != "f":
            problems.append(f"{name} is {tensors[name].dtype}, expected floats")
    problems += [f"{name[:100]!r} is not a parameter of GPT-2" for name in tensors if name not in shapes]
    if problems:
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise InputError(f"{source}: {'; '.join(problems[:_LISTED])}{more}")


def _sizes(tensors):
    """The sizes of a Config that tensors show at a glance: the highest numbered block and the embeddings' shapes."""
    sizes = {"n_layer": max((int(match[1]) + 1 for match in map(_BLOCK.match, tensors) if match), default=0)}
    if "wte.weight" in tensors and len(tensors["wte.weight"].shape) == 2:
        sizes["vocab_size"], sizes["n_embd"] = tensors["wte.weight"].shape
    if "wpe.weight" in tensors and len(tensors["wpe.weight"].shape) == 2:
        sizes["n_positions"] = tensors["wpe.weight"].shape[0]
    return sizes


def _check_alike(tensors, names):
    for name, tensor in zip(names, tensors):
        if tensor is None:
            raise InputError(f"{name} is missing")
        if not tensor.shape or tensor.shape != tensors[0].shape or tensor.dtype.kind != "f":
            raise InputError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected floats like the query's"
            )


def _without_first_axis(tensor):
    shape = tuple(tensor.shape[1:])
    return _Derived(shape, tensor.dtype, lambda: tensor.read().reshape(shape))


def _side_by_side(tensors):
    """Matrices [out, in], or vectors [out], as one [in, out + out + …] or [out + out + …]."""
    outputs = [tensor.shape[0] for tensor in tensors]
    shape = (*tensors[0].shape[1:], sum(outputs))

    def read():
        result, place = np.empty(shape, np.float32), 0
        for tensor, width in zip(tensors, outputs):
            result[..., place : place + width] = tensor.copy().T
            place += width
        result.flags.writeable = False
        return result

    return _Derived(shape, tensors[0].dtype, read)
