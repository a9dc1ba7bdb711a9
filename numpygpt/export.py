"""python -m numpygpt.export: write a trained classifier for transformers, for ONNX runtimes or for the book's model."""

from pathlib import Path

from .system import command


def arguments(argv=None):
    parser = command.parser(
        "export",
        "Write the classifier of a run folder, with all its weights, for use outside numpygpt.\n\n"
        "By default, write a folder for transformers: pipeline('text-classification', model=FOLDER, "
        "trust_remote_code=True) gives numpygpt's answers and label names. Most classifiers read a message in a way "
        "that transformers has no class for. Then the folder has a small PyTorch file, modeling_numpygpt.py, and "
        "transformers refuses the folder without trust_remote_code=True. A causal classifier that reads the last "
        "token of messages of their own lengths (--position last --pad none) is an ordinary "
        "GPT2ForSequenceClassification.\n\n"
        "With --book, write one file, book.safetensors, for the book's model.load_state_dict. Create that model with "
        "qkv_bias=True and out_head = torch.nn.Linear(emb_dim, labels). It reads the last token, so train with "
        "--recipe book or --position last.\n\n"
        "With --onnx, write model.onnx, for any ONNX runtime on a server, a phone or in a browser. Its inputs are "
        "token ids and a mask, its output is the logits. tokenizer.json and labels.json are beside it. This needs the "
        "package onnx: pip install 'numpygpt[onnx]'.",
        [
            "python -m numpygpt.export runs/001 spam-classifier",
            "python -m numpygpt.export runs/001 spam-classifier --book",
            "python -m numpygpt.export runs/001 spam-classifier --onnx",
        ],
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="a run folder of numpygpt.train, or an exported classifier"
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to write, which must not exist yet")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--book", action="store_true", help="use the book's names instead of transformers'")
    other.add_argument("--onnx", action="store_true", help="write one ONNX file instead of transformers' files")
    return parser.parse_args(argv)


main = command.main("export", arguments)


if __name__ == "__main__":
    command.run(main)
