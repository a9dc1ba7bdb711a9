"""State dicts are read without PyTorch, and files that ask for anything else are refused."""

import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.checkpoints.pickled import unpickle
from numpygpt.checkpoints.pytorch import open_saved
from numpygpt.system.errors import InputError
from tests.checkpoints.writers import number, state_dict_pickle, text, torch_zip, write_torch

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
TENSOR = "ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((4, 3), np.float32)
    return {
        "matrix": matrix,
        "half": rng.standard_normal((2, 5)).astype(np.float16),
        "double": rng.standard_normal(3),
        "count": np.array(7),
        "mask": np.tri(3, dtype=bool),
        "empty": np.zeros((0, 2), np.float32),
        "tied": matrix,
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def refusal(path):
    with pytest.raises(InputError) as caught:
        for tensor in open_saved(path)[0].values():
            tensor.read()
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def write_pickle(path, content, legacy, data=b""):
    """Write a file of either format with this pickle, and with one storage in the zip format."""
    if legacy:
        write_torch(path, {}, legacy=True)
        path.write_bytes(path.read_bytes().replace(state_dict_pickle({}, {}), content))
    else:
        path.write_bytes(torch_zip(content, {"0": data}))


def same(read, array):
    wanted = array.astype(np.float32) if array.dtype.kind == "f" else array
    return (
        read.dtype == wanted.dtype
        and read.shape == wanted.shape
        and np.array_equal(read, wanted)
        and not read.flags.writeable
    )


@FORMATS
def test_every_tensor_is_read_bit_for_bit(path, tensors, legacy):
    write_torch(path, tensors, legacy)
    opened = open_saved(path)[0]
    assert opened.keys() == tensors.keys()
    for name, array in tensors.items():
        assert same(opened[name].read(), array) and same(opened[name].copy(), array), name


def test_torch_reads_the_files_of_the_test_writer(path, tensors):
    torch = pytest.importorskip("torch")
    for legacy in (False, True):
        write_torch(path, tensors, legacy)
        loaded = torch.load(path, weights_only=True)
        assert loaded.keys() == tensors.keys() and all(
            np.array_equal(loaded[name].numpy(), tensors[name]) for name in tensors
        )


@pytest.mark.parametrize(
    "options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}, {"pickle_protocol": 5}], ids=str
)
def test_tensors_saved_by_torch_are_read_bit_for_bit(path, options):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    buffer = torch.randn(40)
    state = OrderedDict(
        floats=torch.randn(2, 3),
        bfloats=torch.randn(5).bfloat16(),
        halves=torch.randn(3, 5).half(),
        doubles=torch.randn(3, 4).double(),
        transposed=torch.randn(4, 6).T,
        transposed_bfloats=torch.randn(4, 6).bfloat16().T,
        view=buffer[:10],
        window=buffer[10:30].view(4, 5)[:, 1:3],
        every_second=buffer[::2],
        integers=torch.arange(4),
        mask=torch.ones(3, 3).tril().bool(),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        parameter=torch.nn.Parameter(torch.randn(3)),
    )
    state["tied"] = state["floats"]
    state._metadata = OrderedDict({"": {"version": 1}})
    torch.save(state, path, **options)
    opened = open_saved(path)[0]
    assert list(opened) == list(state)
    for name, tensor in state.items():
        array = (tensor.detach().float() if tensor.is_floating_point() else tensor).numpy()
        assert same(opened[name].read(), array) and same(opened[name].copy(), array), name


@pytest.mark.parametrize("zipped", [True, False])
def test_the_model_is_read_from_the_books_file_with_optimizer(path, zipped):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    saved = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    opened = open_saved(path)[0]
    assert opened.keys() == {"weight", "bias"} and same(opened["weight"].read(), model.weight.detach().numpy())


VALUES = [
    np.float64(3),
    np.zeros(2),
    {1, 2},
    frozenset("a"),
    Path("a"),
    Namespace(lr=1),
    defaultdict(list, a=[1]),
    b"x",
]
VALUES += [Counter("ab"), {0.5: None, None: 1}, [2**70]]


@FORMATS
@pytest.mark.parametrize("key", ["model", "net", "ema"])
def test_plain_values_beside_a_state_dict_are_ignored(path, legacy, key):
    """Training scripts save their arguments and results, and name the state dict as they like."""
    torch = pytest.importorskip("torch")
    own = [torch.float16, torch.device("cpu"), torch.Size([2]), torch.get_rng_state()]
    saved = {"epoch": 3, key: {"weight": torch.ones(3)}, "optimizer": {"state": {}}, "all": [*VALUES, *own]}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    assert same(open_saved(path)[0]["weight"].read(), np.ones(3, np.float32))
    assert open_saved(path)[1]["epoch"] == 3
    torch.save({"weight": VALUES[0]}, path)
    assert "entry 'weight' is not a tensor" in refusal(path)


def test_a_file_saved_without_checksums_loads(path):
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(open_saved(path)[0]["a"].read(), np.ones(3, np.float32))


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@FORMATS
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize(
    "place", [lambda x: x, lambda x: {"weight": x}, lambda x: {"a": [({"b": x},)]}], ids=["alone", "entry", "deep"]
)
def test_a_pickle_that_calls_a_function_is_refused_by_name_and_not_executed(path, tmp_path, legacy, protocol, place):
    done = tmp_path / "done"
    for attack, name in [
        (Attack(os.system, f"touch {done}"), f"{os.name}.system"),
        (Attack(subprocess.run, ["touch", str(done)]), "subprocess.run"),
        (Attack(pickle.loads, pickle.dumps(Attack(os.system, f"touch {done}"))), "pickle.loads"),
    ]:
        write_pickle(path, pickle.dumps(place(attack), protocol, fix_imports=False), legacy)
        message = refusal(path)
        assert not done.exists()
        if protocol >= 2:
            assert f"asks for '{name}', refused" in message.replace("'_pickle", "'pickle")
        else:  # torch.save never uses these; an earlier instruction may already be refused
            assert "refused" in message or "has the instruction" in message


@FORMATS
@pytest.mark.parametrize(
    "content, name",
    [
        (b"\x80\x02cposix\nsystem\n.", "posix.system"),
        (b"\x80\x02(X\x02\x00\x00\x00hiiposix\nsystem\n.", "posix.system"),  # INST: name and call in one instruction
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch\nFloatStorage.__init__\n.", "torch.FloatStorage.__init__"),
        (b"\x80\x02ctorch.nn.modules.linear\nLinear\n.", "torch.nn.modules.linear.Linear"),
        (b"\x80\x02c__main__\nGPTModel\n.", "__main__.GPTModel"),
        (b"\x80\x02ccollections\nOrderedDict.fromkeys\n.", "collections.OrderedDict.fromkeys"),
    ],
)
def test_an_unlisted_name_is_refused_even_if_never_called(path, legacy, content, name):
    write_pickle(path, content, legacy)
    assert f"asks for {name!r}, refused" in refusal(path)


@FORMATS
@pytest.mark.parametrize(
    "content",
    (
        b" | . | \x80\x02 | } | }} | 0. | N. | ]. | K\x01. | q\x00. | h\x05. | \x80\x02t. | (((. | u. | }(K\x01u."
        b" | }(]Nu. | })Ns. | }]a. | NNs. | Na. | )R. | N)R. | Q. | NQ. | )Q."  # }(]N, })N: a list, a tuple for a key
        b" | ccollections\nOrderedDict\n. | ccollections\nOrderedDict\nN. | ccollections\nOrderedDict\n]R."
        b" | ccollections\nOrderedDict\n(K\x01tR. | ccollections\nOrderedDict\n)Nb. | ctorch\nFloatStorage\n)R."
        b" | ctorch._utils\n_rebuild_tensor_v2\n)R. | ctorch._utils\n_rebuild_parameter\n(Nt R."
        b" | X\xff\xff\xff\xffabc. | X\x02\x00\x00\x00\xff\xff. | cposix\n\xff\n. | \x82\x01. | \xff"
        b" | I999999999999999999999999\n. | I" + b"9" * 10_000 + b"\n."
    ).split(b" | "),
)
def test_invalid_pickle_instructions_are_refused_in_one_line(path, legacy, content):
    write_pickle(path, content, legacy)
    refusal(path)


@pytest.mark.parametrize("entry", [b"X\x01\x00\x00\x00aK\x01", b"K\x01}", b"X\x01\x00\x00\x00aN"])
def test_a_dict_entry_that_is_no_tensor_is_refused_by_name(path, entry):
    write_pickle(path, b"\x80\x02}(" + entry + b"u.", legacy=False)
    assert "is not a tensor with a name" in refusal(path)


def tensor_pickle(storage="cFloat", key="0", count=6, offset=b"K\x00", shape=b"K\x02K\x03", strides=b"K\x03K\x01"):
    identifier = text("storage") + f"ctorch\n{storage[1:]}Storage\n".encode() + text(key) + text("cpu") + number(count)
    view = TENSOR.encode() + b"((" + identifier + b"tQ" + offset + b"(" + shape + b"t(" + strides + b"t\x89NtR"
    return b"\x80\x02}(" + text("a") + view + b"u."


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "1"},
        {"count": 5},
        {"count": 7},
        {"count": -6},
        {"storage": "cDouble"},
        {"offset": b"K\x01"},
        {"offset": b"J\xff\xff\xff\xff"},
        {"offset": b"N"},
        {"offset": b"\x8a\x0a" + b"\xff" * 9 + b"\x7f"},
        {"shape": b"K\x02K\x04"},
        {"shape": b"K\x02"},
        {"shape": b"K\x02J\xff\xff\xff\xff"},
        {"shape": b"K\x02G@\x08\x00\x00\x00\x00\x00\x00"},  # 3.0
        {"shape": b"K\x02\x88"},  # True
        {"shape": b"K\x01" * 40, "strides": b"K\x01" * 40},
        {"strides": b"K\x03K\x02"},
        {"strides": b"J\xff\xff\xff\xffK\x01"},
        {"strides": b"J\xff\xff\xff\x7fK\x01"},
    ],
)
def test_a_tensor_that_does_not_fit_its_storage_is_refused(path, changes):
    data = np.arange(6, dtype="<f4").tobytes()
    write_pickle(path, tensor_pickle(), legacy=False, data=data)
    assert same(open_saved(path)[0]["a"].read(), np.arange(6, dtype=np.float32).reshape(2, 3))
    write_pickle(path, tensor_pickle(**changes), legacy=False, data=data)
    refusal(path)


@pytest.mark.parametrize("shape, strides", [(b"J\xff\xff\xff\x7f", b"K\x00"), (b"K\x06" * 9, b"K\x00" * 9)])
def test_an_overlapping_view_larger_than_the_file_is_refused(path, shape, strides):
    write_pickle(path, tensor_pickle(shape=shape, strides=strides), legacy=False, data=bytes(24))
    assert "too many share their data" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"}r\xff\xff\xff\xff.",  # a memo entry of number 4,294,967,295, for which Python's unpickler allocates memory
        b"X\xff\xff\xff\xff.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x95" + struct.pack("<Q", 1 << 40) + b"}.",
        b"\x8b\xff\xff\xff\x7f.",
        b")" + b"\x85" * 50_000 + b".",  # a tuple in a tuple in a tuple …
        b"}(" + b")" + b"\x85" * 50_000 + b"Nu.",  # … as a key, which Python hashes recursively
        b")"
        + b"q\x00h\x00\x86" * 60
        + b"}h\x00Ns.",  # each tuple holds the previous one twice, which would take 2^60 steps
        b"(" * 50_000 + b".",
        b"]q\x00" + b"h\x00a" * 50_000 + b".",
    ],
)
def test_reading_a_pickle_uses_memory_in_proportion_to_its_length(content):
    tracemalloc.start()
    try:
        unpickle(io.BytesIO(b"\x80\x02" + content), "it")
    except InputError as error:
        assert len(str(error)) < 300
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < (1 << 20) + 100 * len(content)


def test_a_compressed_zip_member_is_refused(path, tensors):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(count=1 << 26, shape=number(1 << 26), strides=b"K\x01"))
        archive.writestr("archive/data/0", bytes(1 << 20))
    assert "'archive/data.pkl' is compressed" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", tensor_pickle(count=1 << 18, shape=number(1 << 18), strides=b"K\x01"))
        archive.writestr("archive/data/0", bytes(1 << 20), zipfile.ZIP_DEFLATED)
    assert "'archive/data/0' is compressed" in refusal(path)


def test_an_overlong_pickle_is_not_read(path):
    write_pickle(path, b"\x80\x02" + b"}" * (1 << 20) + b".", legacy=False)
    assert "takes 1048579 bytes, expected at most 1048576" in refusal(path)


def test_a_zip_directory_that_claims_to_be_huge_is_not_read(path, tensors):
    write_torch(path, tensors)
    content = path.read_bytes()
    end = content.rindex(b"PK\5\6")
    with open(path, "wb") as file:
        file.write(content[:end])
        file.seek(1 << 30)  # a hole, which uses no disk space
        file.write(content[end : end + 12] + struct.pack("<II", (1 << 30) - 50, 50) + b"\0\0")
    tracemalloc.start()
    assert "not a complete zip archive" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name.replace('__', '.').replace('_', '/')}", content)
    return path.read_bytes()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: zipped(path, SMSSpamCollection="ham"), "expected one member data.pkl, found 0"),
        (
            lambda path: torch_zip(tensor_pickle(), {"0": bytes(24)}).replace(b"little", b"bigbig"),
            "'archive/byteorder' does not match its checksum",
        ),
        (lambda path: zipped(path, data__pkl=tensor_pickle(), byteorder="big", data_0=bytes(24)), "big-endian"),
        (lambda path: b"", "empty"),
        (lambda path: b"PK\3\4", "not a complete zip archive"),
        (lambda path: b"hello", "not a file from torch.save"),
        (lambda path: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "damaged, or not a pickle"),
        (lambda path: b"\x80\x02}.", "not a file from torch.save"),
    ],
)
def test_a_file_of_another_format_or_byte_order_is_refused(path, make, message):
    path.write_bytes(make(path))
    assert message in refusal(path)


def test_every_flipped_bit_of_a_zips_data_is_detected(path):
    array = np.arange(20, dtype=np.float32)
    write_torch(path, {"a": array})
    whole = path.read_bytes()
    start = whole.index(array.tobytes())
    for place in range(start, start + array.nbytes):
        path.unlink()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert "do not match their checksum" in refusal(path)


@FORMATS
def test_every_truncation_is_detected_before_reading(path, tensors, legacy):
    write_torch(path, tensors, legacy)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.unlink()
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            open_saved(path)[0]


@given(st.data())
def test_a_damaged_file_is_refused_or_gives_tensors_no_larger_than_itself(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "model.pth"
    write_torch(
        path,
        {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(3, np.float16)},
        data.draw(st.booleans()),
    )
    whole = path.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole)))
        whole = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(st.integers(0, 4)) :]
    path.write_bytes(whole)
    try:
        arrays = [tensor.read() for tensor in open_saved(path)[0].values()]
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert sum(array.nbytes for array in arrays) <= 4 * len(
            whole
        )  # twice for tied tensors, twice for a half converted to float32
