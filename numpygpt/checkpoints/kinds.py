"""Say what a file or folder is that holds no weights that numpygpt reads, so that an error can name it."""

import json
import re
from pathlib import Path

from ..system.errors import counted

_SHOWN = 512  # bytes at the start of a file that decide its kind

# The first bytes of files that are often found where weights are expected
_STARTS = {
    b"version https://git-lfs": "a Git LFS pointer: the weights themselves were not downloaded; run `git lfs pull`",
    b"GGUF": "a GGUF file, quantised for llama.cpp; use the model's safetensors",
    b"\x89HDF": "Keras weights in HDF5; save them with transformers as safetensors",
    b"\x93NUMPY": "a single NumPy array",
    b"\x1f\x8b": "compressed with gzip; unpack it",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"PAR1": "a Parquet table",
    b"%PDF": "a PDF document",
}
_SUFFIXES = {
    ".msgpack": "Flax weights; save them with transformers as safetensors",
    ".onnx": "an ONNX model, which has no tensors under GPT-2's names; use the checkpoint that it was made from",
    ".meta": "a TensorFlow graph; name the file that ends in .index",
    ".distcp": "a part of a checkpoint of torch.distributed; join the parts: python -m "
    "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth",
    ".tflite": "a TensorFlow Lite model; use the checkpoint that it was made from",
}


def kind_of_file(path):
    """Return what a file is, in a few words, or None."""
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(_SHOWN)
    for first, kind in _STARTS.items():
        if start.startswith(first):
            return kind
    if not start:
        return "empty; copy or download it again"
    if re.match(rb"\s*<(!doctype|html|\?xml)", start, re.IGNORECASE):
        return "a web page, not the file behind it; download it again"
    if start[257:262] == b"ustar" or (path.suffix == ".tar"):
        return "a tar archive; unpack it"
    if re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        return "a TensorFlow checkpoint's data; name the file that ends in .index"
    if start[:1] == b"\x80" and start[1] in range(2, 6):
        return "a pickle, but not one from torch.save; save model.state_dict() with torch.save"
    if re.match(rb"\s*[{\[]", start):
        return "a JSON file, not weights; name its folder or the weights file"
    return _SUFFIXES.get(path.suffix)


def kind_of_folder(folder):
    """Return what a folder without weights is and what to name instead, or None."""
    if (folder / "run.json").is_file():
        return f"a run of numpygpt.train, not a model; export it first: python -m numpygpt.export {folder} FOLDER"
    if (folder / "settings.json").is_file() and (folder / "history.csv").is_file():
        return "an unfinished run of numpygpt.train, not a model"
    below = parent_of(folder, "checkpoint", ("config.json", "adapter_config.json"))
    if below:
        return f"{below}, not a model"
    for path in sorted(folder.iterdir()):
        other = path.suffix in (".json", ".txt", ".md", ".py") or path.name.startswith(".")
        kind = kind_of_file(path) if path.is_file() and not other else None
        if kind:
            return f"it has no weights that numpygpt reads. {path.name} is {kind}"
    return None


def parent_of(folder, what, names):
    """Return in words which folders with a file of these names are below a folder, and the one to take, or None.

    Looks up to three levels below: a hub's cache has models--NAME/snapshots/COMMIT.
    """
    paths = (path for level in ("*", "*/*", "*/*/*") for name in names for path in folder.glob(f"{level}/{name}"))
    below = {path.parent for path in paths}
    if not below:
        return None
    return f"the parent of {counted(len(below), what)} (take {_newest(below)})"


def _newest(folders):
    """Return the folder that refs/main names, the best by a trainer's record, or that of the highest number."""
    for folder in folders:
        reference = folder.absolute().parent.parent / "refs" / "main"
        if reference.is_file() and reference.read_text(errors="replace").strip() == folder.name:
            return folder
    last = max(
        folders, key=lambda folder: (int((re.search(r"(\d{1,9})$", folder.name) or [0, -1])[1]), folder.stat().st_mtime)
    )
    return _best(last) or last


def _best(folder):
    """Return the checkpoint that transformers' Trainer recorded as best, if it is beside `folder`."""
    try:
        best = json.loads((folder / "trainer_state.json").read_bytes())["best_model_checkpoint"]
        best = folder.parent / Path(best).name
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return best if best.is_dir() else None
