"""python -m numpygpt.export: write a trained classifier for transformers, for ONNX runtimes or for the book's model."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path

from .api.run import load_run
from .checkpoints.exported import MODEL_FILE, for_book, for_onnx, for_transformers
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


def main(argv=None):
    args = arguments(argv)
    if args.folder.exists():
        raise InputError(f"{args.folder} already exists; name another folder or delete it")
    clf = load_run(args.run)
    (book if args.book else onnx if args.onnx else transformers)(clf, args.folder)


def book(clf, folder):
    tensors = for_book(clf)
    folder.mkdir(parents=True)
    write_safetensors(folder / "book.safetensors", tensors)
    print(
        f"saved in {folder}. In PyTorch: "
        f"model.load_state_dict(safetensors.torch.load_file('{folder}/book.safetensors'))"
    )


def onnx(clf, folder):
    files = for_onnx(clf)
    write(folder, files)
    print(
        f"saved in {folder}: model.onnx ({len(files['model.onnx']):,} bytes), tokenizer.json, labels.json. In Python:\n"
        "  import json, numpy, onnxruntime, tokenizers\n"
        f"  tokenizer = tokenizers.Tokenizer.from_file('{folder}/tokenizer.json')\n"
        "  tokenizer.enable_padding()\n"
        "  rows = tokenizer.encode_batch(['You have won a prize', 'Home at six?'])\n"
        "  inputs = {'input_ids': [row.ids for row in rows], 'attention_mask': [row.attention_mask for row in rows]}\n"
        "  inputs = {name: numpy.array(value) for name, value in inputs.items()}\n"
        f"  [logits] = onnxruntime.InferenceSession('{folder}/model.onnx').run(None, inputs)\n"
        f"  labels = json.load(open('{folder}/labels.json'))\n"
        "  answers = [labels[number] for number in logits.argmax(axis=1)]"
    )


def transformers(clf, folder):
    tensors, texts = for_transformers(clf)
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write(folder, {name: text.encode() for name, text in texts.items()})
    own = MODEL_FILE.name in texts
    option = "trust_remote_code=True" if own else "truncation=True"
    print(
        f"saved in {folder}. In Python:\n"
        "  from transformers import pipeline\n"
        f"  classify = pipeline('text-classification', model='{folder}', {option})\n"
        "  classify(['You have won a prize', 'Home at six?'])"
    )
    if own:
        print(
            f"Without trust_remote_code=True, transformers refuses the folder: its model is in {MODEL_FILE.name}, "
            "because transformers has no such class"
        )


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing(folder / name) as file:
            file.write(content)


if __name__ == "__main__":
    command.run(main)
