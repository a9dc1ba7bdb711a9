"""A message's features: the mean of its normalised rows at every depth."""

from dataclasses import replace

import numpy as np
import pytest

import numpygpt
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model.config import Config
from numpygpt.model.features import features
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.tape import Tape
from numpygpt.system import blas
from numpygpt.text import batches

CONFIG = Config(vocab_size=83, n_positions=24, n_embd=12, n_layer=2, n_head=3)
LENGTHS = np.array([7, 1, 24, 5])
IDS = np.random.default_rng(0).integers(0, 83, LENGTHS.sum())
PARAMS = {
    name: 0.3 * np.random.default_rng(5).standard_normal(shape) for name, shape in parameter_shapes(CONFIG).items()
}


@pytest.fixture(scope="module")
def gpt():
    return numpygpt.load("mini")


def normalised(rows):
    return (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)


def test_the_first_depth_is_the_mean_of_normalised_embeddings():
    found = features(Tape(PARAMS), IDS, LENGTHS, CONFIG)
    assert found.shape == (4, 3 * 12)
    last = len(IDS) - LENGTHS[-1]
    rows = PARAMS["wte.weight"][IDS[last:]] + PARAMS["wpe.weight"][: LENGTHS[-1]]
    np.testing.assert_allclose(found[3, :12], normalised(rows).mean(axis=0), rtol=1e-12)


def test_the_last_depth_gives_the_language_models_mean_logits(gpt):
    """The output layer is linear, so the mean of the logits equals the logits of the mean."""
    text = "Hi, are you coming home? Call me"
    last = gpt.features([text])[0, -gpt.config.n_embd :]
    read = gpt.params["ln_f.weight"] * last + gpt.params["ln_f.bias"]
    np.testing.assert_allclose(read @ gpt.params["wte.weight"].T, gpt.logits(text).mean(axis=0), rtol=1e-3, atol=1e-4)


def test_a_depth_does_not_depend_on_the_blocks_above_it():
    whole = features(Tape(PARAMS), IDS, LENGTHS, CONFIG)
    lower = features(Tape(PARAMS), IDS, LENGTHS, replace(CONFIG, n_layer=1))
    assert np.array_equal(whole[:, : 2 * 12], lower) and not np.allclose(whole[:, 24:], whole[:, 12:24])


@pytest.mark.parametrize("cores", [1, 3])
def test_features_keep_the_texts_order_and_ignore_the_other_texts(gpt, monkeypatch, cores):
    monkeypatch.setattr(blas, "_function", lambda name, restype: None)
    monkeypatch.setattr(blas, "_cores", lambda: cores)
    texts = [f"{'win ' * (n % 5)}message {n}" for n in range(2 * batches.BATCH + 1)]
    found = gpt.features(texts)
    assert found.shape == (len(texts), (gpt.config.n_layer + 1) * gpt.config.n_embd) and found.dtype == np.float32
    for n in (0, batches.BATCH, len(texts) - 1):
        np.testing.assert_allclose(found[n], gpt.features([texts[n]])[0], rtol=1e-3, atol=1e-5)


def test_features_of_no_text_a_long_text_and_an_empty_text(gpt):
    assert gpt.features([]).shape == (0, 4 * gpt.config.n_embd)
    long = "word " * gpt.config.n_positions
    assert np.array_equal(gpt.features([long]), gpt.features([2 * long]))
    with pytest.raises(numpygpt.InputError, match="message 2 is empty"):
        gpt.features(["a", ""])


def test_features_equal_transformers_normalised_hidden_states(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    save_folder(tmp_path, CONFIG, {name: array.astype(np.float32) for name, array in PARAMS.items()})
    model = transformers.GPT2Model.from_pretrained(tmp_path).double().eval()
    model.ln_f = torch.nn.Identity()  # transformers applies it to the last hidden state
    params = {name: array.astype(np.float32).astype(np.float64) for name, array in PARAMS.items()}
    found, end = features(Tape(params), IDS, LENGTHS, CONFIG), np.cumsum(LENGTHS)
    for row, stop, T in zip(found, end, LENGTHS):
        with torch.no_grad():
            states = model(torch.tensor(IDS[None, stop - T : stop]), output_hidden_states=True).hidden_states
            means = [torch.nn.functional.layer_norm(state[0], (12,)).mean(dim=0) for state in states]
        np.testing.assert_allclose(row, torch.cat(means).numpy(), rtol=1e-9, atol=1e-12)
