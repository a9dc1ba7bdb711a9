"""Write a checkpoint folder in transformers' layout: config.json, model.safetensors, vocab.json, merges.txt."""

from pathlib import Path

import numpy as np

from ..model.config import config_json
from ..system.files import write_file
from ..text.tokenizer import tokenizer_files
from .safetensors import write_safetensors


def save_folder(folder, config, params, encoding=None, dtype=np.float32):
    """Write a model, and its tiktoken.Encoding if given, to a folder that load_checkpoint and transformers can load.

    dtype   np.float32, or np.float16 for half the size

    Each file is replaced atomically, the weights first: if they fail, all old files stay. Raises InputError if a weight
    overflows dtype or the encoding is not built like GPT-2's, and OSError if the folder cannot be written.
    """
    folder = Path(folder)
    texts = {"config.json": config_json(config)} | (tokenizer_files(encoding) if encoding else {})
    folder.mkdir(parents=True, exist_ok=True)
    # transformers requires the entry "format".
    write_safetensors(folder / "model.safetensors", params, {"format": "pt"}, dtype)
    for name, text in texts.items():
        write_file(folder / name, text)
