"""Training reproduces a logged run of the book's chapter-6 script in PyTorch.

The log has every step of a tiny GPT-2 on the real messages.
"""

import json
import shutil

import numpy as np
import pytest

from numpygpt.api.classifier import Classifier
from numpygpt.api.gpt import GPT
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.system.single_process import SingleProcess
from numpygpt.text.batches import encode, padded_length
from numpygpt.text.messages import label_names, read_messages
from numpygpt.text.split import balance, split
from numpygpt.text.tokenizer import load_tokenizer
from numpygpt.training.fine_tune import fine_tune
from numpygpt.training.loader import loaders
from numpygpt.training.measures import accuracy

# The book's names of the trained tensors, without query, key and value, which GPT-2 stores in one tensor.
BOOK_NAMES = {
    "trf_blocks.2.att.out_proj": "h.2.attn.c_proj",
    "trf_blocks.2.ff.layers.0": "h.2.mlp.c_fc",
    "trf_blocks.2.ff.layers.2": "h.2.mlp.c_proj",
    "trf_blocks.2.norm1": "h.2.ln_1",
    "trf_blocks.2.norm2": "h.2.ln_2",
    "final_norm": "ln_f",
    "out_head": "head",
}


def weights(config):
    """Return weights made as the log's README describes."""
    rng = np.random.RandomState(2024)
    params = {}
    for name, shape in sorted(parameter_shapes(config).items()):
        gain = ".ln_" in f".{name}" and name.endswith(".weight")
        matrix = name.startswith("h.") and name.endswith(".weight")
        array = rng.standard_normal(shape) * (0.1 if ".ln_" in f".{name}" else 0.3 if matrix else 0.5)
        params[name] = (array + gain).astype(np.float32)
    return params


@pytest.fixture(scope="module")
def logged(shared):
    return json.loads((shared / "reference" / "book_tiny_log.json").read_text())


@pytest.fixture(scope="module")
def encoding(shared, tmp_path_factory):
    """Return GPT-2's tokenizer from the files that tiktoken downloads."""
    folder = tmp_path_factory.mktemp("gpt2")
    shutil.copy(shared / "tiktoken" / "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6", folder / "vocab.json")
    shutil.copy(shared / "tiktoken" / "6d1cbeee0f20b3d9449abfede4726ed8212e3aee", folder / "merges.txt")
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def run(shared, logged, encoding):
    """Train and return (parameters, history, final accuracies)."""
    config = Config(**logged["config"])
    params = weights(config)
    messages = read_messages(shared / "data" / "SMSSpamCollection", book_quotes=True)
    sets, labels = split(balance(messages)), label_names(messages)
    lengths = [len(ids) for ids in encode(sets[0]["Text"], encoding, None, config.n_positions)]
    pad_to = padded_length("longest", lengths, config.n_positions)
    assert pad_to == logged["max_length"]
    task = Classifier(
        GPT(config, params, encoding, "the log's"), labels, "last_block", pad=pad_to, position="last", seed=123
    )
    training, validation, test = loaders(task, sets, batch_size=8, seed=123)
    history = []
    fine_tune(
        task,
        training,
        validation,
        epochs=2,
        lr=5e-5,
        schedule="constant",
        label_smoothing=0.0,
        weight_decay=0.1,
        accumulate=1,
        eval_every=50,
        eval_batches=5,
        report=history.append,
    )
    return (
        task.params,
        history,
        {
            "train": accuracy(task, training, SingleProcess()),
            "validation": accuracy(task, validation, SingleProcess()),
            "test": accuracy(task, test, SingleProcess()),
        },
    )


def test_every_steps_loss_equals_the_log(run, logged):
    losses = [row["loss"] for row in run[1] if "loss" in row]
    np.testing.assert_allclose(losses, logged["train_step_loss"], rtol=0, atol=1e-4)


def test_every_evaluation_equals_the_log(run, logged):
    evaluations = [(row["step"], row["train_loss"], row["validation_loss"]) for row in run[1] if "train_loss" in row]
    np.testing.assert_allclose(evaluations, logged["evaluations_step_train_val"], rtol=0, atol=1e-4)


def test_accuracies_equal_the_log_exactly(run, logged):
    epochs = [row for row in run[1] if "train_accuracy" in row]
    assert [row["train_accuracy"] for row in epochs] == pytest.approx(logged["epoch_train_accuracy"], abs=1e-12)
    assert [row["validation_accuracy"] for row in epochs] == pytest.approx(
        logged["epoch_validation_accuracy"], abs=1e-12
    )
    assert epochs[-1]["examples"] == logged["examples_seen"]
    assert run[2] == pytest.approx(logged["final_accuracy"], abs=1e-12)


def test_trained_tensors_have_the_logged_norms(run, logged):
    params, theirs = run[0], logged["final_norms_book_names"]
    for book, ours in BOOK_NAMES.items():
        for kind in ("weight", "bias"):
            book_kind = kind if f"{book}.{kind}" in theirs else {"weight": "scale", "bias": "shift"}[kind]
            norm = np.linalg.norm(params[f"{ours}.{kind}"].astype(np.float64))
            assert norm == pytest.approx(theirs[f"{book}.{book_kind}"], rel=1e-4), ours
    for kind in ("weight", "bias"):
        parts = np.split(params[f"h.2.attn.c_attn.{kind}"].astype(np.float64), 3, axis=-1)
        for part, name in zip(parts, ("query", "key", "value")):
            norm = np.linalg.norm(part)
            assert norm == pytest.approx(theirs[f"trf_blocks.2.att.W_{name}.{kind}"], rel=1e-4), name
