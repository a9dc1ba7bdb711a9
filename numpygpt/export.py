"""python -m numpygpt.export: write a trained classifier for transformers, or under the book's names."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path

from .api.run import load_run
from .checkpoints.exported import for_book, for_transformers
from .checkpoints.safetensors import write_safetensors
from .system import command
from .system.errors import InputError
from .system.files import replacing


def arguments(argv=None):
    parser = command.parser(
        "export",
        "Write the classifier of a run folder, frozen weights and all, for use outside numpygpt.\n\n"
        "For transformers: a folder from which AutoModelForTokenClassification (where the mean of all tokens is "
        "classified; its mean over the tokens gives our logits) or AutoModelForSequenceClassification (where the last "
        "one is), and AutoTokenizer, load our classifier, with its label names. The latter has no bias in the head, "
        "so the bias moves into the final layernorm.\n\n"
        "With --book: one file, book.safetensors, whose tensors the book's model.load_state_dict accepts (made with "
        "qkv_bias=True and out_head = torch.nn.Linear(emb_dim, labels)); it reads the last token, so train with "
        "--recipe book or --position last.",
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
    padded, votes = isinstance(clf.pad_to, int), clf.pooling.position == "mean"
    name = f"AutoModelFor{'Token' if votes else 'Sequence'}Classification"
    print(
        f"saved in {args.folder}. In Python:\n"
        f"  from transformers import {name}, AutoTokenizer\n"
        f"  tokenizer = AutoTokenizer.from_pretrained('{args.folder}')\n"
        f"  model = {name}.from_pretrained('{args.folder}')\n"
        f"  inputs = tokenizer(texts, padding={'max_length' if padded else True!r}, truncation=True, "
        "return_tensors='pt')\n"
        "  logits = model(**inputs).logits"
    )
    if votes and padded:
        print("  logits = logits.mean(1)  # every token votes")
    elif votes:
        print(
            "  votes = inputs['attention_mask'][..., None]  # every token has one, padding has none\n"
            "  logits = (logits * votes).sum(1) / votes.sum(1)"
        )


if __name__ == "__main__":
    command.run(main)
