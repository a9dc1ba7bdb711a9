"""The commands that a user waits for, from the command to its exit, and the time of a message in `predict` and
`evaluate`.

RUN is a default run of `numpygpt.train` on `mini`. The limit of a command is a bare start of Python that imports NumPy;
of `--help`, one that imports nothing. `predict` and `evaluate` answer the run's test messages in one call, with their
tokens not known before. Their limit is the matrix products of all blocks at sgemm's rate. PyTorch answers the same
messages sorted by length and padded, 1,024 tokens at a time.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from numpygpt.api.run import load_run
from numpygpt.system.errors import InputError
from numpygpt.text.split import SplitSet

from . import default
from .machine import Rates, installed
from .results import Row, Section
from .turns import in_turns

REPETITIONS = 5
AT_ONCE = 1024  # tokens of PyTorch's batches


def measure(options):
    with TemporaryDirectory(prefix="bench-waits-") as scratch:
        run = Path(scratch, "run")
        python("-m", "numpygpt.train", "--model", default.MODEL, "--data", default.DATA, "--out", run)
        clf = load_run(run)
        texts, labels = zip(*SplitSet(run / "test.csv", clf.labels))
        long = longest(clf, texts)
        classify = partial(python, "-m", "numpygpt.classify", run)
        commands = {
            "a bare start of Python": partial(python, "-c", "pass"),
            "the same with `import numpy`": partial(python, "-c", "import numpy"),
            "`train --help`": partial(python, "-m", "numpygpt.train", "--help"),
            "`classify RUN hello`": partial(classify, "hello"),
            f"`classify RUN --explain`, {clf.config.n_positions} tokens": partial(classify, "--explain", long),
            "`classify RUN --because hello`": partial(classify, "--because", "hello"),
            "`trace`": partial(trace, Path(scratch, "trace.html")),
        }
        seconds = in_turns(commands, options.repetitions, "waits")
    rows = [Row(what, "s", [each for each, _ in seconds[what]]) for what in commands]
    for row in rows[2:]:
        row.limit = median(rows["--help" not in row.what].ours)
    answers = {"predict": lambda: clf.predict(texts), "evaluate": lambda: clf.evaluate(texts, labels)}
    if installed("torch"):
        answers["PyTorch"] = pytorch(clf, texts)
    runs = in_turns(answers, options.repetitions, "messages")
    milliseconds = {what: [1000 * each / len(texts) for each, _ in runs[what]] for what in runs}
    rates, tokens = Rates(), sum(map(len, clf.encode(texts)))
    limit = 1000 * 24 * tokens * clf.config.n_layer * clf.config.n_embd**2 / rates.products / len(texts)
    for what in ("predict", "evaluate"):
        peer = milliseconds.get("PyTorch", [])
        rows.append(Row(f"`{what}`, a message", "ms", milliseconds[what], peer, limit=limit))
    notes = [rates.said()]
    if "PyTorch" in runs:
        (_, ours), (_, theirs) = runs["predict"][0], runs["PyTorch"][0]
        worst = abs(ours[clf.labels].to_numpy() - theirs).max()
        notes.append(f"Same answers: the worst difference of a probability from PyTorch's is {worst:.1e}.")
    return Section("waits", __doc__, rows, notes)


def python(*arguments):
    """Run this Python with these arguments, and without its output."""
    finished = subprocess.run([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL)
    if finished.returncode:
        raise InputError(f"{' '.join(map(str, arguments[:3]))} ended with status {finished.returncode}: see above")


def trace(page):
    """Write the page of numpygpt.trace, and delete it, because the command overwrites no file."""
    python("-m", "numpygpt.trace", "--model", default.MODEL, "--out", page)
    page.unlink()


def longest(clf, texts):
    """Return a text of as many tokens as the model has positions, made of these texts."""
    ids = clf.encoding.encode_ordinary(" ".join(texts))[: clf.config.n_positions]
    return clf.encoding.decode(ids)


def pytorch(clf, texts):
    """Return a function that answers the texts in PyTorch, from the same weights."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from . import peer

    gpt2 = peer.load(clf.config, clf.params)

    @torch.inference_mode()
    def answer():
        probabilities = torch.empty(len(texts), len(clf.labels))
        messages = [
            torch.tensor(ids[: clf.config.n_positions]) for ids in clf.encoding.encode_ordinary_batch(list(texts))
        ]
        for places in peer.batches_by_length(messages, AT_ONCE):
            batch = [messages[i] for i in places]
            lengths = torch.tensor(list(map(len, batch)))
            rows = gpt2.blocks(pad_sequence(batch, batch_first=True), 0)
            probabilities[places] = gpt2.classify_mean_above(rows, lengths, 0).softmax(-1)
        return probabilities.numpy()

    return answer
