"""Random numbers equal PyTorch's: recorded from torch 2.13,
drawn by an installed torch, and logged by the book's script.

Recorded with: python -c "import torch; torch.manual_seed(SEED); print(torch.empty(4).uniform_(-3, 7.3).tolist(),
torch.empty((), dtype=torch.int64).random_().item(), torch.randperm(10).tolist())"
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.training.rng import Generator, linear_init, loader_order

RECORDED = {
    123: (
        [0.049953050911426544, 2.320591688156128, -0.4077915549278259, 4.092134952545166],
        4184670734919783522,
        [6, 3, 5, 7, 9, 0, 8, 2, 1, 4],
    ),
    2**32 - 1: (
        [7.236134052276611, 2.884455442428589, 2.8710830211639404, -2.4901113510131836],
        5331760257347419712,
        [2, 4, 3, 7, 5, 0, 8, 9, 1, 6],
    ),
}


@pytest.mark.parametrize("seed", RECORDED)
def test_random_numbers_equal_those_recorded_from_torch(seed):
    uniforms, integer, permutation = RECORDED[seed]
    generator = Generator(seed)
    drawn = generator.uniform(-3, 7.3, (4,))
    assert drawn.dtype == np.float32 and drawn.tolist() == uniforms
    assert generator.random_int64() == integer
    assert generator.randperm(10).tolist() == permutation


def test_a_new_head_equals_the_books_log(shared):
    logged = json.loads((shared / "reference" / "book_tiny_log.json").read_text())["head_init_first4"]
    weight, bias = linear_init(Generator(123), 48, 2)
    assert weight.shape == (48, 2) and weight.flags.c_contiguous
    assert weight[:4].T.tolist() == logged["weight"]
    assert bias.tolist() == logged["bias"]


@settings(max_examples=30)
@given(seed=st.integers(-(2**63), 2**64 - 1), n=st.integers(0, 300))
def test_any_seed_gives_torchs_integers_and_permutations(seed, n):
    torch = pytest.importorskip("torch")
    oracle, ours = torch.Generator().manual_seed(seed), Generator(seed)
    for _ in range(2):
        assert ours.random_int64() == torch.empty((), dtype=torch.int64).random_(generator=oracle).item()
        assert ours.randperm(n).tolist() == torch.randperm(n, generator=oracle).tolist()


@pytest.mark.parametrize("in_features, out_features", [(1, 1), (3, 5), (48, 2), (768, 2)])
def test_a_new_linear_layer_equals_torchs_bit_for_bit(in_features, out_features):
    torch = pytest.importorskip("torch")
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("here torch's own kernel rounds twice where its usual ones round once")
    torch.manual_seed(7)
    theirs = [torch.nn.Linear(in_features, out_features) for _ in range(2)]
    generator = Generator(7)
    for layer in theirs:
        weight, bias = linear_init(generator, in_features, out_features)
        assert np.array_equal(weight, layer.weight.detach().numpy().T)
        assert np.array_equal(bias, layer.bias.detach().numpy())


def test_loader_order_equals_torchs_dataloader_even_after_a_partial_epoch():
    torch = pytest.importorskip("torch")
    data = list(range(29))
    torch.manual_seed(123)
    shuffled = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, drop_last=True)
    in_order = torch.utils.data.DataLoader(data, batch_size=4)
    generator = Generator(123)
    for loader, shuffle, batches in [
        (shuffled, True, 7),
        (shuffled, True, 1),
        (in_order, False, 1),
        (shuffled, True, 7),
    ]:
        theirs = [batch.tolist() for batch, _ in zip(loader, range(batches))]
        ours = loader_order(generator, len(data), shuffle)
        assert ours[: 4 * batches].tolist() == sum(theirs, [])
    assert generator.random_int64() == torch.empty((), dtype=torch.int64).random_().item()


@pytest.mark.parametrize("n", [0, 1])
def test_a_permutation_with_one_outcome_draws_nothing(n):
    generator = Generator(7)
    assert generator.randperm(n).tolist() == list(range(n))
    assert generator.random_int64() == Generator(7).random_int64()


def test_a_permutation_too_long_for_torchs_method_is_refused():
    with pytest.raises(InputError, match="214748364"):
        Generator(0).randperm(214_748_364)
