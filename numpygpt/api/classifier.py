"""The classifier for commands and notebooks: text in, labels out."""

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..model.classifier import classifier
from ..model.lora import adapters, merge
from ..model.pooling import Pooling
from ..model.tape import Tape
from ..model.trainable import choices, frozen_depth, trainable_names
from ..ops.softmax import softmax
from ..system.blas import parallel, threads
from ..system.errors import InputError, counted
from ..system.memory import release
from ..system.settings import CLASSIFIER, POSITIONS, checked
from ..text.batches import BATCH, encode, pack, padded_length
from ..text.seen import unseen_share
from ..training.batch import batch_loss, product_threads
from ..training.recipes import default_setting
from ..training.rng import Generator, linear_init
from .gpt import GPT

if TYPE_CHECKING:
    import pandas as pd


class Classifier:
    """A GPT-2 whose output layer is replaced by a small new head, with one logit per label.

    Parameters
    ----------
    gpt : GPT
        The pretrained model, from `numpygpt.load`. It is not changed: parameters that train are copied.
    labels : list of str
        The labels' names, in the order of the logits.
    trainable : str, optional
        The parameters to train (default: "last_block" for a model of GPT-2's widths, 768 and up; "last_two_blocks" for
        a narrower model): "head", "last_block" (with the final layernorm and the head), "last_two_blocks", "all",
        "lora", or glob patterns of names, separated by commas. All other parameters are frozen.
    pad : {"none", "end", "context"} or int
        "none": each message keeps its own length. "end": one <|endoftext|> is added after each message. "context" or a
        number of tokens: all messages are cut and padded to that length, as in the book. The command's "longest" is
        such a number, the length of the longest training message.
    position : {"mean", "last", "first"}, optional
        The row of a message that the head reads; "mean" is the mean of all rows (default: "last" for a model of GPT-2's
        widths, "mean" for a narrower model).
    causal : bool
        Whether a token attends only to itself and earlier tokens.
    rank : int
        The rank of LoRA's adapters.
    alpha : float
        LoRA's products are scaled by alpha / rank.
    seed : int
        Draws the head and LoRA's adapters, as PyTorch draws them.

    Attributes
    ----------
    params : dict of str to float32 ndarray
        All parameters by name, including the head. An optimizer updates the trainable ones in place.
    labels, config, encoding, gpt
        The labels' names; the model's sizes and tokenizer; and the pretrained GPT.
    seen_tokens : (V,) bool ndarray or None
        The tokens that the training messages had, after `fine_tune`. None if they are unknown.

    Raises
    ------
    InputError
        If a setting has an impossible value.

    Examples
    --------
    >>> import numpygpt
    >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], trainable="head")
    >>> sorted(clf.trainable)
    ['head.bias', 'head.weight']
    >>> clf.logits(["Hello there", "You have won"]).shape
    (2, 2)
    """

    def __init__(
        self,
        gpt: GPT,
        labels: Sequence[str],
        trainable: str | None = None,
        *,
        pad: str | int | None = "none",
        position: str | None = None,
        causal: bool = True,
        rank: int = 16,
        alpha: float = 16.0,
        seed: int = 123,
    ):
        if not isinstance(gpt, GPT):
            raise InputError(f"gpt: expected a GPT from numpygpt.load, not a {type(gpt).__name__}")
        trainable = default_setting(gpt.config, "trainable", trainable)
        position = default_setting(gpt.config, "position", position)
        if position not in POSITIONS:
            raise InputError(f"position {position!r}: use one of {', '.join(POSITIONS)}")
        if isinstance(labels, str):
            raise InputError(f"labels {labels!r}: expected a list of names, not one text")
        rank, alpha, seed = checked(CLASSIFIER, {"rank": rank, "alpha": alpha, "seed": seed}).values()
        self.gpt, self.config, self.encoding = gpt, gpt.config, gpt.encoding
        self.labels = [str(label) for label in labels]
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise InputError(f"labels {self.labels}: expected at least two names, all different")
        self.pad_to = padded_length("none" if pad is None else str(pad), [], self.config.n_positions)
        self.pooling = Pooling(position, causal)
        self.seen_tokens: np.ndarray | None = None
        self._run: Path | None = None  # the folder that load_run read
        self._unmerged: tuple = (None, None)  # its parameters, and the scale of LoRA's adapters among them
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
            pretrained, self.params[name] = self.params[name], np.array(self.params[name])  # a writable copy
            release(pretrained)

    @property
    def trainable(self) -> frozenset[str]:
        """The names of the trainable parameters, a frozenset. It is fixed when you create the Classifier."""
        return self._trainable

    @property
    def frozen_blocks(self) -> int:
        """The number of blocks below the lowest trainable parameter. Their output is a fixed function of the text."""
        return frozen_depth(self.trainable, self.config)

    def __repr__(self):
        learning = sum(self.params[name].size for name in self.trainable)
        padding = {None: "no padding", "end": "one <|endoftext|> after each message"}
        reads = "the mean of all rows" if self.pooling.position == "mean" else f"the {self.pooling.position} row"
        return (
            f"Classifier with {len(self.labels)} labels: {', '.join(self.labels[:6])}{' …' * (len(self.labels) > 6)}\n"
            f"  model      {self.gpt!r}\n"
            f"  trainable  {learning:,} parameters; frozen blocks: {self.frozen_blocks} of {self.config.n_layer}\n"
            f"  reads      {reads}; {padding.get(self.pad_to, f'{self.pad_to} tokens a message')}"
            f"{'' if self.pooling.causal else '; every token attends to all'}"
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the token ids of each text, cut and padded.

        Parameters
        ----------
        texts : list of str
            B texts.

        Returns
        -------
        list of (T,) int ndarray
            One array per text. T differs from text to text, unless `pad` is a length.

        Raises
        ------
        InputError
            If a text has no tokens.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], pad=8)
        >>> [len(ids) for ids in clf.encode(["Hi", "You have won a prize"])]
        [8, 8]
        """
        return list(encode(texts, self.encoding, self.pad_to, self.config.n_positions))

    def numbers(self, labels: Sequence[str]) -> np.ndarray:
        """Return the index (B,) of each label in `self.labels`. Raises InputError for an unknown label.

        Examples
        --------
        >>> import numpygpt
        >>> numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"]).numbers(["spam", "ham", "spam"])
        array([1, 0, 1])
        """
        if isinstance(labels, str):
            raise InputError(f"expected a list of labels, not one label: {labels[:40]!r}")
        for number, label in enumerate(labels, start=1):
            if not isinstance(label, str) and str(label) in ("None", "nan", "<NA>", "NaT"):  # pandas' empty cells
                raise InputError(f"message {number} has no label: {label!r}")
        place = {label: number for number, label in enumerate(self.labels)}
        unknown = sorted({str(label) for label in labels} - place.keys())
        if unknown:
            named = f"unknown label{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown[:5]))}"
            raise InputError(f"{named}: this classifier knows {', '.join(self.labels)}")
        return np.array([place[str(label)] for label in labels])

    def _labelled(self, texts: Sequence[str], labels: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the texts as `encode` does, and the labels as `numbers` does.

        Raises InputError if there are no texts, or not as many texts as labels.
        """
        messages, numbers = self.encode(texts), self.numbers(labels)
        if len(messages) != len(numbers) or not messages:
            given = f"{counted(len(messages), 'text')} and {counted(len(numbers), 'label')}"
            raise InputError(f"{given}: expected equally many, and at least one")
        return messages, numbers

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits (B, C), float32, of B texts. A text's largest logit is the answer.

        Raises InputError for a text without tokens.
        """
        return self._logits(self.encode(texts))

    def _logits(self, messages: Sequence[np.ndarray]) -> np.ndarray:
        """Like `logits`, but for messages of token ids. Splits the messages over all cores."""
        params, _ = merge(self.params, self.config, self.lora_scale)
        at_once = BATCH * threads() if self.config.narrow else BATCH  # a wide model needs more memory per message
        count = math.ceil(min(at_once, len(messages)) / threads())

        def logits(start):
            ids, lengths = pack(messages[start : start + count])
            with product_threads(self, 0):
                return classifier(Tape(params), ids, lengths, self.config, self.pooling)[0]

        parts = parallel(logits, range(0, len(messages), max(1, count)))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict(self, texts: Sequence[str]) -> "pd.DataFrame":
        """Classify texts.

        Parameters
        ----------
        texts : list of str
            B texts.

        Returns
        -------
        pandas.DataFrame
            A row for each text. The column `label` has the answer; a column with each label's name has the label's
            probability, float32.

        Raises
        ------
        InputError
            If a text has no tokens.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
        >>> clf.predict(["See you at six", "You have won a prize"]).columns.tolist()
        ['label', 'ham', 'spam']
        """
        import pandas as pd  # here: it takes longer than all that classify imports

        probabilities, _ = softmax(self.logits(texts))
        frame = pd.DataFrame(probabilities, columns=self.labels)
        frame.insert(0, "label", [self.labels[i] for i in probabilities.argmax(axis=1)], allow_duplicates=True)
        return frame

    def unseen(self, texts: Sequence[str]) -> np.ndarray:
        """Return the share of each text's tokens that no training message had.

        An answer to a text of mostly unseen tokens is poorly founded, whatever its probability.

        Parameters
        ----------
        texts : list of str
            B texts.

        Returns
        -------
        (B,) ndarray
            From 0 to 1. Nan if the training messages are unknown: before `fine_tune`, and for a run folder of an older
            version.

        Raises
        ------
        InputError
            If a text has no tokens.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], trainable="head")
        >>> _ = numpygpt.fine_tune(clf, [("See you at six", "ham"), ("You have won a prize", "spam")] * 4)
        >>> clf.unseen(["You have won", "Call me", "You have lost"]).round(2).tolist()
        [0.0, 1.0, 0.33]
        """
        padding = self.encoding.eot_token
        return np.array([unseen_share(ids, padding, self.seen_tokens) for ids in self.encode(texts)])

    def loss(self, texts: Sequence[str], labels: Sequence[str]) -> tuple[float, dict[str, np.ndarray]]:
        """Return the mean cross-entropy of texts with these labels, and its gradients.

        Parameters
        ----------
        texts, labels : list of str
            B texts and their B labels.

        Returns
        -------
        float
            The loss, in nats.
        dict of str to ndarray
            The gradient of every trainable parameter, with the parameter's shape.

        Raises
        ------
        InputError
            If the lists are empty or differ in length, a label is unknown, or a text has no tokens.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], trainable="head")
        >>> loss, grads = clf.loss(["See you at six", "You have won a prize"], ["ham", "spam"])
        >>> grads["head.weight"].shape == clf.params["head.weight"].shape
        True
        >>> numpygpt.AdamW(clf.params, clf.trainable, lr=1e-3).step(grads)
        >>> clf.loss(["See you at six", "You have won a prize"], ["ham", "spam"])[0] < loss
        True
        """
        messages, numbers = self._labelled(texts, labels)
        ids, lengths = pack(messages)
        return batch_loss(self, ids, lengths, numbers, 0)

    def trace(self, text: str, label: str, folded: bool = False):
        """Record every step of a message's forward and backward pass.

        Parameters
        ----------
        text, label : str
            The message and its label.
        folded : bool
            Run the last block only for the one row that the head reads, as training does.

        Returns
        -------
        numpygpt.study.trace.trace.Trace
            A notebook shows it. trace["h.0.ln_1"]["xhat"] is an array; trace.save("trace.html") writes the page.

        Raises
        ------
        InputError
            If the message has no tokens, or the label is unknown.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
        >>> clf.trace("Hello there", "ham")["h.0.ln_1"]["xhat"].shape[1] == clf.config.n_embd
        True
        """
        from ..study.trace.trace import trace_classifier

        return trace_classifier(self, text, label, folded)

    def explain(self, text: str, baseline: str = "padding", tolerance: float = 0.01):
        """Explain which tokens decide the answer.

        Parameters
        ----------
        text : str
            The message.
        baseline : {"padding", "zero"}
            What the message is compared with: the embedding of the padding token at every position, or zero.
        tolerance : float
            How closely the integrated gradients must add up to the change of the margin.

        Returns
        -------
        numpygpt.explain.attribution.Explanation
            For each token: integrated gradients of the margin, gradient times input, and the effect of its deletion.

        Raises
        ------
        InputError
            If the message has no tokens.
        """
        from ..explain.attribution import explain

        return explain(self, text, baseline, tolerance)

    def because(self, text: str, k: int = 5, method: str | None = None, training=None):
        """Find the training messages that speak most for and most against the answer to a text.

        Parameters
        ----------
        text : str
            The message.
        k : int
            How many training messages to print on each side.
        method : {"tracin", "head", "influence"}, optional
            "tracin": how much each message lowered the loss of the answer during training, from the gradients at the
            end of each epoch. "head": how much the loss would grow without the message, if the head alone were trained
            again: the influence function. "influence": the same for all trainable parameters, which takes minutes. The
            default is "head" if the head alone was trained, else "tracin".
        training : list of (text, label), tuple (texts, labels) or DataFrame, optional
            The training messages, if the classifier was not loaded from a run of `python -m numpygpt.train`.

        Returns
        -------
        numpygpt.explain.because.Because
            print() shows the messages; `table` has the scores of all of them, in nats of the answer's loss.

        Raises
        ------
        InputError
            If the training messages are unknown, or the run kept no epochs, which "tracin" needs.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], trainable="head")
        >>> training = [("See you at six", "ham"), ("You have won a prize", "spam")]
        >>> clf.because("You have won", training=training).table.columns.tolist()
        ['text', 'label', 'score']
        """
        from .because import teachers

        return teachers(self, training, method).because(text, k)

    def evaluate(self, texts: Iterable[str], labels: Iterable[str]):
        """Measure the classifier on texts with known labels.

        Parameters
        ----------
        texts, labels : iterable of str
            The texts and their labels, which are read lazily.

        Returns
        -------
        numpygpt.training.evaluation.Evaluation
            The figures. print() shows them; to_dict() returns them for JSON.

        Raises
        ------
        InputError
            If a label is unknown, a text is empty, the numbers of texts and labels differ, or there are none.

        Examples
        --------
        >>> import numpygpt
        >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"])
        >>> clf.evaluate(["See you at six", "You have won a prize"], ["ham", "spam"]).messages
        2
        """
        from ..training.evaluation import evaluate

        return evaluate(self, _pairs(texts, labels))

    def save(self, folder: str | Path, settings: dict | None = None) -> None:
        """Write a run folder, from which `numpygpt.load_run` loads the classifier.

        Parameters
        ----------
        folder : str or Path
            The folder to write.
        settings : dict, optional
            Further entries of the folder's run.json, which JSON can store.

        Raises
        ------
        InputError
            If the folder already holds a run, or JSON cannot store the settings.
        """
        from ..training.run_folder import save_run

        save_run(folder, self, settings or {})


def _pairs(texts, labels):
    if isinstance(texts, str) or isinstance(labels, str):
        raise InputError("expected a list of texts and a list of labels, not one text")
    for text, label in zip_longest(texts, labels):
        if text is None or label is None:
            raise InputError("the numbers of texts and labels differ")
        yield text, label
