"""The safetensors reader and writer agree with the safetensors library, and damaged files are refused."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.checkpoints.safetensors import open_safetensors, read_safetensors, write_safetensors
from numpygpt.system.errors import InputError

try:
    import safetensors
except ImportError:
    safetensors = None

TENSORS = {
    "odd": np.arange(3, dtype=np.float16),
    "matrix": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "scalar": np.array(7.5, np.float32),
    "none": np.zeros((0, 5), np.float32),
}


def pack(header, data=b"", padding=0):
    """Return the bytes of a safetensors file with this header, as JSON text or an object."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * padding
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def fresh(path, content):
    """Write to a new inode, because a mapped file must not shrink under its views."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path


def refusal(path):
    """Return the one-line error that refuses a file."""
    with pytest.raises(InputError) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 700
    return message


def test_written_tensors_are_read_back_bit_for_bit_as_float32(tmp_path):
    write_safetensors(tmp_path / "w", TENSORS)
    read = read_safetensors(tmp_path / "w")
    assert read.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert read[name].dtype == np.float32 and read[name].shape == array.shape
        assert np.array_equal(read[name], array)


def test_a_transposed_array_is_written_in_its_logical_order(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_safetensors(tmp_path / "w", {"t": array})
    assert np.array_equal(read_safetensors(tmp_path / "w")["t"], array)


def test_aligned_float32_is_a_read_only_view_of_the_file(tmp_path):
    write_safetensors(tmp_path / "w", {"a": np.ones((1000, 1000), np.float32)})
    tracemalloc.start()
    array = read_safetensors(tmp_path / "w")["a"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes / 10
    assert type(array) is np.ndarray and not array.flags.writeable and array.flags.aligned
    assert array.sum() == 1e6  # the mapping outlives the call


def test_unaligned_float32_is_copied_to_aligned_memory(tmp_path):
    array = np.arange(5, dtype=np.float32)
    for padding in range(4):
        content = pack({"a": entry("F32", [5], 0, 20)}, array.tobytes(), padding)
        read = read_safetensors(fresh(tmp_path / "w", content))["a"]
        assert np.array_equal(read, array) and read.flags.aligned and not read.flags.writeable


@pytest.mark.parametrize("stored", ["F16", "BF16", "F64"])
def test_a_conversion_needs_little_more_memory_than_its_result(tmp_path, stored):
    count = 6_000_000
    itemsize = 8 if stored == "F64" else 2
    path = fresh(tmp_path / "w", pack({"a": entry(stored, [count], 0, count * itemsize)}, bytes(count * itemsize)))
    tracemalloc.start()
    array = read_safetensors(path)["a"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.dtype == np.float32 and peak < 1.3 * array.nbytes


def test_half_precision_converts_like_numpy_beyond_the_first_chunk(tmp_path):
    array = np.random.default_rng(0).standard_normal(300_001).astype(np.float16)
    write_safetensors(tmp_path / "w", {"a": array})
    assert np.array_equal(read_safetensors(tmp_path / "w")["a"], array)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_a_file_truncated_after_opening_is_an_error(tmp_path, left):
    write_safetensors(tmp_path / "w", {"a": np.ones(100, np.float16)})
    tensor = open_safetensors(tmp_path / "w")["a"]
    os.truncate(tmp_path / "w", tensor.start + 2 * left)
    with pytest.raises(InputError, match="shorter than it was"):
        tensor.read()


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path):
    values = np.array([1.0, -2.5, 0.0, -0.0, np.inf, np.nan, 3.0e38, 1.0e-40], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    path = fresh(tmp_path / "w", pack({"a": entry("BF16", [8], 0, 16)}, upper.tobytes()))
    assert np.array_equal(read_safetensors(path)["a"].view(np.uint32), upper.astype(np.uint32) << 16)


def test_integer_and_boolean_masks_keep_their_dtype(tmp_path):
    header = {"u": entry("U8", [3], 0, 3), "b": entry("BOOL", [2], 3, 5), "i": entry("I64", [1], 5, 13)}
    read = read_safetensors(fresh(tmp_path / "w", pack(header, bytes([1, 2, 3, 1, 0, 9]) + bytes(7))))
    assert read["u"].tolist() == [1, 2, 3] and read["b"].tolist() == [True, False] and read["i"].tolist() == [9]
    assert [read[name].dtype for name in "ubi"] == [np.uint8, np.bool_, np.int64]


def test_a_value_too_large_for_half_precision_is_refused_and_keeps_the_old_file(tmp_path):
    (tmp_path / "w").write_bytes(b"old")
    with pytest.raises(InputError, match="tensor b has values too large for float16"):
        write_safetensors(tmp_path / "w", {"a": np.ones(2), "b": np.array([1.0, 1e5], np.float32)}, dtype=np.float16)
    assert (tmp_path / "w").read_bytes() == b"old" and os.listdir(tmp_path) == ["w"]


def test_data_start_on_a_cache_line(tmp_path):
    for length in range(1, 70):
        write_safetensors(tmp_path / "w", {"n" * length: np.ones(1, np.float32)})
        assert next(iter(open_safetensors(tmp_path / "w").values())).start % 64 == 0


REFUSED = {
    "empty": (b"", "0 bytes, expected at least 8"),
    "shorter than its length field": (b"\x01\x00", "2 bytes, expected at least 8"),
    "header longer than the file": ((999).to_bytes(8, "little") + b"{}", "header of 999 bytes"),
    "header over the limit": ((2**63).to_bytes(8, "little") + b"{}", "header of 9223372036854775808 bytes"),
    "not UTF-8": (pack(b"{\xff}"), "not valid JSON"),
    "not JSON": (pack(b'{"a":'), "not valid JSON"),
    "nested beyond reason": (pack(b"[" * 100_000), "not valid JSON"),
    "not an object": (pack([]), "not a JSON object"),
    "a name twice": (pack(b'{"a": {"dtype": "U8", "dtype": "I8"}}'), "'dtype' appears twice"),
    "a name that is no text": (pack(b'{"\\ud800": 1}'), r"tensor '\ud800'"),
    "a name with a line break": (pack({"a\nb": 1}), r"tensor 'a\nb'"),
    "a name as long as a book": (pack({"a" * 10_000: 1}), "tensor 'aaa"),
    "metadata that is no object": (pack({"__metadata__": []}), "__metadata__"),
    "metadata that is no text": (pack({"__metadata__": {"a": 1}}), "__metadata__"),
    "no entry": (pack({"a": None}), "tensor 'a': expected dtype, shape and data_offsets, found None"),
    "entry without offsets": (pack({"a": {"dtype": "U8", "shape": [1]}}), "tensor 'a': expected dtype, shape"),
    "unknown type": (pack({"a": entry("F8_E4M3", [1], 0, 1)}, b"1"), "tensor 'a': type 'F8_E4M3' is not one of F64"),
    "type that is no text": (pack({"a": entry([], [1], 0, 1)}, b"1"), "tensor 'a': type []"),
    "negative axis": (pack({"a": entry("U8", [-1, -1], 0, 1)}, b"1"), "tensor 'a': shape must be"),
    "fractional axis": (pack({"a": entry("U8", [1.0], 0, 1)}, b"1"), "tensor 'a': shape must be"),
    "boolean axis": (pack({"a": entry("U8", [True], 0, 1)}, b"1"), "tensor 'a': shape must be"),
    "shape that is no list": (pack({"a": entry("U8", 1, 0, 1)}, b"1"), "tensor 'a': shape must be"),
    "too many axes": (pack({"a": entry("U8", [1] * 65, 0, 1)}, b"1"), "tensor 'a': shape must be"),
    "a product beyond 64 bits": (pack({"a": entry("U8", [2**32, 2**32], 0, 0)}), "larger than any memory"),
    "no elements, but huge": (pack({"a": entry("U8", [0, 2**62, 2**62], 0, 0)}), "larger than any memory"),
    "one offset": (pack({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0]}}, b"1"), "data_offsets must be"),
    "negative offset": (pack({"a": entry("U8", [1], -1, 0)}, b"1"), "tensor 'a': data_offsets must be"),
    "offset beyond 64 bits": (pack({"a": entry("U8", [1], 2**64, 2**64 + 1)}, b"1"), "data_offsets must be"),
    "backward offsets": (
        pack({"a": entry("U8", [1], 1, 0)}, b"1"),
        "needs 1 bytes, but its data_offsets [1, 0] span -1",
    ),
    "length against shape": (pack({"a": entry("F32", [2], 0, 4)}, b"1234"), "F32 of shape [2] needs 8 bytes"),
    "truncated data": (
        pack({"a": entry("F32", [2], 0, 8)}, b"1234"),
        "tensor 'a' ends at byte 8 of the data, but the file has",
    ),
    "overlap": (
        pack({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"123"),
        "tensor 'b' starts at byte 1 of the data, expected 2: overlapping data",
    ),
    "hole": (
        pack({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"123"),
        "tensor 'b' starts at byte 2 of the data, expected 1: a hole",
    ),
    "data behind the last tensor": (
        pack({"a": entry("U8", [1], 0, 1)}, b"12"),
        "have 1 bytes, but 2 follow the header",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_contradictory_file_is_refused_with_file_and_tensor(tmp_path, case):
    content, reason = REFUSED[case]
    assert reason in refusal(fresh(tmp_path / "w", content))


def independently(content):
    """Parse a well-formed file independently. Return {name: (dtype, shape, bytes)}."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    data = content[8 + length :]
    return {name: (e["dtype"], e["shape"], data[slice(*e["data_offsets"])]) for name, e in header.items()}


def assert_refused_or_right(path, content):
    fresh(path, content)
    try:
        read = read_safetensors(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
        return
    assert read.keys() == independently(content).keys()
    for name, (dtype, shape, data) in independently(content).items():
        if dtype == "F16":
            data = np.frombuffer(data, np.float16).astype(np.float32).tobytes()
        assert list(read[name].shape) == shape
        assert read[name].tobytes() == data or dtype in ("BF16", "F64")
    if safetensors is not None:
        assert read.keys() == {
            name for name, _ in safetensors.deserialize(content)
        }  # the library accepts the file, too


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "w"


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = tmp_path_factory.mktemp("valid") / "w"
    write_safetensors(path, TENSORS, {"format": "pt"})
    return path.read_bytes()


@given(st.data())
def test_a_damaged_file_is_refused_or_read_correctly(scratch, valid, data):
    content = bytearray(valid)
    header_end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, header_end if data.draw(st.booleans()) else len(content) - 1))
        damage = data.draw(st.sampled_from(["flip", "digit", "insert", "delete"]))
        if damage == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif damage == "digit":
            content[place] = data.draw(st.sampled_from(b'0123456789-,:[]{}"e.'))
        elif damage == "insert":
            content.insert(place, data.draw(st.integers(0, 255)))
        else:
            del content[place]
    assert_refused_or_right(scratch, bytes(content))


@given(st.data())
def test_a_truncated_file_is_always_refused(scratch, valid, data):
    refusal(fresh(scratch, valid[: data.draw(st.integers(0, len(valid) - 1))]))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
LYING_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "U8", "BOOL", "I64"]) | JUNK,
        "shape": st.lists(st.integers(0, 4), max_size=3) | JUNK,
        "data_offsets": st.tuples(st.integers(-2, 30), st.integers(-2, 30)) | JUNK,
    }
)


@pytest.mark.slow
@given(
    st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), LYING_ENTRY | JUNK, max_size=3),
    st.binary(max_size=30),
)
def test_a_false_header_is_refused_or_read_correctly(scratch, header, data):
    text = json.dumps(header).encode()
    assert_refused_or_right(scratch, pack(text, data))


@given(
    st.lists(st.tuples(st.sampled_from(["F32", "F16", "U8"]), st.lists(st.integers(0, 3), max_size=3)), max_size=4),
    st.data(),
)
def test_well_formed_files_are_read_with_tensors_in_any_order(scratch, tensors, data):
    header, content = {}, b""
    for number, (dtype, shape) in enumerate(tensors):
        size = int(np.prod(shape)) * {"F32": 4, "F16": 2, "U8": 1}[dtype]
        header[f"t{number}"] = entry(dtype, shape, len(content), len(content) + size)
        content += data.draw(st.binary(min_size=size, max_size=size))
    header = dict(data.draw(st.permutations(list(header.items()))))
    content = pack(header, content)
    assert read_safetensors(fresh(scratch, content)).keys() == header.keys()
    assert_refused_or_right(scratch, content)


def test_the_safetensors_library_reads_our_files(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    write_safetensors(tmp_path / "w", TENSORS, {"format": "pt"})
    read = library.load_file(tmp_path / "w")
    assert read.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
    with safetensors.safe_open(tmp_path / "w", "np") as file:
        assert file.metadata() == {"format": "pt"}


def test_files_of_the_safetensors_library_are_read(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    tensors = TENSORS | {"mask": np.tri(3, dtype=np.bool_), "double": np.array([0.1, 1e300]), "count": np.arange(3)}
    library.save_file(tensors, tmp_path / "w", {"any": "text"})
    read = read_safetensors(tmp_path / "w")
    assert read.keys() == tensors.keys()
    for name, array in tensors.items():
        with np.errstate(over="ignore"):
            assert np.array_equal(read[name], array.astype(np.float32) if array.dtype.kind == "f" else array)


def test_bfloat16_is_read_like_torch(tmp_path):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    tensor = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)).bfloat16()
    library.save_file({"a": tensor}, tmp_path / "w")
    assert np.array_equal(read_safetensors(tmp_path / "w")["a"], tensor.float().numpy())
