"""Read and write the safetensors format: a JSON header, which cannot run code, and raw weights.

A file begins with 8 bytes, the header's length (little-endian). The header is JSON: `name -> {dtype, shape,
data_offsets}` and an optional `__metadata__`. The tensors' little-endian bytes follow, end to end without holes.
Source: https://github.com/huggingface/safetensors#format
"""

import json
import math
import mmap
import os
import reprlib
from pathlib import Path

import numpy as np

from ..system.errors import InputError
from ..system.files import replacing
from .stored import MOST_AXES, STORED, StoredTensor

_NAMES = {dtype: name for name, dtype in STORED.items() if name != "BF16"}

_LONGEST_HEADER = 100_000_000  # bytes; the reference implementation's limit

_brief = reprlib.Repr()  # quotes the content of a damaged file, on one line of bounded length
_brief.maxstring = _brief.maxother = 100


def open_safetensors(path):
    """Return {name: StoredTensor} of every tensor in the file. Check the whole header before reading any data.

    Raises InputError, naming the file and the tensor, if the file violates the format: the header is truncated,
    ambiguous or not JSON; a type is unknown; sizes contradict each other; data overlap, leave holes or end early.
    """
    path = Path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise InputError(f"{path}: not a safetensors file: {size} bytes, expected at least 8")
        length = int.from_bytes(file.read(8), "little")
        if length > min(_LONGEST_HEADER, size - 8):
            raise InputError(
                f"{path}: truncated, or not a safetensors file: its first 8 bytes announce a header of {length} bytes, "
                f"but {size - 8} bytes follow, and a header has at most {_LONGEST_HEADER}"
            )
        header = _parse(path, file.read(length))
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors, spans = {}, []
    for name, entry in header.items():
        stored_as, shape, begin, end = _checked(f"{path}: tensor {_brief.repr(name)}", entry)
        tensors[name] = StoredTensor(path, mapping, stored_as, shape, 8 + length + begin)
        spans.append((begin, end, name))
    expected = 0
    for begin, end, name in sorted(spans):
        if end > size - 8 - length:
            raise InputError(
                f"{path}: tensor {_brief.repr(name)} ends at byte {end} of the data, but the file has only "
                f"{size - 8 - length}: it is truncated; copy or download it again"
            )
        if begin != expected:
            raise InputError(
                f"{path}: tensor {_brief.repr(name)} starts at byte {begin} of the data, expected {expected}: "
                f"{'overlapping data' if begin < expected else 'a hole'}"
            )
        expected = end
    if expected != size - 8 - length:
        raise InputError(f"{path}: its tensors have {expected} bytes, but {size - 8 - length} follow the header")
    return tensors


def read_safetensors(path):
    """Return {name: read-only array} of every tensor in the file. Floats of every kind become float32.

    Raises InputError like open_safetensors.
    """
    return {name: tensor.read() for name, tensor in open_safetensors(path).items()}


def write_safetensors(path, tensors, metadata=None, dtype=None):
    """Write {name: array} with {str: str} metadata to `path`, atomically. Convert one array at a time.

    dtype   the type in which to store every array; None keeps the arrays' own types

    Raises InputError, naming the tensor, if a value overflows dtype.
    """
    header = {"__metadata__": metadata} if metadata else {}
    types = {name: np.dtype(dtype or array.dtype).newbyteorder("<") for name, array in tensors.items()}
    order = sorted(tensors, key=lambda name: -types[name].itemsize)  # widest first, which aligns every tensor
    begin = 0
    for name in order:
        end = begin + tensors[name].size * types[name].itemsize
        header[name] = {"dtype": _NAMES[types[name]], "shape": list(tensors[name].shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)  # the data start on a cache line
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            try:
                with np.errstate(over="raise"):
                    array = np.ascontiguousarray(tensors[name], types[name])
            except FloatingPointError:
                raise InputError(f"{path}: tensor {name} has values too large for {np.dtype(dtype).name}") from None
            file.write(array)


def _parse(path, text):
    """Return the header's {name: entry} without its metadata."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a safetensors file: its header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: not a safetensors file: its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: __metadata__ in the header must map names to strings, found {_brief.repr(metadata)}")
    return header


def _without_duplicates(pairs):
    entries = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"{_brief.repr(name)} appears twice")
        entries[name] = value
    return entries


def _checked(where, entry):
    """Return (name of the type, shape, first byte, end) from a tensor's header entry."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{where}: expected dtype, shape and data_offsets, found {_brief.repr(entry)}")
    stored_as, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(stored_as, str) or stored_as not in STORED:
        raise InputError(f"{where}: type {_brief.repr(stored_as)} is not one of {', '.join(STORED)}")
    if not _whole_numbers(shape) or len(shape) > MOST_AXES:
        raise InputError(f"{where}: shape must be at most {MOST_AXES} whole numbers, found {_brief.repr(shape)}")
    itemsize = STORED[stored_as].itemsize
    if math.prod(axis or 1 for axis in shape) * itemsize >= 2**63:
        raise InputError(f"{where}: shape {_brief.repr(shape)} is larger than any memory")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise InputError(f"{where}: data_offsets must be two whole numbers, found {_brief.repr(offsets)}")
    begin, end = offsets
    if end - begin != math.prod(shape) * itemsize:
        raise InputError(
            f"{where}: {stored_as} of shape {shape} needs {math.prod(shape) * itemsize} bytes, "
            f"but its data_offsets {offsets} span {end - begin}"
        )
    return stored_as, tuple(shape), begin, end


def _whole_numbers(value):
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)
