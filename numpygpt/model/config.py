"""The sizes of a GPT-2, and the `config.json` they are read from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..system.errors import InputError, counted
from ..system.files import read_json

NARROW = 512  # below this width, one thread computes a product best


@dataclass(frozen=True)
class Config:
    """The sizes of a GPT-2, under the names in its `config.json`.

    vocab_size    V, rows of the token embedding
    n_positions   number of tokens of the longest message
    n_embd        D, the width of a row; every head has n_embd / n_head of the columns
    n_layer       number of blocks
    n_head        attention heads in a block
    layer_norm_epsilon   added to the variance (GPT-2: 1e-5)
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    layer_norm_epsilon: float = 1e-5

    def described(self):
        """Return the sizes in words."""
        heads, blocks = counted(self.n_head, "head"), counted(self.n_layer, "block")
        return f"{blocks}, width {self.n_embd}, {heads}, {self.n_positions:,} positions"

    @property
    def narrow(self):
        """Whether the model is so narrow that one thread computes each of its products best."""
        return self.n_embd < NARROW


# The four published models (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
SIZES = {
    "gpt2": Config(),
    "gpt2-medium": Config(n_embd=1024, n_layer=24, n_head=16),
    "gpt2-large": Config(n_embd=1280, n_layer=36, n_head=20),
    "gpt2-xl": Config(n_embd=1600, n_layer=48, n_head=25),
}

# The arithmetic settings of `config.json`, and the values that this implementation supports. Any other value would load
# and run, with slightly wrong results.
_ARITHMETIC = {
    "model_type": ("gpt2", "numpygpt"),  # numpygpt: an exported classifier
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


def read_config(path):
    """Return the Config that a Hugging Face `config.json` describes.

    Raises InputError, naming the file and the key, where the file is not JSON, a size is missing or impossible, or the
    arithmetic is not GPT-2's (such as the exact-erf GELU).
    """
    path = Path(path)
    entries = read_json(path)
    for key, allowed in _ARITHMETIC.items():
        if key in entries and entries[key] not in allowed:
            raise InputError(f"{path}: {key} is {entries[key]!r}; numpygpt computes only {allowed[0]!r}")
    sizes = {}
    for key in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
        size = entries.get(key)
        if key == "n_positions" and size is None:
            size = entries.get("n_ctx")
        if type(size) is not int or not 0 < size < 2**31:
            raise InputError(f"{path}: {key} must be a positive whole number, found {size!r}")
        sizes[key] = size
    epsilon = entries.get("layer_norm_epsilon", 1e-5)
    if type(epsilon) not in (int, float) or not 0 < epsilon < 1:
        raise InputError(f"{path}: layer_norm_epsilon must lie between 0 and 1, found {epsilon!r}")
    if sizes["n_embd"] % sizes["n_head"]:
        raise InputError(f"{path}: n_embd {sizes['n_embd']} is not divisible by n_head {sizes['n_head']}")
    if entries.get("n_inner") not in (None, 4 * sizes["n_embd"]):
        raise InputError(f"{path}: n_inner is {entries['n_inner']!r}; numpygpt computes only 4 * n_embd")
    return Config(**sizes, layer_norm_epsilon=float(epsilon))


def config_json(config):
    """Return the text of a `config.json` for this GPT-2, which transformers can also load."""
    entries = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        **asdict(config),
        "n_ctx": config.n_positions,
        "bos_token_id": config.vocab_size - 1,
        "eos_token_id": config.vocab_size - 1,
    }
    return json.dumps(entries, indent=2) + "\n"
