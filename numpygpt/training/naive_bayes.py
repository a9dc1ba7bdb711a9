"""The baseline: naive Bayes on word counts, a cheap classifier to compare a fine-tuned GPT-2 with."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

WORD = re.compile(r"\b\w\w+\b")


class NaiveBayes:
    """Multinomial naive Bayes, trained in one pass over (text, label). The logits are in the order of `labels`.

    A text counts as its lower-case words of two characters or more. Every count of a word is one higher than observed,
    so that no word has probability 0. scikit-learn's CountVectorizer and MultinomialNB do the same:
        log p(label | text) = log p(label) + sum_words log p(word | label) + a constant

    Parameters
    ----------
    messages : iterable of (text, label)
        The training messages.
    labels : list of str
        The labels' names.

    Examples
    --------
    >>> naive_bayes = NaiveBayes([("see you at six", "ham"), ("you won a prize", "spam")], ["ham", "spam"])
    >>> naive_bayes.logits(["a prize for you"]).argmax(axis=1)
    array([1])
    """

    def __init__(self, messages: Iterable[tuple[str, str]], labels: Sequence[str]):
        words: dict[str, Counter] = {label: Counter() for label in labels}
        count = dict.fromkeys(labels, 0)
        for text, label in messages:
            words[label].update(WORD.findall(text.lower()))
            count[label] += 1
        self.vocabulary = {word: place for place, word in enumerate(set().union(*words.values()))}
        seen = np.array([[words[label][word] for word in self.vocabulary] for label in labels]) + 1.0  # (C, V)
        with np.errstate(divide="ignore"):  # a label without a message has probability 0
            self.log_label = np.log(list(count.values())) - np.log(sum(count.values()))  # (C,)
        self.log_word = np.log(seen) - np.log(seen.sum(axis=1, keepdims=True))  # (C, V)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the logits (B, C): one number per text and label. Their softmax gives the probabilities."""
        known = [[self.vocabulary[w] for w in WORD.findall(text.lower()) if w in self.vocabulary] for text in texts]
        rows = np.repeat(np.arange(len(texts)), list(map(len, known)))
        ids = np.fromiter(chain.from_iterable(known), int)
        sums = [np.bincount(rows, weights[ids], len(texts)) for weights in self.log_word]
        return self.log_label + np.transpose(sums)
