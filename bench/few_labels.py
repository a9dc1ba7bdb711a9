"""The benefit of pretraining with 20, 50, 100 or 200 labelled messages.

    python -m bench.few_labels SMSSpamCollection

Each number of messages is drawn twenty times from the training set of the
balanced split, with equally many of each label. All learners train on the same
draws and are tested on the same messages: mini, fine-tuned; a logistic
regression on mini's features without fine-tuning; both from random weights with
the same settings; naive Bayes on word counts; and a logistic regression on
characters. Needs scikit-learn. Writes the section `few labels` of RESULTS.md
and, if matplotlib is installed, few_labels.png.
"""

import argparse
from datetime import date
from math import ceil
from pathlib import Path
from statistics import mean

import numpy as np

import numpygpt
from numpygpt.system import command
from numpygpt.text.messages import read_messages
from numpygpt.text.split import balance, split
from numpygpt.training.recipes import SMALL

from .machine import need
from .results import table, write_section

SIZES = (20, 50, 100, 200)
SEEDS = range(123, 143)  # draws; means of five draws differ by a point
# Half the default's rate, no label smoothing, and at least UPDATES updates, because 20 labels are only two batches.
# All were chosen on other messages. The rate is also better for random weights.
RATE, LABEL_SMOOTHING, UPDATES = 5e-4, 0.0, 30
HERE = Path(__file__).parent


def draw(messages, count, seed):
    """Draw `count` messages, with equally many of each label."""
    groups = messages.groupby("Label")
    return groups.sample(count // groups.ngroups, random_state=seed).sample(frac=1, random_state=seed)


def fine_tuned(weights):
    """Return a function (training messages, test texts, seed) -> predicted labels, of mini or its random twin."""

    def predict(training, texts, seed):
        gpt = numpygpt.load("mini", weights, seed)
        clf = numpygpt.Classifier(gpt, sorted(set(training["Label"])), seed=seed)
        epochs = max(SMALL["epochs"], ceil(UPDATES / (len(training) // 8)))
        settings = dict(epochs=epochs, lr=RATE, label_smoothing=LABEL_SMOOTHING, seed=seed)
        numpygpt.fine_tune(clf, training, training, **settings, eval_every=10**9, eval_batches=1)
        return clf.predict(list(texts))["label"].to_numpy()

    return predict


def on_features(weights):
    """Return such a function for a logistic regression on the features of mini or its random twin.

    It has scikit-learn's settings, but as many iterations as it needs.
    """

    def predict(training, texts, seed):
        from sklearn.linear_model import LogisticRegression

        gpt = numpygpt.load("mini", weights, seed)
        head = LogisticRegression(max_iter=1000).fit(gpt.features(list(training["Text"])), training["Label"])
        return head.predict(gpt.features(list(texts)))

    return predict


def naive_bayes(training, texts, seed):
    """Train a multinomial naive Bayes classifier on word counts, and predict."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(), MultinomialNB()).fit(training["Text"], training["Label"]).predict(texts)


def characters(training, texts, seed):
    """Train a logistic regression on the TF-IDF of 2 to 5 neighbouring characters within words, and predict."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    return make_pipeline(features, LogisticRegression(C=10)).fit(training["Text"], training["Label"]).predict(texts)


LEARNERS = {
    "mini, fine-tuned": fine_tuned("pretrained"),
    "the same from random weights": fine_tuned("random"),
    "mini's features, logistic regression": on_features("pretrained"),
    "features from random weights": on_features("random"),
    "naive Bayes on word counts": naive_bayes,
    "characters, logistic regression": characters,
}


def measure(training, test, learners, sizes=SIZES, seeds=SEEDS):
    """Return {learner: [[accuracy of each draw] of each size]}."""
    found = {name: [] for name in learners}
    for size in sizes:
        draws = [draw(training, size, seed) for seed in seeds]
        for name, predict in learners.items():
            right = [predict(some, test["Text"], seed) == test["Label"].to_numpy() for some, seed in zip(draws, seeds)]
            found[name].append([float(np.mean(answers)) for answers in right])
            print(f"{size} labels, {name}: {mean(found[name][-1]):.1%}", flush=True)
    return found


def markdown(found, sizes, tested, made_by):
    """Return the section of RESULTS.md."""

    def cell(shares):
        return f"{mean(shares):.1%} ({min(shares):.1%}–{max(shares):.1%})".replace("%", "")

    rows = [["test accuracy, %", *(f"{size} labels" for size in sizes)]]
    rows += [[name, *map(cell, shares)] for name, shares in found.items()]
    about = (
        f"The benefit of pretraining with few labels: mean of {len(SEEDS)} draws of the labelled messages, with "
        f"the worst and the best in brackets. {tested} test messages of the balanced UCI data. `mini` and its random "
        f"twin are fine-tuned with the default settings, except for a rate of {RATE:g}, no label smoothing and at "
        f"least {UPDATES} updates; the logistic regression on features has scikit-learn's settings.\n\n"
        "![few labels](few_labels.png)"
    )
    return "\n\n".join(["## few labels", about, table(rows), f"`{made_by}`, {date.today()}."]) + "\n"


def draw_plot(found, sizes, path):
    """Plot accuracy against the number of labels, if matplotlib is installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, shares in found.items():
        axes.plot(sizes, [100 * mean(some) for some in shares], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("labelled messages")
    axes.set_ylabel("test accuracy, %")
    axes.legend()
    figure.savefig(path, dpi=110)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the UCI file SMSSpamCollection")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the file of results")
    args = parser.parse_args(argv)
    need("sklearn")
    training, _, test = split(balance(read_messages(args.data)))
    found = measure(training, test, LEARNERS)
    text = markdown(found, SIZES, len(test), f"python -m bench.few_labels {args.data.name}")
    write_section(args.out, text)
    draw_plot(found, SIZES, args.out.with_name("few_labels.png"))
    print("\n" + text)


if __name__ == "__main__":
    command.run(main)
