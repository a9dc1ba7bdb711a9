"""Generation: the cache changes nothing, greedy text equals transformers', and a Sampler follows its settings."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_weights
from numpygpt.model.config import Config
from numpygpt.model.continuation import Cache, Sampler, continuation, next_logits
from numpygpt.model.language import language_logits
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.tape import Tape
from numpygpt.system.errors import InputError

CONFIG = Config(vocab_size=83, n_positions=256, n_embd=12, n_layer=2, n_head=3)


def filled(config):
    rng = np.random.default_rng(4)
    params = {name: rng.standard_normal(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    params["ln_f.bias"] *= 0.1  # this and the next line keep any token from dominating, so that greedy text varies
    params["wte.weight"] /= np.linalg.norm(params["wte.weight"], axis=1, keepdims=True)
    return params


PARAMS = filled(CONFIG)


def without_cache(ids):
    """Return the logits (T, V) after every token, from the model that training uses."""
    return language_logits(Tape(PARAMS), ids, np.array([len(ids)]), CONFIG)


@settings(max_examples=25)
@given(parts=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_the_cache_changes_no_logits_however_the_text_is_split(parts):
    ids = np.random.default_rng(sum(parts)).integers(0, 83, sum(parts))
    expected = without_cache(ids)
    cache = Cache(CONFIG)
    for part, end in zip(parts, np.cumsum(parts)):
        logits = next_logits(PARAMS, CONFIG, cache, ids[end - part : end])
        np.testing.assert_allclose(logits, expected[end - 1], atol=1e-4 * np.abs(expected).max())
        assert cache.length == end


def test_greedy_text_is_the_same_without_the_cache():
    ids = [3, 1, 4]
    for token in islice(continuation(PARAMS, CONFIG, ids, np.argmax), 60):
        assert token == without_cache(np.array(ids))[-1].argmax()
        ids.append(token)


def test_greedy_text_equals_transformers_for_200_tokens(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    save_folder(tmp_path, CONFIG, PARAMS)
    config, params = load_weights(tmp_path)
    found = list(islice(continuation(params, config, [3, 1, 4, 1, 5], np.argmax), 200))

    torch.set_num_threads(1)
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    model.generation_config.eos_token_id = None  # the text goes on after <|endoftext|>
    prompt = torch.tensor([[3, 1, 4, 1, 5]])
    expected = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=200, do_sample=False, pad_token_id=0
    )
    assert found == expected[0, 5:].tolist()
    assert len(set(found)) > 15, "a text that only repeats itself proves little"


@pytest.mark.parametrize("length", [1, 5, 8])
def test_generation_stops_when_the_positions_are_full(length):
    config = Config(vocab_size=83, n_positions=8, n_embd=12, n_layer=1, n_head=3)
    params = filled(config)
    assert len(list(continuation(params, config, [1] * length, np.argmax))) == 8 - length + 1
    assert list(continuation(params, config, [1] * 9, np.argmax)) == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("choose", [np.argmax, Sampler()])
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-np.inf], [3e38, 3e38]])
def test_nan_and_infinite_logits_are_refused(bad, choose):
    bias, embedding = np.zeros(12, np.float32), np.ones_like(PARAMS["wte.weight"])
    bias[: len(bad)] = bad
    with pytest.raises(InputError, match="not finite"):
        next(continuation(PARAMS | {"ln_f.bias": bias, "wte.weight": embedding}, CONFIG, [1], choose))


def test_a_token_of_probability_zero_is_never_drawn():
    embedding = PARAMS["wte.weight"].copy()
    embedding[3] = -3e38
    bias = np.full(12, 9, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        tokens = continuation(PARAMS | {"ln_f.bias": bias, "wte.weight": embedding}, CONFIG, [1], Sampler())
        chosen = list(islice(tokens, 20))
    assert len(chosen) == 20 and 3 not in chosen


# Out of order, so that a confusion of ids and ranks shows.
PROBABILITIES = np.array([0.15, 0.5, 0.05, 0.3])
LOGITS = np.log(PROBABILITIES).astype(np.float32) + 7


def frequencies(sampler, draws=4000):
    return np.bincount([sampler(LOGITS) for _ in range(draws)], minlength=4) / draws


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, PROBABILITIES),
        ({"temperature": 2.0}, PROBABILITIES**0.5 / (PROBABILITIES**0.5).sum()),
        ({"temperature": 0.5}, PROBABILITIES**2 / (PROBABILITIES**2).sum()),
        ({"temperature": np.inf}, np.full(4, 0.25)),
        ({"top_k": 2}, np.array([0, 5, 0, 3]) / 8),
        ({"top_k": 9}, PROBABILITIES),
        ({"top_p": 0.7}, np.array([0, 5, 0, 3]) / 8),
        ({"top_p": 0.9}, np.array([3, 10, 0, 6]) / 19),
        ({"top_p": 1.0}, PROBABILITIES),
        (
            {"top_k": 3, "top_p": 0.82},
            np.array([0, 5, 0, 3]) / 8,
        ),  # 0.5 and 0.3 are 84 % of the three, 80 % of the four
        (
            {"temperature": 2.0, "top_p": 0.6},
            np.array([0, 0.5**0.5, 0, 0.3**0.5]) / (0.5**0.5 + 0.3**0.5),
        ),  # 41 % and 32 %
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_their_probabilities(settings, expected):
    found = frequencies(Sampler(**settings))
    assert not found[expected == 0].any()
    np.testing.assert_allclose(found, expected, atol=0.03)  # four standard deviations


@pytest.mark.parametrize(
    "settings", [{"top_k": 1}, {"top_p": 0.4}, {"temperature": 0.01}, {"temperature": 1e-310}], ids=str
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_settings_that_leave_one_token_are_greedy(settings):
    assert frequencies(Sampler(**settings), 50)[1] == 1


def test_the_seed_determines_the_draws():
    def drawn(seed):
        sampler = Sampler(seed=seed)
        return [sampler(LOGITS) for _ in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
