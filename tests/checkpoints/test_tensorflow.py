"""OpenAI's checkpoints are read without TensorFlow: the checksum is correct, and damaged tables are refused."""

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.checkpoints import tensorflow
from numpygpt.checkpoints.crc32c import crc32c
from numpygpt.checkpoints.tensorflow import open_tensorflow
from numpygpt.system.errors import InputError
from tests.checkpoints.writers import block, masked, message, put_block, table, write_tensorflow

P = 0x11EDC6F41  # x^32 + x^28 + … + 1, highest power first (RFC 3720, section 12.1)


def shifted(register):
    """Return the register after eight zero bits."""
    for _ in range(8):
        register = register >> 1 ^ (int(f"{P:033b}"[:0:-1], 2) if register & 1 else 0)
    return register


SHIFTED = [shifted(octet) for octet in range(256)]


def by_definition(data):
    """Return the remainder, computed byte by byte."""
    register = 0xFFFFFFFF
    for octet in data:
        register = register >> 8 ^ SHIFTED[(register ^ octet) & 0xFF]
    return register ^ 0xFFFFFFFF


def test_the_polynomial_used_for_folding_is_a_multiple_of_the_checksums():
    rest = 1 << 5685 | 1 << 1362 | 1 << 426 | 1
    while rest.bit_length() > 32:
        rest ^= P << rest.bit_length() - 33
    assert rest == 0


@pytest.mark.parametrize(
    "data, checksum",
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # this and the next three: RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_equal_published_ones(data, checksum):
    assert crc32c(io.BytesIO(data), len(data)) == checksum == by_definition(data)


@pytest.mark.parametrize("count", [1, 3, 5684, 5685, 5686, 45_479, 45_480, 45_481, 262_143, 262_144, 262_145, 700_001])
def test_the_checksum_is_correct_at_every_boundary_of_the_folding(count):
    data = np.random.default_rng(count).bytes(count)
    assert crc32c(io.BytesIO(data + b"more"), count) == by_definition(data)


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        "model/h0/attn/c_attn/w": rng.standard_normal((1, 3, 9), np.float32),
        "model/h0/attn/c_attn/b": rng.standard_normal(9, np.float32),
        "model/half": rng.standard_normal((5, 2)).astype(np.float16),
        "model/empty": np.zeros((0, 4), np.float32),
        "model/step": np.array(7, np.int64),
        "model/double": rng.standard_normal(3),
    }


def refusal(path):
    with pytest.raises(InputError) as caught:
        for tensor in open_tensorflow(path).values():
            tensor.read()
    assert str(caught.value).startswith(f"{path.parent}") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("block_size", [1, 60, 4096])
def test_every_tensor_is_read_bit_for_bit(tmp_path, tensors, block_size):
    write_tensorflow(tmp_path / "m", tensors, block_size)
    opened = open_tensorflow(tmp_path / "m.index")
    assert opened.keys() == tensors.keys()
    for name, array in tensors.items():
        read = opened[name].read()
        wanted = array.astype(np.float32) if array.dtype.kind == "f" else array
        assert read.dtype == wanted.dtype and read.shape == wanted.shape and np.array_equal(read, wanted), name
        assert not read.flags.writeable


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    numbers = np.array([1.0, -2.5, 3e38, np.inf], np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16).view(np.float16)
    write_tensorflow(tmp_path / "m", {"x": upper}, field1=14)
    expected = (upper.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(open_tensorflow(tmp_path / "m.index")["x"].read(), expected)


def test_aligned_floats_are_views_of_the_file(tmp_path, tensors):
    write_tensorflow(tmp_path / "m", tensors)
    assert not open_tensorflow(tmp_path / "m.index")["model/h0/attn/c_attn/w"].read().flags.owndata


def test_every_flipped_bit_of_the_data_is_detected_with_its_tensor(tmp_path, tensors):
    write_tensorflow(tmp_path / "m", tensors)
    data = tmp_path / "m.data-00000-of-00001"
    whole = data.read_bytes()
    for place in range(len(whole)):
        data.unlink()
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert "do not match their checksum" in refusal(tmp_path / "m.index")


def test_every_changed_byte_of_the_index_is_detected_unless_unused(tmp_path, tensors):
    """The empty block (13 bytes), its address (3 bytes) and the footer's padding hold no data."""
    write_tensorflow(tmp_path / "m", tensors)
    path = tmp_path / "m.index"
    whole, unharmed = path.read_bytes(), {name: (t.shape, t.start) for name, t in open_tensorflow(path).items()}
    padding = len(whole[-48:-8]) - len(whole[-48:-8].rstrip(b"\0"))
    unnoticed = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            opened = open_tensorflow(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert {name: (t.shape, t.start) for name, t in opened.items()} == unharmed
            unnoticed += 1
    assert unnoticed <= 13 + 3 + padding


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda whole: whole[:-1], "m.data-00000-of-00001: truncated: tensor 'model/step' ends at byte"),
        (lambda whole: b"", "m.data-00000-of-00001: empty"),
        (lambda whole: None, "m.data-00000-of-00001 is missing in the folder"),
    ],
)
def test_a_damaged_data_file_is_named_before_reading(tmp_path, tensors, change, message):
    write_tensorflow(tmp_path / "m", tensors)
    data = tmp_path / "m.data-00000-of-00001"
    content = change(data.read_bytes())
    data.unlink()
    if content is not None:
        data.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_tensorflow(tmp_path / "m.index")


ENTRIES = [  # fields of a tensor's entry that GPT-2 never has
    ({"field1": 7}, "type 7 of tensorflow.DataType"),  # strings
    ({"field1": 23}, "type 23 of tensorflow.DataType"),
    ({"field3": 1}, "is in data file 1, of 1"),
    ({"field4": 1 << 40}, "truncated: tensor"),
    ({"field5": 1}, "its entry says 1"),
    ({"field2": b"\x12\x02\x08\x02" * 40}, "at most 32 sizes"),
    ({"field2": b"\x12\x0b\x08" + b"\xff" * 9 + b"\x01"}, "at most 32 sizes"),  # a size of -1: unknown
    ({"field2": 5}, "expected a message, found a number"),
    ({"field7": b""}, "split into slices"),
    ({"field4": b"abc"}, "expected numbers"),
]
ONE = (b"", message({1: 1}))  # the header: one data file
MAGIC = bytes.fromhex("57fb808b247547db")
INDEXES = [
    (table([]), "its first entry is not the header"),
    (table([(b"a", b"")]), "its first entry is not the header"),
    (table([(b"", message({1: 1, 2: 1}))]), "big-endian"),
    (table([(b"", message({}))]), "announces 0 data files"),
    (table([(b"", message({1: 1 << 40}))]), "announces 1099511627776 data files"),
    (table([ONE, (b"b", message({1: 1, 5: 4})), (b"a", b"")]), "key b'a' is out of order"),
    (table([ONE, (b"\xff", b"")]), "codec can't decode"),
    (table([(b"", b"\x0b")]), "a field of kind 3"),
    (table([(b"", b"\x0a\x05a")]), "a message ends early"),
    (table([(b"", b"\xff" * 11)]), "a number does not end"),
    (table([ONE, (b"x" * 1001, b"")]), "does not fit its block"),
    (b"", "0 bytes, expected 48 to"),
    (b"x" * 47, "47 bytes, expected 48 to"),
    (b"x" * 100, "not a table's magic number"),
    (bytes(40) + MAGIC, "a block ends at byte"),
]


@pytest.mark.parametrize("fields, complaint", ENTRIES)
def test_an_entry_unusual_for_gpt2_is_refused_with_its_tensor(tmp_path, tensors, fields, complaint):
    write_tensorflow(tmp_path / "m", tensors, **fields)
    assert complaint in refusal(tmp_path / "m.index")


@pytest.mark.parametrize("content, complaint", INDEXES, ids=[complaint for _, complaint in INDEXES])
def test_a_false_index_is_refused(tmp_path, content, complaint):
    (tmp_path / "m.index").write_bytes(content)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(4))
    assert complaint in refusal(tmp_path / "m.index")


def test_tensors_that_share_data_are_refused(tmp_path):
    entry = message({1: 1, 2: b"\x12\x02\x08\x40", 4: 0, 5: 256})
    (tmp_path / "m.index").write_bytes(table([(b"", message({1: 1}))] + [(b"t%03d" % n, entry) for n in range(500)]))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(256))
    assert "some share their data" in refusal(tmp_path / "m.index")


def test_a_compressed_block_is_refused_by_name(tmp_path):
    file = io.BytesIO()
    handle = put_block(file, block([(b"", message({1: 1}))]))
    content = bytearray(file.getvalue())
    content[-5] = 1  # Snappy
    content[-4:] = masked(bytes(content[:-4])).to_bytes(4, "little")
    (tmp_path / "m.index").write_bytes(bytes(content) + (b"\0\0" + handle).ljust(40, b"\0") + MAGIC)
    assert "is compressed" in refusal(tmp_path / "m.index")


@given(st.data())
def test_a_table_with_valid_checksums_is_refused_or_read_correctly(tmp_path_factory, data):
    """Change an entry's bytes before the table and its checksums are made."""
    folder = tmp_path_factory.mktemp("damaged")
    write_tensorflow(folder / "m", {"a": np.arange(6, dtype=np.float32).reshape(2, 3)})
    entry = bytearray(message({1: 1, 2: b"\x12\x02\x08\x02\x12\x02\x08\x03", 4: 0, 5: 24, 6: b"abcd"}))
    entry[data.draw(st.integers(0, len(entry) - 1))] = data.draw(st.integers(0, 255))
    entry = entry[: data.draw(st.integers(0, len(entry)))] + data.draw(st.binary(max_size=4))
    (folder / "m.index").write_bytes(table([(b"", message({1: 1})), (b"a", bytes(entry))]))
    tracemalloc.start()
    try:
        for tensor in open_tensorflow(folder / "m.index").values():
            assert tensor.nbytes <= 24
    except InputError as error:
        assert "\n" not in str(error)
    finally:
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_an_index_that_repeats_a_block_is_refused_at_once(tmp_path, monkeypatch):
    file, checked = io.BytesIO(), []
    handle = put_block(file, block([]))
    index = put_block(file, block([(b"%06d" % n, handle) for n in range(30_000)]))
    (tmp_path / "m.index").write_bytes(file.getvalue() + (b"\0\0" + index).ljust(40, b"\0") + MAGIC)
    monkeypatch.setattr(tensorflow, "crc32c", lambda file, count: checked.append(count) or crc32c(file, count))
    assert "or the block has no entries" in refusal(tmp_path / "m.index")
    assert len(checked) == 2
