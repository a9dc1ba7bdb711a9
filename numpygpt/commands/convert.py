"""Convert any GPT-2 checkpoint to a Hugging Face folder, or compare two checkpoints."""

import numpy as np

from ..checkpoints.huggingface import save_folder
from ..checkpoints.load import load_checkpoint, load_weights, locate
from ..system.errors import InputError


def run(args):
    dtype = np.float16 if args.half else np.float32
    if args.check:
        raise SystemExit(check(args.source, args.folder, dtype, args.heads))
    taken = [
        name
        for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json")
        if (args.folder / name).exists()
    ]
    if taken:
        raise InputError(f"{args.folder}: the folder already has {', '.join(taken)}; name another folder")
    config, params, encoding = load_checkpoint(args.source, args.heads, args.base)
    save_folder(args.folder, config, params, encoding, dtype)
    count, size = sum(array.size for array in params.values()), (args.folder / "model.safetensors").stat().st_size
    print(f"{args.folder}: {count:,} parameters in {len(params)} tensors, {dtype.__name__}, {size:,} bytes")


def check(source, other, dtype, heads=None):
    """Print the largest difference of each tensor. Return 0 if all tensors are equal, otherwise 1.

    source, other, heads   as in load_checkpoint
    dtype                  the type to which the values of `source` are rounded first

    Raises InputError if the models have different sizes.
    """
    (config, params), (other_config, others) = (load_weights(locate(which), heads) for which in (source, other))
    if config != other_config:
        raise InputError(
            f"{source} and {other} have different sizes: {config} and {other_config}; compare models of one size"
        )
    different = 0
    for name, array in params.items():
        with np.errstate(over="ignore"):
            difference = largest_difference(array.astype(dtype), others[name])
        different += difference != 0
        print(f"{name:<24} {str(array.shape):<14} {f'{difference:.3g}' if difference else 'equal'}")
    print(f"{different} of {len(params)} tensors differ" if different else f"all {len(params)} tensors are equal")
    return int(different > 0)


@np.errstate(invalid="ignore")
def largest_difference(array, other):
    """Return max |array - other|. Equal infinities and two NaNs count as equal; a single NaN makes the result NaN."""
    same = (array == other) | (np.isnan(array) & np.isnan(other))
    return float(np.where(same, 0, np.abs(array - other)).max())
