"""python -m numpygpt.export: write a trained classifier for transformers, or under the book's names."""

from pathlib import Path

from .checkpoints.exported import for_book, for_transformers
from .checkpoints.safetensors import write_safetensors
from .system import command
from .system.errors import InputError
from .system.files import replacing
from .training.run_folder import load_run


def arguments(argv=None):
    parser = command.parser(
        "export",
        "Write the classifier of a run folder, frozen weights and all, for use outside numpygpt.\n\n"
        "For transformers: a folder from which AutoModelForSequenceClassification and AutoTokenizer load our "
        "classifier, with its label names, and which gives our logits. Its class has no bias in the head, so the "
        "bias moves into the final layernorm.\n\n"
        "With --book: one file, book.safetensors, whose tensors the book's model.load_state_dict accepts (made with "
        "qkv_bias=True and out_head = torch.nn.Linear(emb_dim, labels)).",
        [
            "python -m numpygpt.export runs/001 spam-classifier",
            "python -m numpygpt.export runs/001 spam-classifier --book",
        ],
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run folder that numpygpt.train left")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to write, which must not exist yet")
    parser.add_argument("--book", action="store_true", help="the book's names instead of transformers'")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    if args.folder.exists():
        raise InputError(f"{args.folder} exists: name a folder that does not, or remove it")
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
    print(
        f"saved in {args.folder}. In Python:\n"
        "  from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        f"  tokenizer = AutoTokenizer.from_pretrained('{args.folder}')\n"
        f"  model = AutoModelForSequenceClassification.from_pretrained('{args.folder}')\n"
        f"  model(**tokenizer(texts, padding={'max_length' if isinstance(clf.pad_to, int) else True!r}, "
        "truncation=True, return_tensors='pt')).logits"
    )


if __name__ == "__main__":
    command.run(main)
