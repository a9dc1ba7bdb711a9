"""Write a tiny model and messages of few words for the tests of the commands."""

from pathlib import Path

import numpy as np
import pandas as pd

from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model.config import Config
from numpygpt.model.parameters import parameter_shapes
from numpygpt.text.bpe import learn_bpe
from numpygpt.text.tokenizer import tokenizer_files

WORDS = {
    "ham": "home soon late train dinner love see you tonight bring milk".split(),
    "order": "parcel invoice delivery number shipped track address Tuesday box ref".split(),
    "spam": "win prize cash free call now claim urgent text stop £900".split(),
}
CONFIG = Config(vocab_size=300, n_positions=24, n_embd=8, n_layer=2, n_head=2)


def save_tokenizer(encoding, folder):
    """Write the files from which load_tokenizer and transformers restore this encoding."""
    for name, text in tokenizer_files(encoding).items():
        Path(folder, name).write_text(text, encoding="utf-8", newline="\n")


def written(label, count, seed=0):
    """Return `count` different messages of the label's words."""
    rng = np.random.default_rng([seed, len(label)])
    return [" ".join(rng.choice(WORDS[label], rng.integers(4, 9))) for _ in range(count)]


def save_model(folder, config=CONFIG):
    rng = np.random.default_rng(1)
    params = {name: 0.3 * rng.standard_normal(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    params["wte.weight"] *= 4  # so that tokens matter more than positions
    encoding = learn_bpe([text for label in WORDS for text in written(label, 30)], 300)
    save_folder(folder, config, params, encoding)


def save_messages(path, labels=("ham", "spam"), count=30):
    rows = [(label, text) for label in labels for text in written(label, count)]
    pd.DataFrame(rows, columns=["Label", "Text"]).sample(frac=1, random_state=0).to_csv(path, index=False)
