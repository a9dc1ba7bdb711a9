"""The bundled sample messages are well formed, all different, and neither trivial nor impossible to classify."""

import re
from pathlib import Path

import numpy as np
import pytest

import numpygpt

FILE = Path(numpygpt.__file__).parent / "assets" / "sample" / "messages.tsv"

# Numbers reserved for fiction: Ofcom's lists for the United Kingdom, 555-01xx in North America.
FICTITIOUS = re.compile(
    r"07700900\d{3}|01632960\d{3}|02079460\d{3}|03069990\d{3}|08081570\d{3}|09098790\d{3}|(1?[2-9]\d{2})?55501\d\d"
)


@pytest.fixture(scope="module")
def lines():
    return FILE.read_bytes().decode("utf-8").removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def texts(lines):
    return [line.split("\t")[1] for line in lines]


@pytest.fixture(scope="module")
def is_spam(lines):
    return np.array([line.startswith("spam\t") for line in lines])


@pytest.fixture(scope="module")
def words(texts):
    """Return a matrix (messages, words) of 0 and 1: whether a message has a lower-cased word or emoji."""
    bags = [set(re.findall(r"\w+|[\u2600-\u27bf\U0001f000-\U0001faff]", text.lower())) for text in texts]
    column = {word: j for j, word in enumerate(sorted(set().union(*bags)))}
    held = np.zeros((len(bags), len(column)))
    for i, bag in enumerate(bags):
        held[i, [column[word] for word in bag]] = 1
    return held


def test_every_sample_line_is_a_label_a_tab_and_a_text(lines):
    # A reader with CSV quoting would merge a text that starts with a quote with the following lines.
    bad = [line for line in lines if not re.fullmatch(r'(ham|spam)\t[^\s"][^\t\r]*(?<!\s)', line)]
    assert not bad


def test_half_of_the_messages_are_spam_in_mixed_order(is_spam):
    assert len(is_spam) == 2400 and is_spam.sum() == 1200
    parts = is_spam.reshape(24, 100).mean(axis=1)
    assert parts.min() > 0.35 and parts.max() < 0.65


def test_messages_are_as_long_as_a_text_message_and_a_third_have_at_most_eight_words(texts, is_spam):
    counts = np.array([len(text.split()) for text in texts])
    assert counts.min() == 1 and counts.max() <= 45
    assert np.mean(counts <= 8) > 1 / 3
    assert np.mean(is_spam[counts <= 8]) > 1 / 3, "short messages are also spam"


def test_no_two_sample_messages_are_nearly_equal(words, texts):
    assert len(set(texts)) == len(texts)
    size = words.sum(axis=1)
    shared = words @ words.T
    jaccard = shared / np.maximum(size[:, None] + size - shared, 1)  # a message may have no words
    np.fill_diagonal(jaccard, 0)
    assert jaccard.max() < 0.7


def test_sample_messages_contain_no_real_phone_number_or_domain(texts):
    for text in texts:
        for number in re.findall(r"\d[\d ()-]{6,}\d", text):
            assert FICTITIOUS.fullmatch(re.sub(r"\D", "", number)), text
        # Two letters directly after a dot could be a domain. Prose has a space there.
        for host in re.findall(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", text, re.IGNORECASE):
            assert host.endswith(".example"), text


@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(len, id="length"),
        pytest.param(lambda text: len(re.findall(r"\d", text)), id="digits"),
        pytest.param(lambda text: ".example" in text, id="link"),
        pytest.param(lambda text: bool(re.search("[£$€₦₹]", text)), id="currency sign"),
        pytest.param(lambda text: len(re.findall(r"[A-Z]", text)) / len(text), id="share of capitals"),
        pytest.param(lambda text: len(re.findall(r"\b[A-Z]{3,}\b", text)), id="words in capitals"),
        pytest.param(lambda text: text[-1] in ".!?", id="punctuation at the end"),
        pytest.param(lambda text: text.count("!"), id="exclamation marks"),
    ],
)
def test_no_single_surface_feature_predicts_the_label(texts, is_spam, feature):
    value = np.array([float(feature(text)) for text in texts])
    above = [np.mean((value > threshold) == is_spam) for threshold in np.unique(value)]
    assert max(above + [1 - accuracy for accuracy in above]) < 0.75


def held_out_accuracy(products, labels, rng):
    """Train an L2-regularised logistic regression on 70 % of the rows, drawn at random; its accuracy on the rest.

    `products` is x xᵀ over all rows. With the weights written as w = xᵀa over the training rows, whose products are k,
    the loss Σ log(1 + exp(∓k a)) + ½ aᵀk a is least where a = y − p. Newton's method on that:
    (diag(s) k + 1) a = s·k a + y − p, s = p(1 − p).
    """
    order = rng.permutation(len(labels))
    train, test = np.split(order, [int(0.7 * len(order))])
    k = products[np.ix_(train, train)]
    y = labels[train].astype(float)
    a = np.zeros(len(train))
    for _ in range(5):
        score = k @ a
        p = 1 / (1 + np.exp(-score))
        s = p * (1 - p)
        a = np.linalg.solve(s[:, None] * k + np.eye(len(train)), s * score + y - p)
    predicted = products[np.ix_(test, train)] @ a > 0
    return np.mean(predicted == labels[test])


@pytest.mark.slow
def test_a_bag_of_words_classifier_learns_the_sample_but_does_not_solve_it(words, is_spam):
    products = words @ words.T + 1  # the 1 is the intercept: a word that every message holds
    accuracy = np.mean([held_out_accuracy(products, is_spam, np.random.default_rng(seed)) for seed in range(5)])
    assert 0.80 < accuracy < 0.95
