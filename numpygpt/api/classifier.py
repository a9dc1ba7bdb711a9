"""The classifier with all that belongs to it: text in, labels out. What the commands and a notebook use."""

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from ..model.classifier import classifier
from ..model.lora import adapters, merge
from ..model.pooling import POSITIONS, Pooling
from ..model.tape import Tape
from ..model.trainable import choices, frozen_depth, trainable_names
from ..ops.softmax import softmax
from ..system.blas import parallel, threads
from ..system.errors import InputError
from ..system.memory import release
from ..system.settings import CLASSIFIER, checked
from ..text.batches import BATCH, encode, pack, padded_length
from ..training.batch import batch_loss, product_threads
from ..training.recipes import DEFAULT
from ..training.rng import Generator, linear_init
from .gpt import GPT


class Classifier:
    """A GPT-2 whose output layer is replaced by a small new head, one logit for each label.

    gpt         what `numpygpt.load` gives. Its parameters are not changed: those that learn are copied.
    labels      the labels' names, in the order of the logits
    trainable   what learns: "head", "last_block" (with the final layernorm and the head), "last_two_blocks", "all",
                "lora", or names as glob patterns, separated by commas
    pad         "end": each message has its own length and one <|endoftext|> after it; "none": without that.
                A number, or "context": all are cut and padded to so many tokens, as in the book. The command's
                "longest" is a number, too: that of the longest training message's tokens
    position    the row that is classified: "last", "first", or "mean" for the mean of all
    causal      whether a token sees only those before it
    rank, alpha   of LoRA's adapters, which count alpha / rank times
    seed        draws the head, and LoRA's adapters, as PyTorch would

    params {name: array} and trainable, a set of names, are what an optimizer needs. Raises InputError for settings
    that cannot be.
    """

    def __init__(
        self,
        gpt: GPT,
        labels: Sequence[str],
        trainable: str = DEFAULT["trainable"],
        *,
        pad: str | int | None = DEFAULT["pad"],
        position: str = DEFAULT["position"],
        causal: bool = True,
        rank: int = 16,
        alpha: float = 16.0,
        seed: int = 123,
    ):
        if not isinstance(gpt, GPT):
            raise InputError(f"gpt: expected what numpygpt.load returns, not a {type(gpt).__name__}")
        if position not in POSITIONS:
            raise InputError(f"position {position!r}: use one of {', '.join(POSITIONS)}")
        if isinstance(labels, str):
            raise InputError(f"labels {labels!r}: expected a list of names, not one text")
        rank, alpha, seed = checked(CLASSIFIER, {"rank": rank, "alpha": alpha, "seed": seed}).values()
        self.gpt, self.config, self.encoding = gpt, gpt.config, gpt.encoding
        self.labels = [str(label) for label in labels]
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise InputError(f"labels {self.labels}: at least two are needed, all different")
        self.pad_to = padded_length("none" if pad is None else str(pad), [], self.config.n_positions)
        self.pooling = Pooling(position, causal)
        generator = Generator(seed)
        self.params: dict[str, np.ndarray] = dict(gpt.params)
        head = linear_init(generator, self.config.n_embd, len(self.labels))
        self.params["head.weight"], self.params["head.bias"] = head
        self.lora_scale: float | None = None
        if "lora" in choices(trainable):
            self.params |= adapters(self.params, self.config, rank, generator)
            self.lora_scale = alpha / rank
        self._trainable: frozenset[str] = trainable_names(trainable, self.params, self.config)
        for name in self.trainable:
            pretrained, self.params[name] = self.params[name], np.array(self.params[name])  # a copy to be written to
            release(pretrained)

    @property
    def trainable(self) -> frozenset[str]:
        """The names of the parameters that learn. Choose them when you make the Classifier: only they are copies."""
        return self._trainable

    @property
    def frozen_blocks(self) -> int:
        """How many of the lowest blocks come before everything that learns."""
        return frozen_depth(self.trainable, self.config)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """(T,) token ids of each text, cut and padded. Raises InputError for a text without tokens."""
        return list(encode(texts, self.encoding, self.pad_to, self.config.n_positions))

    def numbers(self, labels: Sequence[str]) -> np.ndarray:
        """(B,) the labels' places in `self.labels`. Raises InputError for a label that is not among them."""
        if isinstance(labels, str):
            raise InputError(f"expected a list of labels, not one by itself: {labels[:40]!r}")
        place = {label: number for number, label in enumerate(self.labels)}
        unknown = sorted({str(label) for label in labels} - place.keys())
        if unknown:
            raise InputError(
                f"unknown label {', '.join(map(repr, unknown[:5]))}: this classifier knows {', '.join(self.labels)}"
            )
        return np.array([place[str(label)] for label in labels])

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """(B, C) float32: of each text, one number for each label; the largest is the answer."""
        return self._logits(self.encode(texts))

    def _logits(self, messages: Sequence[np.ndarray]) -> np.ndarray:
        """The same of messages of token ids: some on each core."""
        params, _ = merge(self.params, self.config, self.lora_scale)
        at_once = BATCH * threads() if self.config.narrow else BATCH  # a wide model's rows take memory
        count = math.ceil(min(at_once, len(messages)) / threads())

        def logits(start):
            ids, lengths = pack(messages[start : start + count])
            with product_threads(self, 0):
                return classifier(Tape(params), ids, lengths, self.config, self.pooling)[0]

        parts = parallel(logits, range(0, len(messages), max(1, count)))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """A row for each text: its `label`, and in a column of each label's name, float32, that label's probability."""
        probabilities, _ = softmax(self.logits(texts))
        frame = pd.DataFrame(probabilities, columns=self.labels)
        frame.insert(0, "label", [self.labels[i] for i in probabilities.argmax(axis=1)], allow_duplicates=True)
        return frame

    def loss(self, texts: Sequence[str], labels: Sequence[str]) -> tuple[float, dict[str, np.ndarray]]:
        """The mean cross-entropy of the texts, in nats, and its gradients {name: array} for exactly the trainable
        names."""
        messages, numbers = self.encode(texts), self.numbers(labels)
        if len(messages) != len(numbers) or not messages:
            raise InputError(
                f"{len(messages)} texts and {len(numbers)} labels: expected as many of both, and at least one"
            )
        ids, lengths = pack(messages)
        return batch_loss(self, ids, lengths, numbers, 0)

    def weights(self):
        """Return `merge`'s result: the parameters that the model runs on, and how gradients reach LoRA's adapters."""
        return merge(self.params, self.config, self.lora_scale)

    def trace(self, text: str, label: str, folded: bool = False):
        """Record the message's way through the model, forward and back: a `numpygpt.study.trace.trace.Trace`.

        A notebook shows it; trace["h.0.ln_1"]["xhat"] is an array, trace.save("trace.html") writes the page.
        folded   run the last block for the one row that is read, as training does

        Raises InputError for a message without tokens or an unknown label.
        """
        from ..study.trace.trace import trace_classifier

        return trace_classifier(self, text, label, folded)

    def explain(self, text: str, baseline: str = "padding", tolerance: float = 0.01):
        """Which tokens made the answer what it is: a `numpygpt.explain.attribution.Explanation`.

        For each token integrated gradients of the margin, gradient times input, and what deleting it does.
        baseline    what the message is compared with: "padding", the padding's embedding in every place, or "zero"
        tolerance   how exactly the integrated gradients are to add up

        Raises InputError for a message without tokens.
        """
        from ..explain.attribution import explain

        return explain(self, text, baseline, tolerance)

    def evaluate(self, texts: Iterable[str], labels: Iterable[str]):
        """How good its answers to the texts are, whose labels are these: a
        `numpygpt.training.evaluation.Evaluation`, which print() shows and to_dict() gives as JSON.

        Any iterables will do, of any length: the texts are read as they are needed. Raises InputError for an unknown
        label, an empty text, and where there are not as many of both, or none.
        """
        from ..training.evaluation import evaluate

        return evaluate(self, _pairs(texts, labels))

    def save(self, folder: str | Path, settings: dict | None = None) -> None:
        """Write a run folder: what was trained and all that `numpygpt.load_run` needs; `settings`, JSON-able, are
        kept beside it.

        Raises InputError where the folder holds a run already.
        """
        from ..training.run_folder import save_run

        save_run(folder, self, settings or {})


def _pairs(texts, labels):
    if isinstance(texts, str) or isinstance(labels, str):
        raise InputError("expected a list of texts and a list of labels, not one text by itself")
    for text, label in zip_longest(texts, labels):
        if text is None or label is None:
            raise InputError("there are not as many texts as labels")
        yield text, label
