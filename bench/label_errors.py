"""python -m bench.label_errors FILE: how many flipped labels `numpygpt.review` finds, in the sample and in FILE,
the UCI SMS Spam Collection.

The labels of 5, 10 and 20 % of the messages, drawn at random, are flipped. The messages are then ranked by the
cross-validated probability of their given label. "Found" is the share of flipped messages among the first messages of
the ranking, as many as were flipped. "Area" is the area under the ROC curve: the probability that a flipped message
ranks before an unflipped one. Both are means over five seeds, with the lowest. For comparison: cleanlab's ranking and
find_label_issues on the same probabilities, and cleanlab's ranking on a logistic regression over word counts
(scikit-learn's settings).
"""

import argparse

import numpy as np

from numpygpt.api.gpt import load
from numpygpt.explain.label_review import cross_validated, folds_of
from numpygpt.system import command
from numpygpt.text.messages import read_messages
from numpygpt.text.sources import find_messages

from .machine import need

RATES, SEEDS = (0.05, 0.10, 0.20), range(123, 128)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.label_errors", description=__doc__)
    parser.add_argument("file", metavar="FILE", help="the UCI SMS Spam Collection")
    args = parser.parse_args(argv)
    need("cleanlab", "sklearn")
    frames = {name: read_messages(path) for name, path in (("sample", find_messages("sample")), ("UCI", args.file))}
    gpt = load("mini")
    print("| data, flipped | ranking | found | area |\n|---|---|---|---|")
    for name, frame in frames.items():
        texts, labels = frame["Text"].tolist(), frame["Label"].tolist()
        features = gpt.features(texts)
        for rate in RATES:
            runs = [measured(texts, labels, features, rate, seed) for seed in SEEDS]
            for ranking in runs[0]:
                found, area = np.array([run[ranking] for run in runs]).T
                print(
                    f"| {name}, {rate:.0%} | {ranking} | {found.mean():.1%} (lowest {found.min():.1%}) | "
                    f"{area.mean():.3f} |",
                    flush=True,
                )


def measured(texts, labels, features, rate, seed):
    """Return {ranking: (share found, area under the curve)}."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    names, rng = sorted(set(labels)), np.random.default_rng(seed)
    numbers = np.searchsorted(names, labels)
    flipped = rng.choice(len(numbers), round(rate * len(numbers)), replace=False)
    numbers[flipped] = 1 - numbers[flipped]
    groups = np.unique([" ".join(text.split()).casefold() for text in texts], return_inverse=True)[1]
    fold = folds_of(numbers, groups, names)
    p = cross_validated(features, numbers, len(names), fold)
    words = by_words(texts, numbers, fold)
    rows = np.arange(len(p))
    found = {
        "numpygpt.review": p[rows, numbers] - p[rows, 1 - numbers],
        "cleanlab, the same probabilities": get_label_quality_scores(numbers, p),
        "cleanlab, words": get_label_quality_scores(numbers, words),
    }
    result = {name: (share_found(scores, flipped), area_under(scores, flipped)) for name, scores in found.items()}
    issues = find_label_issues(numbers, p, return_indices_ranked_by="self_confidence")[: len(flipped)]
    return result | {"cleanlab, find_label_issues": (np.isin(issues, flipped).sum() / len(flipped), np.nan)}


def by_words(texts, numbers, fold):
    """Return probabilities (n, 2) from a logistic regression over word counts, cross-validated with the same folds."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    p, texts = np.empty((len(texts), 2)), np.array(texts, dtype=object)
    for k in range(fold.max() + 1):
        counts = CountVectorizer().fit(texts[fold != k])
        model = LogisticRegression(max_iter=1000).fit(counts.transform(texts[fold != k]), numbers[fold != k])
        p[fold == k] = model.predict_proba(counts.transform(texts[fold == k]))
    return p


def share_found(scores, flipped):
    first = np.argsort(scores, kind="stable")[: len(flipped)]
    return np.isin(first, flipped).mean()


def area_under(scores, flipped):
    """Return the probability that a flipped message has a lower score than one that is not (Mann and Whitney 1947)."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    count, rest = len(flipped), len(scores) - len(flipped)
    return 1 - (ranks[flipped].sum() - count * (count + 1) / 2) / (count * rest)


if __name__ == "__main__":
    command.run(main)
