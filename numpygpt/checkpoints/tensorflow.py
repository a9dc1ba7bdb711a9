"""Read OpenAI's original release, a TensorFlow V2 checkpoint ("tensor bundle"), without TensorFlow.

`model.ckpt.index` is a table in LevelDB's format. Its sorted keys are the tensors' names. Its values are protobuf
messages that locate the raw little-endian data in `model.ckpt.data-00000-of-00001`. Every block of the table and every
tensor has a CRC-32C. Sources: https://github.com/google/leveldb/blob/main/doc/table_format.md and, in tensorflow/core,
util/tensor_bundle/tensor_bundle.cc, protobuf/tensor_bundle.proto and framework/{tensor_shape,types}.proto
"""

import io
import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from ..system.errors import InputError
from .crc32c import crc32c
from .stored import MOST_AXES, StoredTensor

MAGIC = bytes.fromhex("57fb808b247547db")  # the last 8 bytes of an index
_FOOTER = 48  # bytes: the padded addresses of the metaindex and index blocks, and MAGIC
_TRAILER = 5  # bytes after a block: its compression and its checksum
_LONGEST_INDEX = 1 << 20  # bytes; GPT-2 XL's index has about 30,000
_LONGEST_NAME = 1000  # bytes; a key repeats the start of the previous key at no cost, so its length needs a limit

# tensorflow.DataType: only the types of weights and counters
_TYPES = {1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 9: "I64", 10: "BOOL", 14: "BF16", 19: "F16"}

_AGAIN = "the file is damaged: copy or download it again"


@dataclass(frozen=True)
class _Checked(StoredTensor):
    name: str
    checksum: int

    def verify(self):
        with open(self.path, "rb") as file:
            file.seek(self.start)
            if _masked(file, self.nbytes) != self.checksum:
                raise InputError(
                    f"{self.path}: the data of tensor {self.name[:100]!r} do not match their checksum; {_AGAIN}"
                )


class _Damaged(Exception):
    """The index is damaged; the message says how."""


def open_tensorflow(path):
    """Return {name: StoredTensor} of every tensor in the index file at `path`. The data files are in the same folder.

    The whole index is checked at once, and a tensor's checksum when the tensor is read. Raises InputError, naming the
    file and the tensor, if a file is damaged, truncated or compressed, or has content that no GPT-2 has.
    """
    path = Path(path)
    size = path.stat().st_size
    if not _FOOTER <= size <= _LONGEST_INDEX:
        raise InputError(
            f"{path}: not the index of a TensorFlow checkpoint: {size} bytes, expected {_FOOTER} to {_LONGEST_INDEX}"
        )
    try:
        entries = _table(path.read_bytes())
        key, header = next(entries, (None, b""))
        if key != b"":
            raise _Damaged("its first entry is not the header")
        files = _data_files(path, _fields(header))
        tensors = {}
        for key, value in entries:
            name = key.decode()
            tensors[name] = _tensor(name, _fields(value), files)
    except (_Damaged, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged, or not the index of a TensorFlow checkpoint: {error}") from None
    held = sum(mapping.size() for _, mapping in files)
    if sum(tensor.nbytes for tensor in tensors.values()) > held:
        raise InputError(
            f"{path}: its tensors need more than the {held} bytes of its data files: some share their data"
        )
    return tensors


def _table(content):
    """Yield the (key, value) pairs of a table, in order."""
    if content[-8:] != MAGIC:
        raise _Damaged("its last 8 bytes are not a table's magic number")
    footer, place = content[-_FOOTER:], 0
    for _ in range(2):  # skips the address of the metaindex block, which TensorFlow leaves empty
        _, place = _varint(footer, place)
    index, _ = _block(content, footer, place)
    last = None
    for _, handle in index:
        entries, end = _block(content, handle, 0)
        if end != len(handle) or not entries:
            raise _Damaged("a block's address has extra bytes, or the block has no entries")
        for key, value in entries:
            if last is not None and key <= last:
                raise _Damaged(f"key {key[:100]!r} is out of order")
            last = key
            yield key, value


def _block(content, handle, place):
    """Return [(key, value)] of the block whose offset and size are in the handle at `place`, and the place after."""
    offset, place = _varint(handle, place)
    size, place = _varint(handle, place)
    end = offset + size
    if end + _TRAILER > len(content) - _FOOTER:
        raise _Damaged(f"a block ends at byte {end}, beyond the table")
    if _masked(io.BytesIO(content[offset : end + 1]), size + 1) != int.from_bytes(
        content[end + 1 : end + _TRAILER], "little"
    ):
        raise _Damaged(f"the block at byte {offset} does not match its checksum")
    if content[end] != 0:
        raise _Damaged(f"the block at byte {offset} is compressed, unlike those of TensorFlow's checkpoints")
    return list(_entries(content[offset:end])), place


def _entries(block):
    """Yield the (key, value) pairs of a block. A key is the first `shared` bytes of the previous key and own bytes."""
    restarts = int.from_bytes(block[-4:], "little")  # a list of the keys with shared = 0 follows the entries
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise _Damaged(f"a block of {len(block)} bytes lists {restarts} restarts")
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        size, place = _varint(block, place)
        if shared > len(key) or shared + own > _LONGEST_NAME or place + own + size > end:
            raise _Damaged(f"an entry after key {key[:100]!r} does not fit its block")
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + size]
        place += own + size


def _data_files(path, header):
    """Return [(path, memory map)] of the numbered data files."""
    shards, endianness = header.get(1, 0), header.get(2, 0)
    if endianness != 0:
        raise _Damaged("its data are big-endian")
    if type(shards) is not int or not 0 < shards <= 1000:
        raise _Damaged(f"it announces {shards!r} data files")
    files = []
    for number in range(shards):
        data = path.with_name(f"{path.name.removesuffix('.index')}.data-{number:05}-of-{shards:05}")
        if not data.is_file():
            raise InputError(f"{path}: its data file {data.name} is missing in the folder; copy or download it too")
        with open(data, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{data}: empty; copy or download it again")
            files.append((data, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    return files


def _tensor(name, entry, files):
    """Return the StoredTensor of a BundleEntryProto.

    Its fields are 1 type, 2 shape, 3 shard, 4 offset, 5 size, 6 checksum, 7 slices.
    """
    where = f"tensor {name[:100]!r}"
    if 7 in entry:
        raise _Damaged(f"{where} is split into slices; save it unpartitioned")
    if entry.get(1) not in _TYPES:
        raise _Damaged(f"{where} has the type {entry.get(1)!r} of tensorflow.DataType; numpygpt reads {sorted(_TYPES)}")
    shard, start, size, checksum = (entry.get(number, 0) for number in (3, 4, 5, 6))
    if not all(type(number) is int for number in (shard, start, size, checksum)):
        raise _Damaged(f"{where}: expected numbers in its entry")
    if shard >= len(files):
        raise _Damaged(f"{where} is in data file {shard}, of {len(files)}")
    path, mapping = files[shard]
    if start + size > mapping.size():
        raise InputError(
            f"{path}: truncated: {where} ends at byte {start + size}, but the file at {mapping.size()}; {_AGAIN}"
        )
    tensor = _Checked(path, mapping, _TYPES[entry[1]], _shape(where, entry.get(2, b"")), start, name, checksum)
    if size != tensor.nbytes:
        raise _Damaged(
            f"{where}: {tensor.stored_as} of shape {tensor.shape} needs {tensor.nbytes} bytes, but its "
            f"entry says {size}"
        )
    return tensor


def _shape(where, message):
    """Return the sizes in a TensorShapeProto. Each repetition of field 2 has a size in its field 1, 0 if absent."""
    shape = []
    for number, value in _pairs(message):
        axis = _fields(value).get(1, 0) if number == 2 else None
        if type(axis) is not int or axis >= 2**31 or len(shape) == MOST_AXES:
            raise _Damaged(f"{where}: expected a shape of at most {MOST_AXES} sizes")
        shape.append(axis)
    if math.prod(axis or 1 for axis in shape) >= 2**60:
        raise _Damaged(f"{where}: shape {tuple(shape)} is larger than any memory")
    return tuple(shape)


def _fields(message):
    """Return {number: value} of a protobuf message. A repeated field keeps its last value."""
    return dict(_pairs(message))


def _pairs(message):
    """Yield the (number, value) pairs of a protobuf message. A value is an int, or bytes if a length precedes it.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    if not isinstance(message, bytes):
        raise _Damaged("expected a message, found a number")
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        elif kind in (1, 2, 5):
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, place = _varint(message, place)
            value, place = message[place : place + size], place + size
            if place > len(message):
                raise _Damaged("a message ends early")
            if kind != 2:
                value = int.from_bytes(value, "little")
        else:
            raise _Damaged(f"a message has a field of kind {kind}")
        yield tag >> 3, value


def _varint(data, place):
    """Return (the number at `place`, the place after it).

    A byte holds 7 bits, lowest first. Its top bit is set in all bytes except the last.
    """
    number = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise _Damaged("a number does not end")


def _masked(file, count):
    """Return the masked checksum of the next `count` bytes, as it is stored.

    LevelDB masks checksums because a checksum of data that contain checksums is weak (util/crc32c.h).
    """
    checksum = crc32c(file, count)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
