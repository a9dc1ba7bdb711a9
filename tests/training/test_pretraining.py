"""Pretraining: every token is a target, gradients and decay are correct, and resuming changes nothing."""

import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.checkpoints.safetensors import read_safetensors, write_safetensors
from numpygpt.model.config import Config
from numpygpt.model.language import language_model
from numpygpt.model.parameters import random_parameters
from numpygpt.model.tape import Tape
from numpygpt.system import blas
from numpygpt.system.errors import InputError
from numpygpt.training import pretraining as module
from numpygpt.training.pretraining import OrderedSum, Pretraining, windows

CONFIG = Config(vocab_size=31, n_positions=8, n_embd=12, n_layer=1, n_head=3)
END = 30


def documents(count=12):
    """Return documents of ascending ids, which the model can learn."""
    rng = np.random.default_rng(0)
    return [(np.arange(length) + start).astype(np.int32) for length, start in rng.integers(1, 15, (count, 2))]


def pretraining(params=None, **changes):
    chosen = dict(steps=30, batch_size=3, context=8, lr=1e-2, warmup=3, weight_decay=0.1, clip=1.0, seed=123) | changes
    return Pretraining(params or random_parameters(CONFIG, 1), CONFIG, documents(), END, **chosen)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    length=st.integers(1, 7),
    seed=st.none() | st.integers(0, 99),
)
def test_every_token_is_predicted_once(lengths, length, seed):
    numbered = np.split(np.arange(sum(lengths), dtype=np.int32), np.cumsum(lengths)[:-1])  # each id is its place
    found = windows(numbered, 999, length, None if seed is None else np.random.default_rng(seed))
    assert found.dtype == np.int32 and found.shape == ((sum(lengths) + len(lengths) - 1) // length, length + 1)
    assert np.array_equal(found[:-1, -1], found[1:, 0])
    stream = [*found[:1, 0], *found[:, 1:].ravel()]
    left_out = sum(lengths) + len(lengths) - len(stream)
    assert left_out <= length
    by_start = {document[0]: [*document, 999] for document in numbered}
    rest = stream
    while rest:  # the documents follow each other, each whole except the last
        document = by_start.pop(rest[0])
        assert rest[: len(document)] == document[: len(rest)]
        rest = rest[len(document) :]
    assert sum(map(len, by_start.values())) <= length


def test_the_seed_determines_the_order_of_documents():
    def stream(rng):
        return windows(documents(), END, 8, rng)

    kept = np.concatenate([[*document, END] for document in documents()])
    assert np.array_equal(stream(None)[:, :-1].ravel(), kept[: stream(None)[:, :-1].size])
    one, same, other = (stream(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other) and not np.array_equal(one, stream(None))


def test_pretraining_lowers_the_loss():
    run = pretraining(steps=150)
    losses = [run.step() for _ in range(150)]
    assert losses[0] == pytest.approx(np.log(31), abs=0.2), "a new model predicts uniformly"
    assert np.mean(losses[-10:]) < 1.2, (
        "every token follows from the previous one, except at documents' starts and ends"
    )


def test_every_epoch_has_a_new_order_of_documents(monkeypatch):
    orders = []
    monkeypatch.setattr(module, "windows", lambda *arguments: orders.append(windows(*arguments)) or orders[-1])
    run = pretraining()
    orders.clear()
    for _ in range(3 * run.per_epoch):
        run.step()
    assert len({order.tobytes() for order in orders}) == len(orders) == 3


@pytest.mark.parametrize("interruption", [0, 1, 7, 29])  # step 7 is in the third epoch
def test_a_resumed_run_equals_the_uninterrupted_run_bit_for_bit(tmp_path, interruption):
    whole = pretraining()
    losses = [whole.step() for _ in range(30)]
    first = pretraining()
    before = [first.step() for _ in range(interruption)]
    first.save(tmp_path / "resume", {"lr": "0.01"})

    second = pretraining(random_parameters(CONFIG, 2))  # the initial parameters must not matter
    second.resume(tmp_path / "resume", {"lr": "0.01"})
    assert second.done == interruption
    assert before + [second.step() for _ in range(30 - interruption)] == losses
    assert all(np.array_equal(second.params[name], array) for name, array in whole.params.items())


@pytest.mark.parametrize(
    "settings, differing",
    [
        ({"lr": "0.02", "seed": "1"}, "lr = '0.01', not '0.02'"),
        ({"lr": "0.01", "seed": "1", "new": "x"}, "new = None, not 'x'"),
    ],
)
def test_resuming_with_other_settings_is_refused_and_changes_nothing(tmp_path, settings, differing):
    first = pretraining()
    first.step()
    first.save(tmp_path / "resume", {"lr": "0.01", "seed": "1"})
    run, expected = pretraining(), random_parameters(CONFIG, 1)
    with pytest.raises(InputError, match=f"resume: that run has {differing}"):
        run.resume(tmp_path / "resume", settings)
    assert run.done == 0 and all(np.array_equal(run.params[name], array) for name, array in expected.items())


def progress(text):
    return lambda state: state | {"progress": np.frombuffer(text, np.uint8)}


def done(value):
    return lambda state: progress(state["progress"].tobytes().replace(b'"done": 0', b'"done": ' + value))(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: {name: array for name, array in state.items() if name != "progress"},
        lambda state: {name: array for name, array in state.items() if name != "sum.wte.weight"},
        lambda state: state | {"sum_of_squares.ln_f.bias": np.zeros(13, np.float32)},
        progress(b"no JSON"),
        progress(b"\xff"),
        progress(b"[]"),
        progress(b'{"done": 1, "settings": []}'),
        done(b"[]"),
        done(b'"many"'),
    ],
)
def test_a_damaged_resume_file_is_refused(tmp_path, damage):
    run = pretraining()
    run.save(tmp_path / "resume", {"lr": "1"})
    copies = {name: array.copy() for name, array in read_safetensors(tmp_path / "resume").items()}
    write_safetensors(tmp_path / "resume", damage(copies))
    with pytest.raises(InputError, match="resume.* Delete (it|the file) to start again"):
        pretraining().resume(tmp_path / "resume", {"lr": "1"})


def whole_batch(run):
    """Return (batch, loss, grads) of the first batch, computed at once."""
    batch = windows(documents(), END, 8, np.random.default_rng([123, 0]))[: run.batch_size]
    tape = Tape(run.params, run.params.keys())
    loss, backward = language_model(tape, batch[:, :-1].ravel(), np.full(len(batch), 8), batch[:, 1:].ravel(), CONFIG)
    backward()
    return batch, float(loss), tape.grads


@pytest.mark.parametrize("part", [8, 16, 24, 40])  # parts of one window; of two with one left over; …
def test_the_gradient_of_a_batch_in_parts_equals_the_whole_batchs(monkeypatch, part):
    monkeypatch.setattr(module, "PART", part)
    run = pretraining(batch_size=5)
    batch, expected_loss, expected = whole_batch(run)
    loss, grads = run._gradients(batch)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert grads.keys() == expected.keys() == run.params.keys()
    for name, gradient in expected.items():
        scale = np.abs(gradient).max()
        if not name.endswith("c_attn.bias"):  # a third of it is only rounding
            np.testing.assert_allclose(grads[name], gradient, atol=2e-5 * scale, err_msg=name)


def trained(threads):
    """Return the losses and the bytes of the parameters after four steps on `threads` threads."""
    set_threads = blas._function("openblas_set_num_threads", None)
    before = blas.threads()
    set_threads(threads)
    try:
        run = pretraining(batch_size=5)
        losses = [run.step() for _ in range(4)]
    finally:
        set_threads(before)
    return losses, b"".join(array.tobytes() for array in run.params.values())


@pytest.mark.skipif(not blas._function("openblas_set_num_threads", None), reason="NumPy's BLAS is not OpenBLAS")
def test_the_number_of_threads_changes_no_bit_of_pretraining(monkeypatch):
    monkeypatch.setattr(module, "PART", 8)
    one, *others = (trained(threads) for threads in (1, 2, 3, 7, 2, 2))
    assert all(other == one for other in others)


def test_resuming_a_single_part_batch_with_other_threads_is_refused(tmp_path, monkeypatch):
    """A single part's products are split over the threads, which changes their last bits."""
    first = pretraining()
    first.save(tmp_path / "resume", {})
    pretraining().resume(tmp_path / "resume", {})
    monkeypatch.setattr(module, "threads", lambda: 99)
    with pytest.raises(InputError, match=r"that run has OPENBLAS_NUM_THREADS = \d+, not 99"):
        pretraining().resume(tmp_path / "resume", {})
    monkeypatch.setattr(module, "PART", 16)  # a batch is 3 windows of 8: two parts
    first.save(tmp_path / "resume", {})
    monkeypatch.undo()
    monkeypatch.setattr(module, "PART", 16)
    pretraining().resume(tmp_path / "resume", {})


def test_only_one_set_of_gradients_is_kept_for_all_parts():
    """The sum frees each part's gradient after adding it, so memory does not grow with the number of cores."""
    total, alive = OrderedSum(3), []
    for number in range(3):
        with total.part(number, 0.5) as grads:
            for name in ("a", "b"):
                gradient = np.full(4, 2.0**number)
                alive.append(weakref.ref(gradient))
                grads[name] = gradient
                del gradient
    assert {name: array.tolist() for name, array in total.grads().items()} == {"a": [3.5] * 4, "b": [3.5] * 4}
    assert sum(ref() is not None for ref in alive) == 2


def test_parts_are_added_in_order_even_if_a_later_one_is_faster():
    total = OrderedSum(2)

    def add(number):
        with total.part(number, 1) as grads:
            for name in "abc":
                grads[name] = [number]  # sums of lists show their order

    second = threading.Thread(target=add, args=[1])
    second.start()
    second.join(0.1)  # time to overtake the first part, if nothing blocks it
    add(0)
    second.join()
    assert total.grads() == {"a": [0, 1], "b": [0, 1], "c": [0, 1]}


def test_an_error_in_a_part_is_raised_without_blocking_the_others(monkeypatch):
    monkeypatch.setattr(module, "PART", 8)
    monkeypatch.setattr(blas, "threads", lambda: 2)
    original, calls = module.language_model, []

    def fails_in_the_first(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise InputError("no memory, say")
        return original(*arguments)

    monkeypatch.setattr(module, "language_model", fails_in_the_first)
    with pytest.raises(InputError, match="no memory, say"):
        pretraining(batch_size=5).step()


def test_weight_decay_applies_to_matrices_only():
    params = random_parameters(CONFIG, 1) | {"ln_f.bias": np.ones(12, np.float32)}
    before = {name: array.copy() for name, array in params.items()}
    run = pretraining(params, weight_decay=0.5, warmup=0, clip=1e-30)  # clipped to nothing: only decay is left
    run.step()
    for name, array in params.items():
        np.testing.assert_allclose(
            array, before[name] * (1 - 1e-2 * 0.5 if array.ndim == 2 else 1), rtol=1e-6, atol=1e-20, err_msg=name
        )


@pytest.mark.parametrize(
    "name, value",
    [("steps", 0), ("batch_size", 0), ("context", 1), ("lr", -1.0), ("warmup", 0.5), ("clip", 0), ("seed", -1)],
)
def test_an_invalid_pretraining_setting_is_refused(name, value):
    with pytest.raises(InputError, match=f"^{name}: expected a (whole )?number .*, got {value}$"):
        pretraining(**{name: value})


def test_too_little_text_for_one_batch_is_refused():
    with pytest.raises(InputError, match="does not fill one batch of 99 windows of 8 tokens"):
        pretraining(batch_size=99)


def test_a_loss_of_nan_ends_pretraining():
    run = pretraining(random_parameters(CONFIG, 1) | {"ln_f.bias": np.full(12, np.nan, np.float32)})
    with pytest.raises(InputError, match="the loss became nan at step 0. Lower the learning rate"):
        run.step()
