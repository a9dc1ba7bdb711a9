"""The one door through which pretrained weights come in."""

from pathlib import Path

from ..errors import InputError
from ..text.tokenizer import load_tokenizer
from .huggingface import load_folder

BUNDLED = {"mini": Path(__file__).parents[1] / "assets" / "mini"}


def load_checkpoint(source):
    """(Config, {name: float32 array}, tiktoken.Encoding) of a pretrained GPT-2.

    source   a name in BUNDLED, or a folder in Hugging Face's layout (a folder that exists wins over a name)
    Raises InputError, naming the file, where something is missing, damaged or not GPT-2's.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = BUNDLED.get(str(source), folder)
    if not folder.is_dir():
        raise InputError(f"{source}: no such folder, nor one of the bundled models ({', '.join(BUNDLED)})")
    config, params = load_folder(folder)
    encoding = load_tokenizer(folder)
    if encoding.n_vocab > config.vocab_size:
        raise InputError(f"{folder}: the tokenizer has {encoding.n_vocab} entries, the model's embedding only {config.vocab_size}")
    return config, params, encoding
