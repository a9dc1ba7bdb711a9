"""Convert a fine-tuned classifier to the files that transformers loads, or to the tensor names of the book."""

import json
from pathlib import Path

import numpy as np

from ..model.config import config_json
from ..model.pooling import Pooling
from ..system.errors import InputError
from ..text.tokenizer import as_tokenizer_json, end_token, tokenizer_files
from .book import to_book
from .onnx_graph import onnx_model

OWN_TYPE = "numpygpt"  # the model_type of an exported classifier that transformers has no class for
MODEL_FILE = Path(__file__).parents[1] / "assets" / "transformers" / "modeling_numpygpt.py"


def for_book(clf):
    """Return {name: array} for model.load_state_dict of the book's model.

    The model must be created with qkv_bias=True and have out_head = torch.nn.Linear(emb_dim, labels). Raises InputError
    if the book's model would give other logits than the Classifier.
    """
    if clf.pooling != Pooling("last"):
        raise InputError(
            "the book's model needs --position last and a causal mask, but this classifier was trained with "
            f"--position {clf.pooling.position}{'' if clf.pooling.causal else ' --no-causal'}"
        )
    if clf.config.layer_norm_epsilon != 1e-5:
        raise InputError(
            f"the book's model uses the layernorm epsilon 1e-05, but this classifier uses "
            f"{clf.config.layer_norm_epsilon:g}; export it without --book"
        )
    tensors = to_book({name: array for name, array in clf.params.items() if not name.startswith("head.")}, clf.config)
    return tensors | {"out_head.weight": clf.params["head.weight"].T, "out_head.bias": clf.params["head.bias"]}


def for_transformers(clf):
    """Return ({name: array}, {file name: text}) of the folder from which transformers computes the Classifier's logits.

    A causal classifier that reads the last token of messages of their own lengths is GPT2ForSequenceClassification.
    That class has no bias in the head, so the bias moves into the final layernorm.

    Any other classifier has a class of its own, in modeling_numpygpt.py. Its model_type is none of transformers', so
    that transformers refuses the folder without trust_remote_code=True instead of guessing: as a GPT-2, it would answer
    with a random head. Raises InputError if the tokenizer is not built like GPT-2's.
    """
    tensors = {f"transformer.{name}": array for name, array in clf.params.items() if not name.startswith("head.")}
    tensors["score.weight"] = np.ascontiguousarray(clf.params["head.weight"].T)
    shift = bias_before(clf.params["head.weight"], clf.params["head.bias"])
    plain = clf.pooling == Pooling("last") and clf.pad_to is None and shift is not None
    end = clf.encoding.eot_token
    config = json.loads(config_json(clf.config)) | {
        "architectures": ["GPT2ForSequenceClassification"],
        "id2label": dict(enumerate(clf.labels)),
        "label2id": {label: number for number, label in enumerate(clf.labels)},
        **{f"{which}_token_id": end for which in ("bos", "eos", "pad")},
    }
    texts = classifier_tokenizer(clf)
    if plain:
        tensors["transformer.ln_f.bias"] = clf.params["ln_f.bias"] + shift
    else:
        tensors["score.bias"] = clf.params["head.bias"]
        name = "NumpygptForSequenceClassification"
        config |= {
            "model_type": OWN_TYPE,
            "architectures": [name],
            "auto_map": {
                "AutoConfig": f"{MODEL_FILE.stem}.NumpygptConfig",
                "AutoModelForSequenceClassification": f"{MODEL_FILE.stem}.{name}",
            },
            **reading(clf),
        }
        texts[MODEL_FILE.name] = MODEL_FILE.read_text(encoding="utf-8")
    return tensors, texts | {"config.json": json.dumps(config, indent=2) + "\n"}


def for_onnx(clf):
    """Return {file name: bytes} of the folder with the Classifier's ONNX model, tokenizer and labels.

    tokenizer.json treats a literal `<|endoftext|>` in a message as ordinary text. Raises InputError like onnx_model.
    """
    return {
        "model.onnx": onnx_model(clf),
        "tokenizer.json": as_tokenizer_json(clf.encoding).encode(),
        "labels.json": (json.dumps(clf.labels, indent=2) + "\n").encode(),
    }


def reading(clf):
    """Return what config.json says about how a classifier reads a message."""
    return {"position": clf.pooling.position, "causal": clf.pooling.causal, "padding": clf.pad_to}


def classifier_tokenizer(clf):
    """Return {file name: text} of the tokenizer, which adds nothing to a text, and of its configuration."""
    files, end = tokenizer_files(clf.encoding), end_token(clf.encoding)
    if "tokenizer.json" in files:
        files["tokenizer.json"] = as_tokenizer_json(clf.encoding)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast" if "tokenizer.json" in files else "GPT2Tokenizer",
        "model_max_length": clf.config.n_positions,
        "padding_side": "right",
        "split_special_tokens": True,  # treats a literal <|endoftext|> in a message as ordinary text
        **{f"{which}_token": end for which in ("bos", "eos", "unk", "pad")},
    }
    return files | {"tokenizer_config.json": json.dumps(config, indent=2) + "\n"}


def bias_before(weight, bias):
    """Return a shift (D,) of a linear layer's input that replaces its bias (C,): shift @ weight = bias, or None.

    The weight (D, C) has fewer columns than rows, so solutions exist if its columns are independent. The result is the
    shortest solution. It is None if the columns are dependent.
    """
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    shift, *_ = np.linalg.lstsq(weight.T, bias, rcond=None)
    return shift.astype(np.float32) if np.allclose(shift @ weight, bias, rtol=1e-6, atol=1e-9) else None
