"""python -m numpygpt.export: write a trained classifier for transformers, or with the book's tensor names."""

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
        "Write the classifier of a run folder, with all its weights, for use outside numpygpt.\n\n"
        "By default, write a folder for transformers' AutoTokenizer and model classes, with the label names. With mean "
        "pooling, load it with AutoModelForTokenClassification: the mean of its logits over the tokens equals "
        "numpygpt's logits. With last-token pooling, load it with AutoModelForSequenceClassification. That class has "
        "no bias in the head, so the bias moves into the final layernorm.\n\n"
        "With --book, write one file, book.safetensors, for the book's model.load_state_dict. Create that model with "
        "qkv_bias=True and out_head = torch.nn.Linear(emb_dim, labels). It reads the last token, so train with "
        "--recipe book or --position last.",
        [
            "python -m numpygpt.export runs/001 spam-classifier",
            "python -m numpygpt.export runs/001 spam-classifier --book",
        ],
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder of numpygpt.train")
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
        print("  logits = logits.mean(1)  # the mean over all tokens")
    elif votes:
        print(
            "  mask = inputs['attention_mask'][..., None]  # 1 for a token, 0 for padding\n"
            "  logits = (logits * mask).sum(1) / mask.sum(1)  # the mean over all tokens"
        )


if __name__ == "__main__":
    command.run(main)
