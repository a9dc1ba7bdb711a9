"""A pretrained GPT-2, ready to use: what `numpygpt.load` gives."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tiktoken

from ..checkpoints.load import load_checkpoint
from ..model.config import Config
from ..model.continuation import Sampler, continuation
from ..model.features import features
from ..model.language import language_logits
from ..model.parameters import INITIALISATIONS, random_parameters
from ..model.tape import Tape
from ..system.blas import parallel
from ..system.errors import InputError
from ..system.settings import CLASSIFIER, SAMPLING, checked
from ..text.batches import BATCH, encode, pack
from ..text.tokenizer import encode_message


@dataclass
class GPT:
    """A GPT-2: its sizes, its parameters {GPT-2's name: float32 array}, its tokenizer, and where they come from.

    weights   "pretrained": the source's own; "random" or "pytorch": its sizes, with random parameters drawn from `seed`
    """

    config: Config
    params: dict[str, np.ndarray]
    encoding: tiktoken.Encoding
    source: str
    weights: str = "pretrained"
    seed: int = 123

    def __post_init__(self):
        for name, array in self.params.items():
            if np.asarray(array).dtype.kind != "f":
                raise InputError(f"parameter {name} has dtype {np.asarray(array).dtype}: expected real floats")
        self.params = {name: np.asarray(array, np.float32) for name, array in self.params.items()}  # no copy of float32

    def encode(self, text: str) -> list[int]:
        """The token ids of a text. A literal `<|endoftext|>` in it is text like any other. Raises InputError for
        what is no text, and for one of too many tokens."""
        if not isinstance(text, str):
            raise InputError(f"expected a text, got {text!r}")
        ids = encode_message(self.encoding, text)
        if len(ids) > self.config.n_positions:
            raise InputError(f"the text has {len(ids)} tokens; {self.source} takes at most {self.config.n_positions}")
        return ids

    def logits(self, text: str | Sequence[int]) -> np.ndarray:
        """(T, V) float32: after each of the text's T tokens, the next one's logits. Token ids may be given instead of
        the text."""
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

    def features(self, texts: Sequence[str]) -> np.ndarray:
        """(B, (n_layer + 1) n_embd) float32: what the model makes of each text at every depth, for another
        classifier, as where labels are few: see `model.features`.

        A text is cut to the model's positions. Raises InputError for one without tokens.
        """
        messages = list(encode(texts, self.encoding, None, self.config.n_positions))

        def some(start):
            ids, lengths = pack(messages[start : start + BATCH])
            return features(Tape(self.params), ids, lengths, self.config)

        width = (self.config.n_layer + 1) * self.config.n_embd
        return np.concatenate([np.empty((0, width), np.float32), *parallel(some, range(0, len(messages), BATCH))])

    def trace(self, text: str, trainable: str = "all"):
        """The text's way through the language model's loss, forward and back, with every number.

        A `numpygpt.study.trace.trace.Trace`, as Classifier.trace gives.
        trainable   what learns, as for a Classifier. Raises InputError for a text of fewer than two tokens.
        """
        from ..study.trace.trace import trace_language

        return trace_language(self, text, trainable)

    def generate(self, prompt: str = "", tokens: int = 60, **sampling) -> str:
        """The prompt's continuation, up to `<|endoftext|>` or so many tokens, or until the model's positions are full.

        sampling   as in `stream`
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
        """The continuation as it is made, piece by piece.

        greedy   take the most probable token each time, instead of drawing one as a Sampler with the other settings
                 does

        Raises InputError for a number outside SAMPLING's bounds, and where the prompt is too long or the model's output
        is no number.
        """
        numbers = dict(tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        tokens, *sampling = checked(SAMPLING, numbers).values()
        end = self.encoding.eot_token
        draw: Callable = np.argmax if greedy else Sampler(*sampling)
        ids = self.encode(prompt) or [end]
        # An embedding may have more rows than there are tokens; those are never drawn.
        found = continuation(self.params, self.config, ids, lambda logits: draw(logits[: self.encoding.n_vocab]))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be several tokens
        for token in islice(found, tokens):
            if token == end:
                break
            yield decoder.decode(self.encoding.decode_single_token_bytes(token))
        yield decoder.decode(b"", final=True)


def load(source: str, weights: str = "pretrained", seed: int = 123) -> GPT:
    """A GPT-2 by name or path.

    source    "mini" (bundled); "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl" (downloaded once); or a folder or
              file with the weights of one, in any usual format. What exists under that path wins over a name.
    weights, seed   see GPT

    Raises InputError, naming the file, where something is missing, damaged or not GPT-2's.
    """
    kinds = ("pretrained", *INITIALISATIONS)
    if weights not in kinds:
        raise InputError(f"weights {weights!r}: use one of {', '.join(kinds)}")
    checked(CLASSIFIER, {"seed": seed})
    config, params, encoding = load_checkpoint(source)
    if weights != "pretrained":
        params = random_parameters(config, seed, weights)
    return GPT(config, dict(params), encoding, str(source), weights, seed)
