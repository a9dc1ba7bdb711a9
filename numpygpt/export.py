"""python -m numpygpt.export: write a trained classifier for transformers, or under the book's names."""

import json
from pathlib import Path

import numpy as np

from .checkpoints.names import to_book
from .checkpoints.safetensors import write_safetensors
from .model.config import config_json
from .system import command
from .system.errors import InputError
from .system.files import replacing
from .text.tokenizer import ENDOFTEXT, tokenizer_files
from .training.run_folder import load_run

PAD = "<|pad|>"


def arguments(argv=None):
    parser = command.parser(
        "export",
        "Write the classifier of a run folder, frozen weights and all, for use outside numpygpt.\n\n"
        "For transformers: a folder from which AutoModelForSequenceClassification and AutoTokenizer load our "
        "classifier, with its\n"
        "label names, and which gives our logits. Its class has no bias in the head, so the bias moves into the "
        "final layernorm.\n"
        "With --book: one file, book.safetensors, whose tensors the book's model.load_state_dict accepts (made "
        "with qkv_bias=True\n"
        "and out_head = torch.nn.Linear(emb_dim, labels)).",
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
    run = load_run(args.run)
    refuse_what_others_cannot(run, args.book)
    if args.book:
        tensors = to_book(
            {name: array for name, array in run.params.items() if not name.startswith("head.")}, run.config
        )
        tensors |= {"out_head.weight": run.params["head.weight"].T, "out_head.bias": run.params["head.bias"]}
        args.folder.mkdir(parents=True)
        write_safetensors(args.folder / "book.safetensors", tensors)
        print(
            f"saved in {args.folder}. In PyTorch: "
            f"model.load_state_dict(safetensors.torch.load_file('{args.folder}/book.safetensors'))"
        )
        return
    tensors, texts = for_transformers(run)
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
        f"  model(**tokenizer(texts, padding={'max_length' if isinstance(run.pad_to, int) else True!r}, "
        f"truncation=True, "
        "return_tensors='pt')).logits"
    )


def refuse_what_others_cannot(run, book):
    """Raise InputError where transformers' class, or the book's model, would give other answers than the Run does."""
    which = "the book's model" if book else "transformers' class"
    if run.reading.position != "last" or not run.reading.causal:
        raise InputError(
            f"{which} reads the last token, under a causal mask; this classifier was trained with --position "
            f"{run.reading.position}{'' if run.reading.causal else ' --no-causal'}"
        )
    if book and run.config.layer_norm_epsilon != 1e-5:
        raise InputError(
            f"the book's model has the layernorm epsilon 1e-05; this classifier's is {run.config.layer_norm_epsilon:g}"
        )


def for_transformers(run):
    """({name: array}, {file name: text}) of the GPT2ForSequenceClassification that gives the Run's logits.

    That class reads the last token that is not padding. For messages of their own lengths, that is what ours reads.
    For messages padded as in the book, the padding is text like any other and the last of it is read: so what counts
    as padding there is a byte that UTF-8 text never holds, and the tokenizer gives no attention mask. For messages
    that end in one `<|endoftext|>` (--pad end), the tokenizer appends it, and padding is a new token <|pad|>, a row
    of zeros in the embedding.
    """
    tensors = {f"transformer.{name}": array for name, array in run.params.items() if not name.startswith("head.")}
    tensors["score.weight"] = np.ascontiguousarray(run.params["head.weight"].T)
    tensors["transformer.ln_f.bias"] = run.params["ln_f.bias"] + bias_before(
        run.params["head.weight"], run.params["head.bias"]
    )
    ends, padded = run.pad_to == "end", isinstance(run.pad_to, int)
    pad_id = run.encoding.encode_single_token(b"\xff") if padded else run.encoding.eot_token + ends
    if ends:
        tensors["transformer.wte.weight"] = np.pad(run.params["wte.weight"], ((0, 1), (0, 0)))
    config = json.loads(config_json(run.config)) | {
        "architectures": ["GPT2ForSequenceClassification"],
        "id2label": dict(enumerate(run.labels)),
        "label2id": {label: number for number, label in enumerate(run.labels)},
        "pad_token_id": pad_id,
        "vocab_size": len(tensors["transformer.wte.weight"]),
    }
    tokenizer = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": run.pad_to if padded else run.config.n_positions,
        "padding_side": "right",
        "split_special_tokens": True,  # a literal <|endoftext|> in a message is text
        **{token: ENDOFTEXT for token in ("bos_token", "eos_token", "unk_token", "pad_token")},
    }
    if padded:
        tokenizer["model_input_names"] = ["input_ids"]
    texts = {
        "config.json": json.dumps(config, indent=2) + "\n",
        "tokenizer_config.json": json.dumps(tokenizer, indent=2) + "\n",
    }
    texts |= tokenizer_files(run.encoding)
    if ends:
        tokenizer |= {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD}
        texts |= {
            "tokenizer_config.json": json.dumps(tokenizer, indent=2) + "\n",
            "tokenizer.json": ending_tokenizer(texts["vocab.json"], texts["merges.txt"]),
        }
    return tensors, texts


def ending_tokenizer(vocab, merges):
    """tokenizer.json of a GPT-2 tokenizer that puts `<|endoftext|>` after each text and knows <|pad|>.

    vocab, merges   the contents of vocab.json and merges.txt
    """
    vocab = json.loads(vocab)
    end, byte_level = vocab[ENDOFTEXT], {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = {name: False for name in ("single_word", "lstrip", "rstrip", "normalized")}
    special = {"id": ENDOFTEXT, "ids": [end], "tokens": [ENDOFTEXT]}
    template = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": ENDOFTEXT, "type_id": 0}}]
    content = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": token, "special": True} | flags
            for number, token in ((end, ENDOFTEXT), (end + 1, PAD))
        ],
        "pre_tokenizer": byte_level | {"use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": {ENDOFTEXT: special},
        },
        "decoder": byte_level | {"use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges.rstrip("\n").split("\n")[1:]},
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def bias_before(weight, bias):
    """The shift (D,) of a linear layer's input that does what its bias (C,) does: shift @ weight = bias.

    There is one, since weight (D, C) has fewer columns than rows and they are independent; of the many, the shortest
    is taken. Raises InputError where the columns are not independent.
    """
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    shift, *_ = np.linalg.lstsq(weight.T, bias, rcond=None)
    if not np.allclose(shift @ weight, bias, rtol=1e-6, atol=1e-9):
        raise InputError(
            "the head's columns are not independent, so its bias cannot be folded away; train with another --seed"
        )
    return shift.astype(np.float32)


if __name__ == "__main__":
    command.run(main)
