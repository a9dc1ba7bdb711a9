"""Load a pretrained GPT-2 and use it: logits, features, generation."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tiktoken

from ..checkpoints.load import OUTPUT, locate, open_checkpoint, tokenizer_of, weights_of
from ..model.config import Config
from ..model.continuation import Sampler, continuation
from ..model.features import features
from ..model.language import language_logits
from ..model.parameters import random_parameters
from ..model.tape import Tape
from ..system.blas import parallel
from ..system.errors import InputError
from ..system.settings import INITIALISATIONS, LOADING, SAMPLING, checked
from ..text.batches import BATCH, encode, pack
from ..text.tokenizer import encode_message


@dataclass(repr=False, eq=False)
class GPT:
    """A pretrained GPT-2. `numpygpt.load` returns one.

    Parameters
    ----------
    config : Config
        The sizes of the model.
    params : dict of str to ndarray
        Float32 arrays under GPT-2's names.
    encoding : tiktoken.Encoding
        The tokenizer.
    source : str
        The name or path from which the model was loaded.
    weights : {"pretrained", "random", "pytorch"}
        "pretrained" if the parameters come from the source. "random" and "pytorch" are two kinds of random parameters
        of the same sizes.
    seed : int
        The seed of random parameters.
    tied : bool
        Whether the output layer is the token embedding, as in GPT-2. If not, the output layer was set aside: the model
        can be fine-tuned, but predicts no next token.

    Examples
    --------
    >>> import numpygpt
    >>> gpt = numpygpt.load("mini")
    >>> gpt.config.n_layer, gpt.config.n_embd
    (3, 224)
    """

    config: Config
    params: dict[str, np.ndarray]
    encoding: tiktoken.Encoding
    source: str
    weights: str = "pretrained"
    seed: int = 123
    tied: bool = True

    def __post_init__(self):
        for name, array in self.params.items():
            if np.asarray(array).dtype.kind != "f":
                raise InputError(f"parameter {name} has dtype {np.asarray(array).dtype}: expected real floats")
        self.params = {name: np.asarray(array, np.float32) for name, array in self.params.items()}  # no copy of float32

    def __repr__(self):
        kind = "" if self.weights == "pretrained" else f", {self.weights} weights"
        count = sum(array.size for array in self.params.values())
        return f"GPT {self.source}{kind}: {self.config.described()}, {count:,} parameters"

    def _check_tied(self):
        """Raise InputError if the model cannot predict a next token."""
        if not self.tied:
            raise InputError(
                f"{self.source}: its output layer differs from its token embedding, which numpygpt does not compute; "
                "the model can be fine-tuned, but predicts no next token"
            )

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Parameters
        ----------
        text : str
            A literal `<|endoftext|>` in the text is ordinary text.

        Returns
        -------
        list of int
            At most `config.n_positions` token ids.

        Raises
        ------
        InputError
            If the text is not a string, or has more tokens.

        Examples
        --------
        >>> import numpygpt
        >>> gpt = numpygpt.load("mini")
        >>> gpt.encode("Call me")
        [34, 342, 335]
        """
        if not isinstance(text, str):
            raise InputError(f"expected a text, got {text!r}")
        ids = encode_message(self.encoding, text)
        if len(ids) > self.config.n_positions:
            raise InputError(
                f"the text has {len(ids)} tokens, but {self.source} takes at most {self.config.n_positions}; shorten it"
            )
        return ids

    def logits(self, text: str | Sequence[int]) -> np.ndarray:
        """Return the logits of the next token after each token of a text.

        Parameters
        ----------
        text : str or sequence of int
            A text, or T token ids.

        Returns
        -------
        ndarray of float32, shape (T, V)
            Row t has a logit for each of the V vocabulary entries as the token after token t.

        Raises
        ------
        InputError
            If the text has no tokens, too many tokens or an unknown token id.

        Examples
        --------
        >>> import numpygpt
        >>> gpt = numpygpt.load("mini")
        >>> logits = gpt.logits("Thank")
        >>> gpt.encoding.decode([int(logits[-1].argmax())])
        ' you'
        """
        self._check_tied()
        given = self.encode(text) if isinstance(text, str) else text
        try:
            ids = np.asarray(given)
        except ValueError:  # lists of several lengths
            ids = np.empty(0)
        fits = ids.ndim == 1 and ids.dtype.kind in "iu" and 0 < len(ids) <= self.config.n_positions
        if not fits or not 0 <= ids.min() <= ids.max() < self.config.vocab_size:
            raise InputError(
                f"expected a text, or 1 to {self.config.n_positions} whole numbers below {self.config.vocab_size} as "
                "token ids"
            )
        return language_logits(Tape(self.params), ids, np.array([len(ids)]), self.config)

    def features(
        self, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Return features of texts for another classifier, which helps if labels are scarce.

        The features are the mean rows of every depth of the model; see `numpygpt.model.features`.

        Parameters
        ----------
        texts : sequence of str
            B texts. Each text is cut to `config.n_positions` tokens.
        progress : callable
            Called with the number of texts done, and of all texts.

        Returns
        -------
        ndarray of float32, shape (B, (n_layer + 1) n_embd)

        Raises
        ------
        InputError
            If a text has no tokens.

        Examples
        --------
        >>> import numpygpt
        >>> numpygpt.load("mini").features(["Are you home?", "You have WON"]).shape
        (2, 896)
        """
        messages = list(encode(texts, self.encoding, None, self.config.n_positions))

        def some(start):
            ids, lengths = pack(messages[start : start + BATCH])
            progress(start, len(messages))
            return features(Tape(self.params), ids, lengths, self.config)

        width = (self.config.n_layer + 1) * self.config.n_embd
        return np.concatenate([np.empty((0, width), np.float32), *parallel(some, range(0, len(messages), BATCH))])

    def trace(self, text: str, trainable: str = "all"):
        """Trace a text through the language model's loss, forward and backward, with every number.

        Parameters
        ----------
        text : str
            A text of at least two tokens.
        trainable : str
            The parameters that learn, as for a Classifier.

        Returns
        -------
        Trace
            A `numpygpt.study.trace.trace.Trace`, like that of Classifier.trace.

        Raises
        ------
        InputError
            If the text has fewer than two tokens.

        Examples
        --------
        >>> import numpygpt
        >>> trace = numpygpt.load("mini").trace("See you soon")
        """
        from ..study.trace.trace import trace_language

        self._check_tied()
        return trace_language(self, text, trainable)

    def generate(self, prompt: str = "", tokens: int = 60, **sampling) -> str:
        """Return a continuation of the prompt.

        It ends before `<|endoftext|>`, after `tokens` tokens, or when the model's positions are full.

        Parameters
        ----------
        prompt : str
            The beginning of the text.
        tokens : int
            The largest number of tokens to generate.
        **sampling
            As in `stream`.

        Returns
        -------
        str

        Raises
        ------
        InputError
            If the prompt has too many tokens or the model's output is not a number.

        Examples
        --------
        >>> import numpygpt
        >>> numpygpt.load("mini").generate("Thank", tokens=6, greedy=True)
        ' you for your help.'
        """
        return "".join(self.stream(prompt, tokens, **sampling))

    def stream(
        self,
        prompt: str = "",
        tokens: int = 60,
        greedy: bool = False,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 123,
    ) -> Iterator[str]:
        """Yield a continuation of the prompt, text by text, as the model generates it.

        Parameters
        ----------
        prompt : str
            The beginning of the text.
        tokens : int
            The largest number of tokens to generate.
        greedy : bool
            Take the most probable token each time, and ignore the parameters below.
        temperature : float
            Divides the logits. Values below 1 favour probable tokens.
        top_k : int, optional
            Draw only from the k most probable tokens.
        top_p : float, optional
            Draw only from the most probable tokens that together have this probability.
        seed : int
            The seed of the draws.

        Yields
        ------
        str
            The text of one token. It is empty while a character is incomplete.

        Raises
        ------
        InputError
            If a number is outside its bounds in SAMPLING, the prompt has too many tokens, or the model's output is not
            a number.

        Examples
        --------
        >>> import numpygpt
        >>> list(numpygpt.load("mini").stream("Thank", tokens=3, greedy=True))
        [' you', ' for', ' your', '']
        """
        self._check_tied()
        numbers = dict(tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        tokens, *sampling = checked(SAMPLING, numbers).values()
        end = self.encoding.eot_token
        draw: Callable = np.argmax if greedy else Sampler(*sampling)
        ids = self.encode(prompt) or [end]
        # An embedding may have more rows than the tokenizer has tokens. Extra rows are never drawn.
        found = continuation(self.params, self.config, ids, lambda logits: draw(logits[: self.encoding.n_vocab]))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be several tokens
        for token in islice(found, tokens):
            if token == end:
                break
            yield decoder.decode(self.encoding.decode_single_token_bytes(token))
        yield decoder.decode(b"", final=True)


def load(source: str, weights: str = "pretrained", seed: int = 123, heads: int | None = None) -> GPT:
    """Load a GPT-2 by name or path.

    Parameters
    ----------
    source : str
        A path to a folder or file with the weights of a GPT-2, in any usual format; or a name: "mini" (bundled),
        "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl" (downloaded once). An existing path wins over a name.
    weights : {"pretrained", "random", "pytorch"}
        "pretrained" keeps the source's parameters. "random" and "pytorch" replace them by random parameters, drawn as
        in GPT-2 or with PyTorch's defaults.
    seed : int
        The seed of random parameters.
    heads : int, optional
        The number of attention heads. Only weights without a config.json need it, if their width is none of GPT-2's.

    Returns
    -------
    GPT

    Raises
    ------
    InputError
        If something is missing, damaged or not GPT-2's. The message names the file.

    Examples
    --------
    >>> import numpygpt
    >>> gpt = numpygpt.load("mini")
    >>> sum(array.size for array in gpt.params.values())
    2560992
    """
    kinds = ("pretrained", *INITIALISATIONS)
    if weights not in kinds:
        raise InputError(f"weights {weights!r}: use one of {', '.join(kinds)}")
    checked(LOADING, {"seed": seed, "heads": heads})
    checkpoint = open_checkpoint(locate(source), heads)
    config, encoding, tied = checkpoint.config, tokenizer_of(checkpoint), OUTPUT not in checkpoint.head
    if weights == "pretrained":
        return GPT(config, weights_of(checkpoint, language=False), encoding, str(source), weights, seed, tied)
    return GPT(config, random_parameters(config, seed, weights), encoding, str(source), weights, seed)
