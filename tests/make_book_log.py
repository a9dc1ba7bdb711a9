"""python -m tests.make_book_log: write book_log.json, the log of the book's script in PyTorch, for test_book_log.py.

Train the bundled model for two epochs on the first thousand bundled messages, half a minute on one core. Run it again,
with torch installed, whenever the model or the messages change. The test that reads the log needs no torch.
"""

import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from numpygpt.checkpoints.load import locate
from numpygpt.text.sources import find_messages

LOG = Path(__file__).with_name("book_log.json")
EPOCHS = 2
MESSAGES = 1000


def write_messages(folder):
    """Write the logged run's messages to a file in the folder. Return its path."""
    path = Path(folder) / "messages.tsv"
    path.write_bytes(b"".join(find_messages("sample").read_bytes().splitlines(keepends=True)[:MESSAGES]))
    return path


def inputs(messages):
    """Return {name: SHA-256} of the log's inputs: the bundled model's weights and merges, and the messages."""
    files = [locate("mini") / "model.safetensors", locate("mini") / "merges.txt", messages]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main():
    from bench import book  # needs torch

    with TemporaryDirectory() as folder:
        messages = write_messages(folder)
        report, made_with = book.run("mini", messages, EPOCHS), inputs(messages)
    kept = {name: report[name] for name in ("log", "step_losses", "accuracy")}
    LOG.write_text(json.dumps({"inputs": made_with, **kept}, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
