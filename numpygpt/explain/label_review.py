"""Which labels of a file look wrong: labels that a model, trained on the other messages, would not have given.

Every message gets its probabilities from a model that has not seen it (cross-validation): the messages are divided into
folds, and each fold is classified by a logistic regression trained on the others. It reads the pretrained model's
features, which depend on no label, so they are computed once for all folds. Messages with the same text are in the same
fold, since a model that saw one of them would know the other's label.

    margin = probability of the given label - the largest probability of another label

A margin below 0 makes a suspect; the lowest margin is the likeliest to be wrong. The strength of the regression's
penalty is chosen by the log-loss of the cross-validated probabilities: if many labels are wrong, a strong penalty keeps
the regression from learning them by heart.
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from ..system.blas import parallel
from ..system.errors import InputError, counted
from ..training.logistic import fit, probabilities

FOLDS, SEED = 5, 123
PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001)  # tried in this order, each from the weights of the one before
DUPLICATE, MODEL = "same text, other label", "model"


def review(texts, labels, features, folds=FOLDS, seed=SEED):
    """Return (suspects, number of labels that are expected to be wrong).

    Parameters
    ----------
    texts, labels : list of str
        The n messages.
    features : (n, D) ndarray
        What a model makes of each text, such as `GPT.features` returns.
    folds : int
        Into how many parts the messages are divided.
    seed : int
        Draws the folds.

    Returns
    -------
    pandas.DataFrame
        A row for each suspect: text; label; suggested, the likeliest other label; probability of the label and
        suggested_probability; why, "same text, other label" or "model"; message, its number from 1. First come messages
        with the same text and different labels, which need no model, and then the others, the likeliest first.
    int
        The estimate of `expected_wrong`.

    Raises
    ------
    InputError
        If there are fewer than two labels, or a label has fewer different texts than there are folds.
    """
    names = sorted(set(labels))
    numbers = np.searchsorted(names, labels)
    groups = np.unique([" ".join(text.split()).casefold() for text in texts], return_inverse=True)[1]
    fold = folds_of(numbers, groups, names, folds, seed)
    p = cross_validated(np.asarray(features), numbers, len(names), fold)
    own = p[np.arange(len(p)), numbers]
    others = p.copy()
    others[np.arange(len(p)), numbers] = -1
    margin, best = own - others.max(axis=1), others.argmax(axis=1)
    frame = pd.DataFrame(
        {
            "text": texts,
            "label": labels,
            "suggested": [names[i] for i in best],
            "probability": own,
            "suggested_probability": others.max(axis=1),
            "why": MODEL,
            "message": np.arange(1, len(texts) + 1),
        }
    )
    of_text = defaultdict(set)
    for group, number in zip(groups, numbers):
        of_text[group].add(number)
    conflicts = np.array([len(of_text[group]) > 1 for group in groups])
    frame.loc[conflicts, "why"] = DUPLICATE
    lowest = pd.Series(margin).groupby(groups).transform("min").to_numpy()  # keeps messages of one text together
    order = np.lexsort((margin, groups, np.where(conflicts, lowest, margin), ~conflicts))
    order = order[conflicts[order] | (margin[order] < 0)]
    return frame.iloc[order].reset_index(drop=True), expected_wrong(p, numbers)


def folds_of(numbers, groups, names, folds=FOLDS, seed=SEED):
    """Return each message's fold (n,), drawn at random. Labels are spread evenly, and equal texts stay together."""
    if len(names) < 2:
        raise InputError(f"every message has the label {names[0]!r}; a review needs at least two labels")
    first = np.unique(groups, return_index=True)[1]  # a message of each group
    for number, name in enumerate(names):
        count = len(set(groups[numbers == number]))
        if count < folds:
            raise InputError(
                f"label {name!r} has {counted(count, 'different message')}, fewer than the {folds} folds. Use "
                "more messages or fewer --folds"
            )
    rng, of_group = np.random.default_rng(seed), np.empty(len(first), int)
    for number in range(len(names)):
        some = rng.permutation(np.flatnonzero(numbers[first] == number))
        of_group[some] = (np.arange(len(some)) + rng.integers(folds)) % folds
    return of_group[groups]


def cross_validated(x, numbers, C, fold):
    """Return each message's probabilities (n, C) from the regression of the other folds, with the best of PENALTIES."""

    folds = [fold == k for k in range(fold.max() + 1)]
    weights, best = [None] * len(folds), (np.inf, None)
    for penalty in PENALTIES:

        def of_fold(k, penalty=penalty, weights=weights):
            return fit(x[~folds[k]], numbers[~folds[k]], C, penalty, weights[k])

        weights = parallel(of_fold, range(len(folds)))
        p = np.empty((len(x), C))
        for some, learned in zip(folds, weights):
            p[some] = probabilities(x[some], learned)
        loss = -np.log(np.maximum(p[np.arange(len(p)), numbers], 1e-300)).mean()
        if loss >= best[0]:  # a weaker penalty begins to learn wrong labels by heart
            break
        best = loss, p
    return best[1]


def expected_wrong(p, numbers):
    """Return how many labels are expected to be wrong: confident learning's count (Northcutt et al. 2021).

    A message counts for a label if its probability reaches the mean probability of that label among the messages that
    have it. A given label is counted as wrong if the message counts for other labels, one of which is likelier.
    """
    C = p.shape[1]
    thresholds = np.array([p[numbers == c, c].mean() if (numbers == c).any() else 1.0 for c in range(C)])
    confident = np.where(p >= thresholds, p, -1)
    return int(((confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != numbers)).sum())
