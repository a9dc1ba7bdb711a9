"""Write checkpoints in the formats of OpenAI (TensorFlow) and PyTorch, without either library.

Tests with PyTorch installed compare them with real ones.
"""

import io
import json
import struct
import zipfile

import numpy as np

from numpygpt.checkpoints.crc32c import crc32c

TENSORFLOW_TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
TORCH_STORAGES = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long", "bool": "Bool"}


def openai_names(params):
    """Return the parameters with the names and shapes of OpenAI's release."""
    named = {}
    for name, array in params.items():
        *layers, kind = name.split(".")
        if layers[0] == "h":
            layers = ["h" + layers[1], *layers[2:]]
        if layers[0] in ("wte", "wpe"):
            named[f"model/{layers[0]}"] = array
        elif array.ndim == 2:
            named["/".join(["model", *layers, "w"])] = array[None]
        else:
            named["/".join(["model", *layers, "b" if kind == "bias" else "g"])] = array
    return named


def write_openai(folder, config, params):
    """Write the folder that OpenAI's download script makes, without the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'
    )
    (folder / "model.ckpt.meta").write_bytes(b"\x0a\x00")
    hparams = {"n_vocab": config.vocab_size, "n_ctx": config.n_positions}
    hparams |= {key: getattr(config, key) for key in ("n_embd", "n_head", "n_layer")}
    (folder / "hparams.json").write_text(json.dumps(hparams))
    write_tensorflow(folder / "model.ckpt", openai_names(params))


def write_tensorflow(prefix, tensors, block_size=4096, **fields):
    """Write PREFIX.index and PREFIX.data-00000-of-00001. `fields` {"field1": value} replace those of every entry."""
    with open(f"{prefix}.data-00000-of-00001", "wb") as file:
        for name in sorted(tensors):
            file.write(np.asarray(tensors[name], order="C"))
    with open(f"{prefix}.index", "wb") as file:
        file.write(table(index_entries(tensors, **fields), block_size))


def index_entries(tensors, **fields):
    """Return the (key, value) pairs of an index: the header, then the tensors in order, without gaps."""
    entries, place = [(b"", message({1: 1, 3: message({1: 1})}))], 0
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        shape = b"".join(b"\x12" + length_first(message({1: size} if size else {})) for size in array.shape)
        entry = {
            1: TENSORFLOW_TYPES[array.dtype.name],
            2: shape,
            4: place,
            5: array.nbytes,
            6: struct.pack("<I", masked(array.tobytes())),
        }
        entry |= {int(field.removeprefix("field")): value for field, value in fields.items()}
        entries.append((name.encode(), message(entry)))
        place += array.nbytes
    return entries


def table(entries, block_size=4096):
    """Return a LevelDB table of (key, value) pairs, sorted by key."""
    blocks, held = [], []
    for number, (key, value) in enumerate(entries):
        held.append((key, value))
        if sum(len(key) + len(value) for key, value in held) >= block_size or number == len(entries) - 1:
            blocks.append((key, block(held)))
            held = []
    return table_of_blocks(blocks)


def table_of_blocks(blocks):
    """Return a table of blocks, given as (last key, content)."""
    file = io.BytesIO()
    index = [(key, put_block(file, content)) for key, content in blocks]
    handles = put_block(file, block([])) + put_block(file, block(index))
    file.write(handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))
    return file.getvalue()


def put_block(file, content):
    """Append a block with its trailer. Return its handle."""
    offset = file.tell()
    file.write(content + b"\0" + struct.pack("<I", masked(content + b"\0")))
    return varint(offset) + varint(len(content))


def block(entries):
    """Return a block's content."""
    content, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % 16 == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return content + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def masked(data):
    checksum = crc32c(io.BytesIO(data), len(data))
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def message(fields):
    """Return a protobuf message of ints and bytes. Four bytes in field 6 are a fixed32 checksum."""
    parts = []
    for number, value in fields.items():
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        elif number == 6:
            parts.append(varint(number << 3 | 5) + value)
        else:
            parts.append(varint(number << 3 | 2) + length_first(value))
    return b"".join(parts)


def length_first(data):
    return varint(len(data)) + data


def varint(number):
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def write_torch(path, tensors, legacy=False):
    """Write a state dict as torch.save does, in the zip format or the older one. Identical objects share a storage."""
    keys = {
        id(array): str(number) for number, array in enumerate({id(array): array for array in tensors.values()}.values())
    }
    data = {keys[id(array)]: np.asarray(array, order="C") for array in tensors.values()}
    pickle = state_dict_pickle(tensors, keys, legacy)
    if legacy:
        machine = b"\x80\x02}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + b"\x88u."
        start = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + machine + pickle
        listed = b"\x80\x02](" + b"".join(map(text, data)) + b"e."
        path.write_bytes(
            start + listed + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in data.values())
        )
    else:
        path.write_bytes(torch_zip(pickle, {key: array.tobytes() for key, array in data.items()}))


def torch_zip(pickle, data):
    """Return torch.save's archive of a pickle and its storages {key: bytes}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", "little")
        for key, content in data.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def state_dict_pickle(tensors, keys, legacy=False):
    parts = [b"\x80\x02ccollections\nOrderedDict\n)Rq\x00("]
    for name, array in tensors.items():
        storage = f"ctorch\n{TORCH_STORAGES[array.dtype.name]}Storage\n".encode()
        identifier = text("storage") + storage + text(keys[id(array)]) + text("cpu") + number(array.size)
        strides = [stride // array.itemsize for stride in np.asarray(array, order="C").strides]
        parts.append(
            text(name)
            + b"ctorch._utils\n_rebuild_tensor_v2\n(("
            + identifier
            + (b"NtQ" if legacy else b"tQ")
            + number(0)
        )
        parts.append(b"(" + b"".join(map(number, array.shape)) + b"t(" + b"".join(map(number, strides)) + b"t")
        parts.append(b"\x89ccollections\nOrderedDict\n)RtR")
    return b"".join(parts) + b"u."


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)
