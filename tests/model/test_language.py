"""The language model's loss, gradients and perplexity equal transformers', also with a sliced output layer."""

import numpy as np
import pytest

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model import fast
from numpygpt.model.config import Config
from numpygpt.model.language import language_logits, language_model
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.tape import Tape
from numpygpt.ops import output_loss as module
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.output_loss import output_loss
from numpygpt.system.single_process import SingleProcess
from numpygpt.training.pretraining import perplexity

CONFIG = Config(vocab_size=83, n_positions=24, n_embd=12, n_layer=2, n_head=3)
LENGTHS = np.array([7, 1, 24, 5])


def filled(config, dtype=np.float64):
    """Return parameters none of which is zero, one or small."""
    rng = np.random.default_rng(5)
    return {name: 0.3 * rng.standard_normal(shape).astype(dtype) for name, shape in parameter_shapes(config).items()}


@pytest.fixture(scope="module")
def torch_gpt2(tmp_path_factory):
    """Return torch and transformers' GPT-2, loaded from a folder that save_folder wrote."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("gpt2")
    save_folder(folder, CONFIG, filled(CONFIG, np.float32))
    return torch, transformers.GPT2LMHeadModel.from_pretrained(folder).eval()


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
def test_language_loss_and_gradients_equal_autograds(torch_gpt2, dtype, tolerance):
    torch, model = torch_gpt2
    model = model.to(getattr(torch, dtype))
    model.zero_grad()
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 83, (2, LENGTHS.sum()))
    ends = np.cumsum(LENGTHS)
    logits = [model(torch.tensor(ids[None, end - T : end])).logits[0] for end, T in zip(ends, LENGTHS)]
    expected = torch.nn.functional.cross_entropy(torch.cat(logits), torch.tensor(targets))
    expected.backward()

    params = {name: array.astype(dtype) for name, array in filled(CONFIG, np.float32).items()}
    tape = Tape(params, params.keys())
    loss, backward = language_model(tape, ids, LENGTHS, targets, CONFIG)
    backward()
    np.testing.assert_allclose(float(loss), expected.item(), rtol=tolerance)
    torch_grads = dict(model.transformer.named_parameters())  # wte's gradient includes the tied output layer's
    assert tape.grads.keys() == torch_grads.keys() == params.keys()
    for name, gradient in tape.grads.items():
        wanted = torch_grads[name].grad.numpy()
        if name.endswith("c_attn.bias"):  # softmax ignores a constant: the key's part is only rounding
            gradient, wanted = (np.delete(g, np.s_[12:24]) for g in (gradient, wanted))
        assert np.abs(gradient - wanted).max() <= tolerance * np.abs(wanted).max(), name


def test_freezing_parameters_changes_no_other_language_gradient():
    params, rng = filled(CONFIG), np.random.default_rng(1)
    ids, targets = rng.integers(0, 83, (2, LENGTHS.sum()))
    grads = {}
    for trainable in (params.keys(), {"wte.weight"}, {"ln_f.bias", "h.1.mlp.c_fc.weight"}):
        tape = Tape(params, trainable)
        language_model(tape, ids, LENGTHS, targets, CONFIG)[1]()
        assert tape.grads.keys() == trainable
        grads = grads or tape.grads
        for name in trainable:
            np.testing.assert_allclose(tape.grads[name], grads[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("rows", [1, 2, 5, 36, 37, 100])
def test_slices_of_the_output_layer_change_no_result(monkeypatch, rows):
    rng = np.random.default_rng(2)
    x, wte, targets = rng.standard_normal((37, 12)), rng.standard_normal((83, 12)), rng.integers(0, 83, 37)
    loss, functions = output_loss(x, wte, targets)

    seen = []
    monkeypatch.setattr(fast, "SLICE", rows * 83)
    monkeypatch.setattr(
        module, "cross_entropy", lambda logits, *rest: seen.append(len(logits)) or cross_entropy(logits, *rest)
    )
    tape = Tape({"wte.weight": wte}, frozenset({"wte.weight"}), input_learns=True)
    sliced, backward = tape(output_loss, x, "wte.weight", targets=targets)
    assert sum(seen) == 37 and max(seen) <= rows, "one call computed more logits than a slice holds"
    np.testing.assert_allclose(sliced, loss, rtol=1e-14)
    found = [backward(2.0), tape.grads["wte.weight"]]
    for gradient, function in zip(found, functions):
        np.testing.assert_allclose(gradient, function(2.0), rtol=1e-12, atol=1e-15)


def test_perplexity_equals_transformers(torch_gpt2):
    torch, model = torch_gpt2
    model = model.to(torch.float32)
    rng = np.random.default_rng(3)
    windows = [
        rng.integers(0, 83, length) for length in (25, 9, 2)
    ]  # of different lengths: every prediction has the same weight
    with torch.no_grad():
        logits = torch.cat([model(torch.tensor(window[None, :-1])).logits[0] for window in windows])
        loss = torch.nn.functional.cross_entropy(
            logits, torch.tensor(np.concatenate([window[1:] for window in windows]))
        )
    found = perplexity(filled(CONFIG, np.float32), CONFIG, windows, SingleProcess())
    np.testing.assert_allclose(found, loss.exp().item(), rtol=1e-5)


def test_perplexity_counts_every_prediction_of_every_window_once():
    params, rng = filled(CONFIG), np.random.default_rng(3)
    windows = [rng.integers(0, CONFIG.vocab_size, length) for length in (4, 9)]
    losses = []
    for window in windows:
        logits = language_logits(Tape(params), window, np.array([len(window)]), CONFIG)
        losses += [cross_entropy(logits[[i]], window[[i + 1]])[0] for i in range(len(window) - 1)]
    assert len(losses) == 3 + 8
    assert perplexity(params, CONFIG, windows, SingleProcess()) == pytest.approx(np.exp(np.mean(losses)), rel=1e-9)


def test_a_uniform_models_perplexity_is_the_vocabularys_size():
    params = {name: np.zeros_like(array) for name, array in filled(CONFIG).items()}
    assert perplexity(params, CONFIG, [np.arange(20)], SingleProcess()) == pytest.approx(83, rel=1e-12)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_certain_and_wrong_model_has_infinite_perplexity():
    params = {name: np.zeros_like(array) for name, array in filled(CONFIG).items()}
    params["ln_f.bias"][0], params["wte.weight"][7, 0] = 1, 1e5
    assert perplexity(params, CONFIG, [np.arange(5)], SingleProcess()) == np.inf
