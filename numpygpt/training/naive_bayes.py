"""The cheapest classifier there is, to see what a fine-tuned GPT-2 is worth: naive Bayes on word counts."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

WORD = re.compile(r"\b\w\w+\b")


class NaiveBayes:
    """Multinomial naive Bayes, learned in one pass over (text, label); the labels' order is that of the logits.

    A text is its words, in lower case, of two characters or more. Every word of the vocabulary is counted once more
    than it was seen, so that none is impossible. What scikit-learn's CountVectorizer and MultinomialNB do:
        log p(label | text) = log p(label) + sum_words log p(word | label) + a constant
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
        """(B, C): of each text, one number for each label; their softmax is the probabilities."""
        known = [[self.vocabulary[w] for w in WORD.findall(text.lower()) if w in self.vocabulary] for text in texts]
        rows = np.repeat(np.arange(len(texts)), list(map(len, known)))
        ids = np.fromiter(chain.from_iterable(known), int)
        sums = [np.bincount(rows, weights[ids], len(texts)) for weights in self.log_word]
        return self.log_label + np.transpose(sums)
