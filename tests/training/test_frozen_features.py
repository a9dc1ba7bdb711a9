"""The frozen blocks' rows: computed once per distinct message,
equal from memory, a temporary file or a cache, and never stale."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.model.pooling import Pooling
from numpygpt.model.tape import Tape
from numpygpt.model.trunk import trunk
from numpygpt.ops.embedding import embedding
from numpygpt.system import rows as rows_module
from numpygpt.system.errors import InputError, Note
from numpygpt.training import feature_cache
from numpygpt.training import frozen_features as prefix
from numpygpt.training.frozen_features import FrozenPrefix

CONFIG = Config(vocab_size=31, n_positions=16, n_embd=6, n_layer=2, n_head=2)
MESSAGES = [np.random.default_rng(length).integers(0, 31, length) for length in (5, 1, 16, 5, 2)]


def filled():
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in parameter_shapes(CONFIG).items()}


PARAMS = filled()


class Counted:
    """A FrozenPrefix and the number of rows computed for it."""

    def __init__(
        self,
        messages=MESSAGES,
        params=PARAMS,
        config=CONFIG,
        depth=1,
        position="last",
        causal=True,
        cache=None,
        memory=1 << 20,
    ):
        self.computed = 0
        pooling = Pooling(position, causal)
        self.prefix = FrozenPrefix(params, config, messages, depth, pooling, self.count, cache, memory=memory)
        self.rows = self.prefix.batch(np.arange(len(messages)))[0]

    def count(self, done, total):
        self.computed = done


def test_features_take_half_of_the_free_memory_by_default(monkeypatch):
    reserve, given = prefix.reserve, []
    monkeypatch.setattr(prefix, "free_memory", lambda: 2000)
    monkeypatch.setattr(prefix, "reserve", lambda *sizes: given.append(sizes[-1]) or reserve(*sizes))
    FrozenPrefix(PARAMS, CONFIG, MESSAGES, 1)
    assert given == [1000 - IDS]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("depth, position", [(1, "last"), (1, "first"), (2, "mean"), (2, "last"), (2, "first")])
def test_a_batch_holds_the_frozen_blocks_rows_of_its_messages(depth, position):
    made = Counted(depth=depth, position=position).prefix
    for i in ([3, 0, 2], [1], [4, 4]):
        x, lengths = made.batch(np.array(i))
        picked = [MESSAGES[j][:1] if position == "first" else MESSAGES[j] for j in i]
        ids, whole = np.concatenate(picked), np.array([len(message) for message in picked])
        x0, _ = embedding(ids, PARAMS["wte.weight"], PARAMS["wpe.weight"], whole)
        expected, _ = trunk(Tape(PARAMS), x0, whole, range(depth), CONFIG, Pooling(position))
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-5)
        assert lengths.tolist() == (whole.tolist() if depth == 1 or position == "mean" else [1] * len(i))


def test_each_distinct_message_is_computed_once():
    made = Counted([MESSAGES[0], MESSAGES[2], MESSAGES[0], MESSAGES[0].copy()])
    assert made.computed == len(MESSAGES[0]) + len(MESSAGES[2]) == made.prefix.rows.kept
    x, lengths = made.prefix.batch(np.array([3, 2]))
    assert lengths.tolist() == [5, 5] and np.array_equal(x[:5], x[5:])


def test_forward_batches_are_limited_in_rows_and_sorted_by_length(monkeypatch):
    batches = []

    def watched(tape, x, lengths, *rest):
        batches.append(lengths.tolist())
        return trunk(tape, x, lengths, *rest)

    monkeypatch.setattr(prefix, "trunk", watched)
    monkeypatch.setattr(prefix, "parallel", lambda function, items: list(map(function, items)))
    monkeypatch.setattr(prefix, "BATCH_ROWS", 8)
    messages = [np.arange(length) for length in (5, 1, 9, 3, 2, 4)]
    FrozenPrefix(PARAMS, CONFIG, messages, 1)
    assert batches == [[1, 2, 3], [4], [5], [9]]


def test_forward_batches_are_smaller_where_rows_may_be_recomputed(monkeypatch):
    messages = [np.arange(length) for length in (5, 6, 9, 3, 2, 4)]
    monkeypatch.setattr(prefix, "BATCH_ROWS", 40)
    for large, batches in [(29 * 6 * 4 + 1, 1), (29 * 6 * 4, 4)]:
        monkeypatch.setattr(prefix, "LARGE", large)
        assert len(FrozenPrefix(PARAMS, CONFIG, messages, 1).batches) == batches


def test_causal_first_rows_are_computed_once_per_first_token():
    messages = [np.array([7, 1, 2]), np.array([7]), np.array([8, 1])]
    assert Counted(messages, position="first").computed == 2
    assert Counted(messages, position="first", causal=False).computed == 6


def test_without_frozen_blocks_the_rows_are_token_ids():
    x, lengths = Counted(depth=0).prefix.batch(np.array([4, 1]))
    assert x.tolist() == [*MESSAGES[4], *MESSAGES[1]] and lengths.tolist() == [2, 1]


@pytest.fixture
def small_batches(monkeypatch):
    """Limit batches to six rows, so that the five messages make four."""
    monkeypatch.setattr(prefix, "BATCH_ROWS", 6)


IDS = 24 * 4  # bytes of the distinct messages' token ids, which memory holds beside the rows
ROW = 6 * 4


@pytest.mark.parametrize("rows_in_memory, in_memory, in_file", [(24, 24, 0), (23, 8, 16), (7, 3, 21), (0, 0, 24)])
@pytest.mark.parametrize("depth, position", [(1, "last"), (2, "mean")])
def test_rows_beyond_the_memory_limit_are_kept_in_a_file(
    small_batches, rows_in_memory, in_memory, in_file, depth, position
):
    expected = Counted(depth=depth, position=position)
    found = Counted(depth=depth, position=position, memory=IDS + rows_in_memory * ROW)
    rows = found.prefix.rows
    assert (len(rows.memory), rows.kept - len(rows.memory)) == (in_memory, in_file)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.prefix.batch(np.array([3, 1]))[0], expected.prefix.batch(np.array([3, 1]))[0])


@pytest.mark.parametrize("no_room", ["no disk", "a full disk", "a quota"])
@pytest.mark.parametrize("rows_in_memory", [23, 7, 0])
@pytest.mark.parametrize("position", ["last", "first"])
def test_rows_that_fit_nowhere_are_recomputed_with_the_same_values(
    small_batches, monkeypatch, tmp_path, no_room, rows_in_memory, position
):
    causal = position == "last"  # a causal prefix keeps only the first row
    expected = Counted(position=position, causal=causal)
    if no_room == "no disk":
        monkeypatch.setattr(rows_module, "disk_folder", lambda: None)
    elif no_room == "a full disk":
        monkeypatch.setattr(rows_module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": ROW}))
    else:
        monkeypatch.setattr(rows_module.os, "posix_fallocate", full, raising=False)
    with pytest.warns(Note, match="fit neither in memory nor on disk"):
        found = Counted(position=position, causal=causal, memory=IDS + rows_in_memory * ROW, cache=tmp_path)
    assert found.computed == found.prefix.rows.kept < 24
    assert np.array_equal(found.rows, expected.rows) and not files(tmp_path)
    assert np.array_equal(found.prefix.batch(np.array([3, 1]))[0], expected.prefix.batch(np.array([3, 1]))[0])


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_rows_do_not_fill_the_disk(small_batches, monkeypatch):
    monkeypatch.setattr(rows_module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 24 * ROW}))
    with pytest.warns(Note, match="67% of them fit neither"):
        assert Counted(memory=0).prefix.rows.kept == 8


@pytest.mark.parametrize("first_memory, then_memory", [(1 << 20, 1 << 20), (0, 0), (1 << 20, 0), (0, 1 << 20)])
def test_a_second_run_reads_all_rows_from_the_cache(tmp_path, first_memory, then_memory):
    first = Counted(cache=tmp_path / "new" / "cache", memory=first_memory)
    assert first.computed == 24
    second = Counted(cache=tmp_path / "new" / "cache", memory=then_memory)
    assert second.computed == 0
    assert np.array_equal(second.rows, first.rows) and second.rows.dtype == first.rows.dtype
    assert len(files(tmp_path / "new" / "cache")) == 1


def changed(name, factor=1.001):
    return PARAMS | {name: PARAMS[name] * np.float32(factor)}


@pytest.mark.parametrize(
    "other",
    [
        {"params": changed("wte.weight")},
        {"params": changed("h.0.mlp.c_proj.bias")},
        {"messages": [*MESSAGES[:-1], MESSAGES[-1] ^ 1]},
        {"messages": MESSAGES[::-1]},
        {
            "messages": [MESSAGES[0], np.append(MESSAGES[1], MESSAGES[2][0]), MESSAGES[2][1:], *MESSAGES[3:]]
        },  # the same tokens, split elsewhere
        {"depth": 2},
        {"depth": 2, "position": "mean"},
        {"causal": False},
        {"position": "first"},
        {"config": replace(CONFIG, n_head=3)},
        {"config": replace(CONFIG, layer_norm_epsilon=1e-6)},
    ],
    ids=lambda other: " ".join(other),
)
def test_a_cache_of_other_inputs_is_not_used(tmp_path, other):
    Counted(cache=tmp_path)
    found = Counted(cache=tmp_path, **other)
    assert found.computed > 0 and len(files(tmp_path)) == 2
    assert np.array_equal(found.rows, Counted(**other).rows)


def test_the_cache_distinguishes_pooling_positions(tmp_path):
    last, first = (Counted(depth=2, position=position, causal=False, cache=tmp_path) for position in ("last", "first"))
    assert last.computed == first.computed > 0
    assert not np.array_equal(last.rows, first.rows)


@pytest.mark.parametrize(
    "same",
    [
        {"params": changed("h.1.mlp.c_proj.weight") | {"ln_f.bias": np.ones(6), "head.weight": np.ones((6, 2))}},
        {"messages": [*MESSAGES, MESSAGES[2]]},
    ],
    ids=lambda same: " ".join(same),
)
def test_a_change_that_cannot_affect_the_rows_keeps_the_cache(tmp_path, same):
    Counted(cache=tmp_path)
    assert Counted(cache=tmp_path, **same).computed == 0


def flipped_bit(good):
    return good[:100] + bytes([good[100] ^ 4]) + good[101:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:-1],
        lambda good: good + b"\0",
        lambda good: good[: len(good) // 2],
        flipped_bit,
    ],
)
def test_a_damaged_cache_file_is_recomputed(tmp_path, damage):
    good = Counted(cache=tmp_path).rows
    (file,) = tmp_path.iterdir()
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    again = Counted(cache=tmp_path)
    assert again.computed == 24 and np.array_equal(again.rows, good)
    assert Counted(cache=tmp_path).computed == 0 and len(files(tmp_path)) == 1


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_a_cache_file_truncated_after_its_check_is_an_error(tmp_path, memory, monkeypatch):
    file, rows = tmp_path / "a.rows", rows_module.Rows(np.ones((500, 6), np.float32))
    feature_cache.write_features(file, rows, [500])
    read = feature_cache.Rows.read
    monkeypatch.setattr(feature_cache.Rows, "read", lambda *args: os.truncate(file, 100) or read(*args))
    with pytest.raises(InputError, match="shorter than it was"):
        feature_cache.read_features(file, (500, 6), np.dtype(np.float32), memory).read(0, 500)


def test_an_invalid_cache_folder_is_refused_before_any_computation(tmp_path):
    (tmp_path / "file").write_text("")
    shown = []
    with pytest.raises(OSError):
        FrozenPrefix(PARAMS, CONFIG, MESSAGES, 1, progress=lambda *row: shown.append(row), cache=tmp_path / "file")
    assert not shown


def test_rows_cached_by_other_code_are_recomputed(tmp_path, monkeypatch):
    Counted(cache=tmp_path)
    read_bytes = feature_cache.Path.read_bytes
    monkeypatch.setattr(
        feature_cache.Path, "read_bytes", lambda path: read_bytes(path) + b"# changed" * (path.name == "gelu.py")
    )
    assert Counted(cache=tmp_path).computed == 24 and len(files(tmp_path)) == 2
