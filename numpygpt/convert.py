"""python -m numpygpt.convert: convert any GPT-2 checkpoint to a Hugging Face folder, or compare two checkpoints."""

from pathlib import Path

from .system import command


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
    args = parser.parse_args(argv)
    if args.check:
        command.refuse(parser, args, "--check reads no base model", "base")
    return args


main = command.main("convert", arguments)


if __name__ == "__main__":
    command.run(main)
