"""python -m numpygpt.convert: convert any GPT-2 checkpoint to a Hugging Face folder, or compare two checkpoints."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path

import numpy as np

from .checkpoints.huggingface import save_folder
from .checkpoints.load import load_checkpoint, load_weights, locate
from .system import command
from .system.errors import InputError


def arguments(argv=None):
    parser = command.parser(
        "convert",
        "Write the GPT-2 in SOURCE to FOLDER in the layout of Hugging Face's transformers: config.json, "
        "model.safetensors, vocab.json and merges.txt. The commands of numpygpt read SOURCE directly: convert it for "
        "other programs, for a smaller file (--half), or to replace a pickle by a safe format.\n\n"
        "SOURCE may be\n"
        "  - a folder that transformers saved, with safetensors or pytorch_model.bin,\n"
        "    in one file or in shards\n"
        "  - the folder of OpenAI's release: model.ckpt.*, hparams.json, encoder.json,\n"
        "    vocab.bpe (TensorFlow is not needed)\n"
        "  - a file that PyTorch saved (.pth, .bin) or a .safetensors file, with the\n"
        "    tensor names of Hugging Face, nanoGPT or the book's GPTModel. No code in\n"
        "    it is run. Without a config.json in the same folder, the tensors' shapes\n"
        "    give the sizes\n"
        "  - the folder of a PEFT adapter (LoRA), which is merged into its base\n"
        "The head of a classifier or of another model is set aside.",
        [
            "python -m numpygpt.convert models/124M gpt2-folder",
            "python -m numpygpt.convert gpt2-small-124M.pth gpt2-half --half",
            "python -m numpygpt.convert gpt2-small-124M.pth gpt2-folder --check",
        ],
    )
    parser.add_argument("source", metavar="SOURCE", help="the checkpoint to read: a folder, a file or a model's name")
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="the folder to write, which must not contain a model"
    )
    command.add_heads(parser)
    parser.add_argument("--base", help="the base model of the PEFT adapter in SOURCE (default: the one that it names)")
    parser.add_argument(
        "--half", action="store_true", help="write 16-bit floats: half the size, about three decimal digits"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; compare FOLDER (or a file) with SOURCE, tensor by tensor. With --half, round SOURCE to 16 "
        "bits first. The exit status is 1 if they differ",
    )
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
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


if __name__ == "__main__":
    command.run(main)
