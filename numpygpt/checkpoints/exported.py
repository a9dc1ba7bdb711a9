"""Convert a fine-tuned classifier to the tensors and files of transformers, or to the book's tensor names."""

import json

import numpy as np

from ..model.config import config_json
from ..system.errors import InputError
from ..text.tokenizer import ENDOFTEXT, tokenizer_files
from .names import to_book

PAD = "<|pad|>"


def for_book(clf):
    """Return {name: array} for model.load_state_dict of the book's model.

    The model must be created with qkv_bias=True and have out_head = torch.nn.Linear(emb_dim, labels). Raises InputError
    if the book's model would give other logits than the Classifier.
    """
    _refuse_what_others_cannot(clf, "the book's model", ("last",))
    if clf.config.layer_norm_epsilon != 1e-5:
        raise InputError(
            f"the book's model uses the layernorm epsilon 1e-05, but this classifier uses "
            f"{clf.config.layer_norm_epsilon:g}; export it without --book"
        )
    tensors = to_book({name: array for name, array in clf.params.items() if not name.startswith("head.")}, clf.config)
    return tensors | {"out_head.weight": clf.params["head.weight"].T, "out_head.bias": clf.params["head.bias"]}


def for_transformers(clf):
    """Return ({name: array}, {file name: text}) of the transformers model that computes the Classifier's logits.

    Mean pooling becomes GPT2ForTokenClassification, which returns logits for each token. The head is linear, so the
    mean of these logits equals the logits of the mean row.

    Last-token pooling becomes GPT2ForSequenceClassification, which reads the last token that is not padding. Its head
    has no bias, so the bias moves into the final layernorm. Padding depends on how the Classifier was trained:
      - messages of their own lengths: both models read the same token
      - messages padded as in the book: padding counts as text and its last token is read. So pad_token_id is a byte
        that UTF-8 text never contains, and the tokenizer returns no attention mask
      - messages that end in one `<|endoftext|>` (--pad end): the tokenizer appends it. Padding is a new token <|pad|>,
        a row of zeros in the embedding

    Raises InputError if the transformers model would give other logits than the Classifier.
    """
    _refuse_what_others_cannot(clf, "transformers' class", ("last", "mean"))
    votes = clf.pooling.position == "mean"
    tensors = {f"transformer.{name}": array for name, array in clf.params.items() if not name.startswith("head.")}
    head = np.ascontiguousarray(clf.params["head.weight"].T)
    if votes:
        tensors |= {"classifier.weight": head, "classifier.bias": clf.params["head.bias"]}
    else:
        shift = bias_before(clf.params["head.weight"], clf.params["head.bias"])
        tensors |= {"score.weight": head, "transformer.ln_f.bias": clf.params["ln_f.bias"] + shift}
    ends, padded = clf.pad_to == "end", isinstance(clf.pad_to, int)
    pad_id = clf.encoding.encode_single_token(b"\xff") if padded else clf.encoding.eot_token + ends
    if ends:
        tensors["transformer.wte.weight"] = np.pad(clf.params["wte.weight"], ((0, 1), (0, 0)))
    config = json.loads(config_json(clf.config)) | {
        "architectures": ["GPT2ForTokenClassification" if votes else "GPT2ForSequenceClassification"],
        "id2label": dict(enumerate(clf.labels)),
        "label2id": {label: number for number, label in enumerate(clf.labels)},
        "pad_token_id": pad_id,
        "vocab_size": len(tensors["transformer.wte.weight"]),
    }
    tokenizer = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": clf.pad_to if padded else clf.config.n_positions,
        "padding_side": "right",
        "split_special_tokens": True,  # treats a literal <|endoftext|> in a message as ordinary text
        **{token: ENDOFTEXT for token in ("bos_token", "eos_token", "unk_token", "pad_token")},
    }
    if padded:
        tokenizer["model_input_names"] = ["input_ids"]
    texts = {
        "config.json": json.dumps(config, indent=2) + "\n",
        "tokenizer_config.json": json.dumps(tokenizer, indent=2) + "\n",
    }
    texts |= tokenizer_files(clf.encoding)
    if ends:
        tokenizer |= {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD}
        texts |= {
            "tokenizer_config.json": json.dumps(tokenizer, indent=2) + "\n",
            "tokenizer.json": ending_tokenizer(texts["vocab.json"], texts["merges.txt"]),
        }
    return tensors, texts


def ending_tokenizer(vocab, merges):
    """Return the text of a tokenizer.json that appends `<|endoftext|>` to each text and has the extra token <|pad|>.

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
    """Return a shift (D,) of a linear layer's input that replaces its bias (C,): shift @ weight = bias.

    The weight (D, C) has fewer columns than rows, so solutions exist if its columns are independent. The result is the
    shortest solution. Raises InputError if the columns are dependent.
    """
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    shift, *_ = np.linalg.lstsq(weight.T, bias, rcond=None)
    if not np.allclose(shift @ weight, bias, rtol=1e-6, atol=1e-9):
        raise InputError(
            "the head's columns are linearly dependent, so its bias cannot move into the layernorm; "
            "train with another --seed"
        )
    return shift.astype(np.float32)


def _refuse_what_others_cannot(clf, which, positions):
    if clf.pooling.position not in positions or not clf.pooling.causal:
        raise InputError(
            f"{which} needs --position {' or '.join(positions)} and a causal mask, but this classifier was trained "
            f"with --position {clf.pooling.position}{'' if clf.pooling.causal else ' --no-causal'}"
        )
