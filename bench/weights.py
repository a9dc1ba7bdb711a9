"""Make a GPT-2 to measure if none is given. Random weights take the same time as trained ones."""

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.text.tokenizer import load_tokenizer

NAME = "GPT-2 124M with random weights (speed does not depend on their values)"


def make(folder):
    """Write a checkpoint folder of GPT-2 124M's sizes with GPT-2's tokenizer.

    Raises InputError if tiktoken cannot download the tokenizer.
    """
    encoding = load_tokenizer("gpt2")
    config = Config()
    save_folder(folder, config, random_parameters(config, seed=123), encoding)
