"""python -m numpygpt.export: write a trained classifier for transformers, or with the book's tensor names."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path

from .api.run import load_run
from .checkpoints.exported import MODEL_FILE, for_book, for_transformers
from .checkpoints.safetensors import write_safetensors
from .system import command
from .system.errors import InputError
from .system.files import replacing


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
        "--recipe book or --position last.",
        [
            "python -m numpygpt.export runs/001 spam-classifier",
            "python -m numpygpt.export runs/001 spam-classifier --book",
        ],
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="a run folder of numpygpt.train, or an exported classifier"
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to write, which must not exist yet")
    parser.add_argument("--book", action="store_true", help="use the book's names instead of transformers'")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    if args.folder.exists():
        raise InputError(f"{args.folder} already exists; name another folder or delete it")
    clf = load_run(args.run)
    if args.book:
        tensors = for_book(clf)
        args.folder.mkdir(parents=True)
        write_safetensors(args.folder / "book.safetensors", tensors)
        print(
            f"saved in {args.folder}. In PyTorch: "
            f"model.load_state_dict(safetensors.torch.load_file('{args.folder}/book.safetensors'))"
        )
        return
    tensors, texts = for_transformers(clf)
    args.folder.mkdir(parents=True)
    write_safetensors(args.folder / "model.safetensors", tensors, {"format": "pt"})
    for name, text in texts.items():
        with replacing(args.folder / name) as file:
            file.write(text.encode())
    own = MODEL_FILE.name in texts
    option = "trust_remote_code=True" if own else "truncation=True"
    print(
        f"saved in {args.folder}. In Python:\n"
        "  from transformers import pipeline\n"
        f"  classify = pipeline('text-classification', model='{args.folder}', {option})\n"
        "  classify(['You have won a prize', 'Home at six?'])"
    )
    if own:
        print(
            f"Without trust_remote_code=True, transformers refuses the folder: its model is in {MODEL_FILE.name}, "
            "because transformers has no such class"
        )


if __name__ == "__main__":
    command.run(main)
