"""Read the state dicts of `torch.save`, such as `pytorch_model.bin` and the book's `.pth`, in both file formats.

Since PyTorch 1.6 the file is a zip archive. `NAME/data.pkl` is a pickle that describes the tensors, and
`NAME/data/KEY` has the uncompressed data of each storage. Older files begin with five pickles: a magic number, the
format's version, the writing machine, the state dict, and the storages' keys. For each key follow 8 bytes with the
number of elements, and the raw data. Source: torch/serialization.py, _save and _legacy_save
"""

import io
import math
import mmap
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..system.errors import InputError
from .pickled import PickledTensor, unpickle
from .stored import STORED, StoredTensor, widened

ZIP_START = b"PK\3\4"
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number, 0x1950a86a20f9469cfc6c, pickled
_VERSION = 1001  # of the older format
_LONGEST = 1 << 20  # bytes of a pickle or of a zip directory; GPT-2 XL's have about 200,000
_PIECE = 1 << 18  # bytes

# The key of the model's state dict in the book's model_and_optimizer.pth, in Lightning's files and in nanoGPT's ckpt.pt
_STATE = ("model_state_dict", "state_dict", "model")
_AGAIN = "the file is damaged: copy or download it again"


@dataclass(frozen=True)
class _Placed:
    """The place of a storage's data in the file."""

    start: int
    nbytes: int
    crc: int  # 0 if unknown


@dataclass(frozen=True)
class _Dense(StoredTensor):
    """A tensor that is contiguous in its storage, as usual in a trained model's state dict."""

    place: _Placed

    def verify(self):
        if self.place.crc:
            with open(self.path, "rb") as file:
                if _crc(file, self.place.start, self.place.nbytes) != self.place.crc:
                    raise InputError(
                        f"{self.path}: the data at byte {self.place.start} do not match their checksum; {_AGAIN}"
                    )


@dataclass(frozen=True)
class _Strided(_Dense):
    """A tensor that is a transposed or otherwise strided view of its storage."""

    strides: tuple  # bytes

    def read(self):
        return self.copy()

    def copy(self):
        self.verify()
        stored = np.ndarray(self.shape, STORED[self.stored_as], self.mapping, self.start, self.strides)
        with np.errstate(over="ignore"):  # as in StoredTensor
            result = widened(np.ascontiguousarray(stored), self.stored_as).astype(self.dtype, copy=False)
        result.flags.writeable = False
        return result


def open_saved(path):
    """Return ({name: StoredTensor}, {name: value}): the file's state dict, and the plain values beside it.

    Check the whole file before reading any tensor's data. A training script may save the state dict as an entry of a
    dict, beside an optimizer's. No code from the file is run. Raises InputError, naming the
    file and the tensor, if the pickle asks for more than tensors and plain containers, or if the file is truncated,
    damaged or compressed.
    """
    path = Path(path)
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise InputError(f"{path}: empty; copy or download it again")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        content, places = _open_zip(path) if file.read(4) == ZIP_START else _open_legacy(path, file)
    state, settings = content, {}
    if (key := _key_of_state(content)) is not None:
        state, settings = content[key], {name: value for name, value in content.items() if name != key}
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a state dict, found a {type(state).__name__}; save model.state_dict()")
    tensors = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, PickledTensor):
            raise InputError(
                f"{path}: entry {str(name)[:100]!r} is not a tensor with a name; save only model.state_dict()"
            )
        tensors[name] = _located(path, mapping, name, tensor, places)
    # A tied output layer counts twice. Anything larger is a small file made to use much memory.
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * mapping.size():
        raise InputError(f"{path}: its tensors need more than twice the file's size: too many share their data")
    return tensors, settings


def _key_of_state(content):
    """Return the key of the state dict in a dict, or None: a usual one, or that of the only dict of tensors alone."""
    inner = (
        {key: value for key, value in content.items() if isinstance(value, dict)} if isinstance(content, dict) else {}
    )
    states = [
        key for key, value in inner.items() if value and all(isinstance(v, PickledTensor) for v in value.values())
    ]
    return next((key for key in _STATE if key in inner), states[0] if len(states) == 1 else None)


def _located(path, mapping, name, tensor, places):
    storage = tensor.storage
    place = places.get(storage.key)
    if place is None or place.nbytes != storage.nbytes:
        held = "which is missing in the file" if place is None else f"but the file has {place.nbytes}"
        key = storage.key[:100]
        raise InputError(
            f"{path}: tensor {name[:100]!r} needs {storage.nbytes} bytes of storage {key!r}, {held}; {_AGAIN}"
        )
    itemsize = STORED[storage.stored_as].itemsize
    dense = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    where = (path, mapping, storage.stored_as, tensor.shape, place.start + tensor.offset * itemsize, place)
    if 0 in tensor.shape or all(size == 1 or a == b for size, a, b in zip(tensor.shape, tensor.strides, dense)):
        return _Dense(*where)
    return _Strided(*where, tuple(stride * itemsize for stride in tensor.strides))


class _ShortReads(io.FileIO):
    """A file that refuses large reads, so that zipfile does not load a directory that claims to be large."""

    def read(self, size=-1):
        if size > _LONGEST:
            raise zipfile.BadZipFile(f"its directory claims {size} bytes")
        return super().read(size)


def _open_zip(path):
    """Return (the object in data.pkl, {key: _Placed}) of the newer format."""
    try:
        with _ShortReads(path) as file, zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
    # zipfile raises NotImplementedError for an unknown version or compression.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
        raise InputError(f"{path}: not a complete zip archive ({str(error)[:200]!r}); {_AGAIN}") from None
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        arrays = bool(members) and all(name.endswith(".npy") for name in members)
        kind = "NumPy's .npz" if arrays else f"expected one member data.pkl, found {len(pickles)}"
        raise InputError(f"{path}: a zip archive, but not from torch.save: {kind}")
    folder = pickles[0].removesuffix("data.pkl")
    with open(path, "rb") as file:
        if f"{folder}byteorder" in members and _content(path, file, members[f"{folder}byteorder"]) != b"little":
            raise InputError(
                f"{path}: written on a big-endian machine; load the file with PyTorch and save it as safetensors"
            )
        pickle = io.BytesIO(_content(path, file, members[pickles[0]]))
        content, storages = unpickle(pickle, path)
        keys = {key for key in storages if f"{folder}data/{key}" in members}
        return content, {key: _place(path, file, members[f"{folder}data/{key}"]) for key in keys}


def _content(path, file, member):
    """Return the bytes of a small member."""
    place = _place(path, file, member)
    if place.nbytes > _LONGEST:
        raise InputError(f"{path}: {member.filename[:100]!r} takes {place.nbytes} bytes, expected at most {_LONGEST}")
    if place.crc and _crc(file, place.start, place.nbytes) != place.crc:
        raise InputError(f"{path}: {member.filename[:100]!r} does not match its checksum; {_AGAIN}")
    file.seek(place.start)
    return file.read(place.nbytes)


def _place(path, file, member):
    """Locate a member's data. A header of 30 bytes, a name and an extra field precede them."""
    name, start, size = member.filename[:100], member.header_offset, os.fstat(file.fileno()).st_size
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size or member.flag_bits & 1:
        raise InputError(f"{path}: {name!r} is compressed or encrypted, unlike torch.save's; zip it with `zip -0`")
    file.seek(start if 0 <= start < size else size)
    header = file.read(30)
    start += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if header[:4] != ZIP_START or start + member.file_size > size:
        raise InputError(f"{path}: {name!r} is not at the place that the directory gives; {_AGAIN}")
    return _Placed(start, member.file_size, member.CRC)


def _crc(file, start, count):
    crc, end = 0, start + count
    file.seek(start)
    for begin in range(start, end, _PIECE):
        crc = zlib.crc32(file.read(min(_PIECE, end - begin)), crc)
    return crc


def _open_legacy(path, file):
    """Return (the object in the state dict's pickle, {key: _Placed}) of the older format."""
    file.seek(0)
    pickles = io.BytesIO(file.read(_LONGEST))
    if not pickles.getvalue().startswith(LEGACY_START):
        raise InputError(f"{path}: not a file from torch.save; save model.state_dict() with PyTorch")
    (_, (version, _), (machine, _), (content, storages), (keys, _)) = [unpickle(pickles, path) for _ in range(5)]
    if version != _VERSION or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise InputError(
            f"{path}: expected torch.save's older format, version {_VERSION}, from a little-endian machine; "
            "load the file with PyTorch and save it as safetensors"
        )
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or set(keys) != set(storages):
        raise InputError(f"{path}: its list of storages does not match its tensors; {_AGAIN}")
    places, start, size = {}, pickles.tell(), os.fstat(file.fileno()).st_size
    for key in keys:
        file.seek(start)
        count, start = int.from_bytes(file.read(8), "little"), start + 8
        if count != storages[key].count or start + storages[key].nbytes > size:
            raise InputError(
                f"{path}: storage {key[:100]!r} has {count} elements and {size - start} bytes are left, "
                f"but its tensors need {storages[key].count} elements in {storages[key].nbytes} bytes; {_AGAIN}"
            )
        places[key] = _Placed(start, storages[key].nbytes, crc=0)
        start += storages[key].nbytes
    return content, places
