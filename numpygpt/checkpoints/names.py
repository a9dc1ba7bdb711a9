"""Translate other projects' names for GPT-2's tensors to ours and back, and check that all tensors are present.

Every function takes {name: tensor}. A tensor needs only a `shape` and a `dtype`, so its data may still be on disk. A
tensor that is stored transposed or in parts becomes a `Derived` tensor, which is read later.
"""

import re
import warnings

from ..model.config import SIZES, Config
from ..model.parameters import parameter_shapes
from ..system.errors import InputError, Note
from .book import from_book, is_book
from .derived import side_by_side, without_first_axis, zeros

# The causal masks in older files. They are constants, not parameters (but `attn.c_attn.bias` is a parameter).
_MASK = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")

_BLOCK = re.compile(r"h\.(\d{1,4})\.")

_LISTED = 3  # tensors named in an error or a note; further tensors are counted

# What torch.compile, FSDP and activation checkpointing put into the names, and the prefix that a module around a model
# puts before its names
_WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_EMBEDDING = re.compile(r"((?:.*?\.)??)(?:transformer\.)?(?:wte|tok_emb)\.weight", re.DOTALL)
OUTPUT = "lm_head.weight"  # in a head: an output layer that is not tied to the token embedding
MATRICES = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")

# The heads of other models on top of a GPT-2, by the names of their tensors
_HEADS = {
    "score": "a text classifier",
    "classifier": "a token classifier",
    "qa_outputs": "a question-answering model",
    "multiple_choice_head.summary": "a model with a multiple-choice head",
    "v_head.summary": "a model with a value head",
    "out_head": "the book's classifier",
}

_OPENAI = re.compile(r"model/(?:(wte|wpe)|(?:h(\d{1,4})/)?([\w/]+)/([gwb]))")


def to_gpt2(tensors, source):
    """Return the tensors under our names. Accepts the names of Hugging Face, OpenAI, nanoGPT and the book.

    Unknown names stay as they are: check_parameters reports them. `lm_head.weight` and the tensors of another head stay
    too. Raises InputError like the functions below.
    """
    if any(name.startswith("model/") for name in tensors):
        return from_openai(tensors, source)
    if is_book(tensors):
        return from_book(tensors, source)
    return from_nanogpt(from_hugging_face(tensors, source))


def unwrapped(tensors, source):
    """Return ({name: tensor} of the GPT-2 without the names of wrappers, {name: tensor} of all around it).

    A model that contains a GPT-2 has one prefix before all of the GPT-2's tensors, such as `module.` or `gpt2.`. Raises
    InputError if a tensor occurs with it and without it, or with two prefixes.
    """
    named = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    prefixes = sorted({match[1] for match in map(_EMBEDDING.fullmatch, named) if match}) or [""]
    prefix = prefixes[0]
    inside = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    outside = {name: tensor for name, tensor in named.items() if not name.startswith(prefix)}
    twice = inside.keys() & outside.keys()
    if twice or len(prefixes) > 1 or len(named) < len(tensors):
        what = min(twice, default="an embedding")[:100]
        raise InputError(f"{source}: {what} occurs twice, with and without a prefix such as module., or with two")
    return inside, outside


def without_head(tensors):
    """Return (the tensors without those of a head, {name: tensor} of the head, what the whole model is)."""
    head = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] in _HEADS}
    kinds = [_HEADS[name.rpartition(".")[0]] for name in head]
    return {name: tensor for name, tensor in tensors.items() if name not in head}, head, kinds[0] if kinds else ""


def from_nanogpt(tensors):
    """Transpose the matrices of a GPT-2 made of torch.nn.Linear, such as nanoGPT's and minGPT's: they are [out, in].

    Models without biases (`bias` False) get zeros, which leaves their function unchanged. Tensors of transformers,
    which has [in, out], stay as they are.
    """
    first = tensors.get("h.0.attn.c_attn.weight")
    if first is None or len(first.shape) != 2 or first.shape[0] != 3 * first.shape[1]:
        return tensors
    named = {
        name: side_by_side([tensor]) if MATRICES.fullmatch(name) and len(tensor.shape) == 2 else tensor
        for name, tensor in tensors.items()
    }
    if not any(name.endswith(".bias") for name in named):
        for name, tensor in list(named.items()):
            if name.startswith(("h.", "ln_f.")) and tensor.shape:
                named[name.removesuffix("weight") + "bias"] = zeros(tensor.shape[-1:])
    return named


def from_hugging_face(tensors, source):
    """Rename the tensors of a Hugging Face GPT-2: drop the prefix `transformer.` of newer files, and the masks.

    `lm_head.weight` stays. Raises InputError if a tensor occurs with and without the prefix.
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
    """Rename the tensors of OpenAI's release. Its `model/h0/attn/c_attn/w` has an extra first axis of size 1.

    Training state is skipped, with a Note that lists it: a step counter, and an optimizer's moments. Their names are
    outside `model/` or extend the name of their variable (`model/wte/Adam`).
    """
    named, aside = {}, []
    for name, tensor in tensors.items():
        match = _OPENAI.fullmatch(name)
        if match:
            embedding, block, layer, kind = match.groups(default="")
            layer = embedding or layer.replace("/", ".")
            name = (f"h.{block}." if block else "") + layer + (".bias" if kind == "b" else ".weight")
            if kind == "w" and len(tensor.shape) == 3 and tensor.shape[0] == 1:
                tensor = without_first_axis(tensor)
        elif not name.startswith("model/") or name.rpartition("/")[0] in tensors:
            aside.append(name[:100])
            continue
        named[name] = tensor
    if aside:
        more = f" and {len(aside) - _LISTED} more" if len(aside) > _LISTED else ""
        warnings.warn(f"{source}: skipped tensors of the training: {', '.join(aside[:_LISTED])}{more}", Note, 2)
    return named


def deduced_config(tensors, source, heads=None):
    """Deduce the Config from the shapes of tensors under our names, and from the number of heads, which has no shape.

    heads   None for 64 columns a head, as in all of OpenAI's sizes: only a model of these widths needs no number

    Raises InputError if the shapes do not determine a size.
    """
    sizes = _sizes(tensors)
    for key in ("vocab_size", "n_positions", "n_embd", "n_layer"):
        if not sizes.get(key):
            raise InputError(f"{source}: no tensor shows {key}, so these are not the weights of a GPT-2")
    if heads is None:
        heads = {config.n_embd: config.n_head for config in SIZES.values()}.get(sizes["n_embd"])
    if heads is None:
        raise InputError(
            f"{source}: no file says how many heads of attention it has, and its width, {sizes['n_embd']}, is none of "
            "GPT-2's; give --heads N (from Python: heads=N), or put a config.json into the folder"
        )
    if sizes["n_embd"] % heads:
        raise InputError(f"{source}: the width {sizes['n_embd']} is not divisible by {heads} heads")
    return Config(**sizes, n_head=heads)


def check_parameters(tensors, config, source):
    """Raise InputError unless the tensors are exactly the parameters of a GPT-2 of this Config.

    The error names `source`. It then names the size in the Config that the tensors contradict, or the tensors that are
    missing, unknown, of another shape or not floats.
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
    """Return the sizes that the names and shapes show: the highest block number and the embeddings' shapes."""
    sizes = {"n_layer": max((int(match[1]) + 1 for match in map(_BLOCK.match, tensors) if match), default=0)}
    if "wte.weight" in tensors and len(tensors["wte.weight"].shape) == 2:
        sizes["vocab_size"], sizes["n_embd"] = tensors["wte.weight"].shape
    if "wpe.weight" in tensors and len(tensors["wpe.weight"].shape) == 2:
        sizes["n_positions"] = tensors["wpe.weight"].shape[0]
    return sizes
