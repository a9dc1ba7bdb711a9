"""Write a trained classifier for transformers, for ONNX runtimes or for the book's model."""

from ..api.run import load_run
from ..checkpoints.exported import MODEL_FILE, for_book, for_onnx, for_transformers
from ..checkpoints.safetensors import write_safetensors
from ..system.errors import InputError
from ..system.files import write_file


def run(args):
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
        write_file(folder / name, content)
