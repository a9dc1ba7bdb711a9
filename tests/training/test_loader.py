"""Loaders: the forms of a set that they accept, and their batches."""

import numpy as np
import pandas as pd
import pytest

import numpygpt
from numpygpt.system.errors import InputError
from numpygpt.training.loader import batches, loaders

TEXTS, LABELS = ["Home at six?", "You have won", "Call now", "See you"], ["ham", "spam", "spam", "ham"]


@pytest.fixture(scope="module")
def clf(made):
    return numpygpt.Classifier(numpygpt.load(made / "model"), ["ham", "spam"], "head")


def frame(text, label, **others):
    return pd.DataFrame({text: TEXTS, label: LABELS} | others)


SETS = {
    "a frame in lower case": frame("text", "label"),
    "a frame in upper case": frame("MESSAGE", "CLASS"),
    "a frame of Kaggle's": frame("v2", "v1"),
    "a frame with another label": frame("Text", "Label", category=1),
    "a frame with another index": frame("text", "label").set_index(pd.Index([7, 7, 3, 1])),
    "a frame of categories": frame("text", "label").astype({"label": "category"}),
    "a frame with a column that is a number": frame("text", "label").assign(**{"x": 0}).rename(columns={"x": 0}),
    "texts and labels": (TEXTS, LABELS),
    "columns of a frame": (frame("t", "l")["t"], frame("t", "l")["l"]),
    "arrays": (np.array(TEXTS), np.array(LABELS)),
    "pairs": list(zip(TEXTS, LABELS)),
    "lists of two": [list(pair) for pair in zip(TEXTS, LABELS)],
    "a tuple of pairs": tuple(zip(TEXTS, LABELS)),
    "an array of pairs": np.array([TEXTS, LABELS]).T,
}


@pytest.mark.parametrize("what", SETS)
def test_a_set_is_read_in_every_form(clf, what):
    training, validation = loaders(clf, [SETS[what], SETS[what]], batch_size=2)
    assert training.numbers.tolist() == [0, 1, 1, 0]
    expected = [len(ids) for ids in clf.encode(TEXTS)]
    assert validation.lengths(np.arange(4)).tolist() == expected


@pytest.mark.parametrize("two", [(TEXTS[:2], LABELS[:2]), list(zip(TEXTS[:2], LABELS)), tuple(zip(TEXTS[:2], LABELS))])
def test_a_set_of_two_messages_is_read_in_every_form(clf, two):
    assert loaders(clf, [two, two], batch_size=2)[0].numbers.tolist() == [0, 1]


@pytest.mark.parametrize(
    "part, complaint",
    [
        (frame("body", "label"), "a set has no column Text: 'body', 'label'. Rename one to 'Text'"),
        (frame("text", "kind"), "no column Label: 'text', 'kind'"),
        (frame("text", "label", sms=TEXTS), "2 columns that may be Text"),
        ((TEXTS, LABELS[:3]), "4 texts and 3 labels of a set: expected equally many"),
        (TEXTS, r"message 1 of a set is 'Home at six\?': expected \(text, label\), or for the whole set a tuple"),
        ([TEXTS, LABELS], r"message 1 of a set is \['Home"),
        (([3, "b"], LABELS[:2]), "message 1 is 3; expected a text"),
    ],
)
def test_a_set_of_another_form_is_refused(clf, part, complaint):
    with pytest.raises(InputError, match=complaint):
        loaders(clf, [part, part], batch_size=2)


def test_all_forms_of_a_set_train_alike(made):
    histories = []
    for what in ("pairs", "a frame in lower case", "texts and labels"):
        clf = numpygpt.Classifier(numpygpt.load(made / "model"), ["ham", "spam"], "head")
        histories.append(numpygpt.fine_tune(clf, SETS[what], SETS[what], epochs=1, batch_size=2))
    assert all(history.equals(histories[0]) for history in histories[1:])


def test_batches_keep_the_order_and_drop_only_an_incomplete_last_batch():
    order = np.array([4, 2, 0, 1, 3])
    assert [batch.tolist() for batch in batches(order, 2, drop_last=False)] == [[4, 2], [0, 1], [3]]
    assert [batch.tolist() for batch in batches(order, 2, drop_last=True)] == [[4, 2], [0, 1]]
    assert [batch.tolist() for batch in batches(order, 5, drop_last=True)] == [order.tolist()]


def test_a_training_set_smaller_than_a_batch_is_refused():
    with pytest.raises(InputError, match="5 training messages"):
        batches(np.arange(5), 6, drop_last=True)
    assert len(batches(np.arange(5), 6, drop_last=False)) == 1
