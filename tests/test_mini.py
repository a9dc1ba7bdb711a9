"""The bundled model has the properties on its card: size, perplexity, and compatibility with transformers."""

import math
import re
import shlex
from itertools import islice

import numpy as np
import pytest

from numpygpt import pretrain
from numpygpt.checkpoints.load import BUNDLED, load_checkpoint
from numpygpt.commands.pretrain import hold_out
from numpygpt.model.continuation import continuation
from numpygpt.system.single_process import SingleProcess
from numpygpt.text.documents import read_documents
from numpygpt.text.tokenizer import encode_message
from numpygpt.training.pretraining import perplexity, windows

FOLDER = BUNDLED["mini"]


@pytest.fixture(scope="module")
def mini():
    return load_checkpoint("mini")


@pytest.fixture(scope="module")
def held_out(mini, shared):
    """Return the windows on which `pretrain`, called as on the card, measured the perplexity."""
    _, _, encoding = mini
    command = re.search(r"^python -m numpygpt\.pretrain (.*?)^```", card(), re.M | re.S)[1].replace("\\\n", " ")
    args = pretrain.arguments(shlex.split(command))
    found = {path.name: path for path in (shared / "corpus").rglob("*.txt")}
    names, weights = zip(*args.text)
    documents = read_documents([found[name.name] for name in names], args.lines, weights)
    _, texts = hold_out(documents, args.held_out, args.seed)
    ids = [np.array(encode_message(encoding, text), np.int32) for text in texts]
    return windows(ids, encoding.eot_token, args.context, None)


def card():
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def card_number(pattern):
    return float(re.search(pattern, card())[1].replace(",", ""))


def test_the_bundled_model_is_as_small_as_documented(mini):
    config, params, _ = mini
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 10_000_000
    assert sum(array.size for array in params.values()) == card_number(r"This GPT-2 has ([\d,]+) parameters")
    assert config.vocab_size == card_number(r"vocabulary of\s+([\d,]+)\s+entries")


def test_the_cards_perplexity_equals_the_measured_one(mini, held_out):
    config, params, _ = mini
    assert perplexity(params, config, held_out, SingleProcess()) == pytest.approx(
        card_number(r"held-out perplexity is \*\*([\d.]+)"), rel=1e-3
    )


def test_transformers_computes_the_bundled_models_perplexity(mini, held_out):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config, params, _ = mini
    model = transformers.GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    some = held_out[:20]
    with torch.no_grad():
        losses = [
            float(
                model(
                    torch.tensor(window[None].astype(np.int64)), labels=torch.tensor(window[None].astype(np.int64))
                ).loss
            )
            for window in some[:, :-1]
        ]
    # transformers shifts the targets itself, so its windows have one token less and it predicts all except the first
    ours = perplexity(params, config, some[:, :-1], SingleProcess())
    assert ours == pytest.approx(math.exp(np.mean(losses)), rel=1e-3)


def test_transformers_tokenizes_and_generates_alike(mini):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config, params, encoding = mini
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    text = "Haha ok lor, c u at 8.30pm 2nite? £50 naïve 😀"
    ids = encode_message(encoding, text)
    assert tokenizer(text).input_ids == ids
    model = transformers.GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    made = model.generate(torch.tensor([ids]), max_new_tokens=200, do_sample=False, eos_token_id=None, pad_token_id=0)[
        0, len(ids) :
    ]
    assert list(islice(continuation(params, config, ids, np.argmax), 200)) == made.tolist()
