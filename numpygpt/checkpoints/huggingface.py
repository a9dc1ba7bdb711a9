"""A checkpoint folder as Hugging Face's transformers has it: config.json, model.safetensors, vocab.json, merges.txt."""

from pathlib import Path

import numpy as np

from ..model.config import config_json
from ..system.files import replacing
from ..text.tokenizer import tokenizer_files
from .safetensors import write_safetensors


def save_folder(folder, config, params, encoding=None, dtype=np.float32):
    """Write the model, and its tiktoken.Encoding where there is one,
    so that load_checkpoint and transformers can load it.

    dtype   np.float32, or np.float16 for half the size

    Each file is replaced whole or not at all, and none unless the weights could be written. Raises InputError where a
    weight does not fit dtype or the encoding is not of GPT-2's kind, and OSError where the folder cannot be written.
    """
    folder = Path(folder)
    texts = {"config.json": config_json(config)} | (tokenizer_files(encoding) if encoding else {})
    folder.mkdir(parents=True, exist_ok=True)
    # transformers insists on the entry "format"
    write_safetensors(folder / "model.safetensors", params, {"format": "pt"}, dtype)
    for name, text in texts.items():
        with replacing(folder / name) as file:
            file.write(text.encode())
