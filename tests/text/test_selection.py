"""Select messages of a file, and report the unused ones."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text.selection import Selection, select
from numpygpt.text.split import balance, split


def numbered(counts):
    rows = [(label, f"{label} {i}") for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["Label", "Text"])


def test_smallest_equals_the_books_balance_and_split():
    frame = numbered({"ham": 60, "spam": 30})
    sets, chosen = select(frame, "smallest", seed=5)
    expected = split(balance(frame, 5), seed=5)
    assert all(part.equals(other) for part, other in zip(sets, expected))
    assert not chosen.complete and str(chosen) == (
        "60 of 90 messages are used: 30 of each label, because 'spam' has only 30"
    )


def test_a_balanced_file_is_used_whole_without_a_note():
    assert select(numbered({"ham": 30, "spam": 30}))[1].complete


def test_the_shares_of_the_sets_can_be_chosen():
    sets, _ = select(numbered({"ham": 30, "spam": 30}), shares=(0.5, 0.2))
    assert [len(part) for part in sets] == [30, 12, 18]


@settings(max_examples=25)
@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 40), min_size=2),
    how=st.just("none") | st.integers(3, 30),
    seed=st.integers(0, 99),
)
def test_a_split_by_label_loses_no_message(counts, how, seed):
    frame = numbered(counts)
    sets, chosen = select(frame, how, seed)
    used = {label: count if how == "none" else min(count, how) for label, count in counts.items()}
    assert Counter(pd.concat(sets)["Label"]) == used and chosen.complete == (used == counts)
    assert pd.concat(sets)["Text"].is_unique and set(pd.concat(sets)["Text"]) <= set(frame["Text"])
    for label, count in used.items():
        first, second, third = ((part["Label"] == label).sum() for part in sets)
        assert min(first, second, third) >= 1
        assert (second, first) == (max(1, int(count * 0.1)), min(int(count * 0.7), count - second - 1))
    assert str(chosen).startswith(f"{sum(used.values()):,} of {len(frame):,} messages are used: at most ")


def test_the_validation_set_of_a_split_by_label_is_shuffled():
    """An evaluation may read only the first batches, which must not all have one label."""
    (_, validation, _), _ = select(numbered({"ham": 300, "spam": 300}), "none")
    assert 10 < (validation["Label"][:40] == "ham").sum() < 30


# The three cases that once trained on a handful of messages and reported an accuracy


@pytest.mark.parametrize(
    "counts, complaint",
    [
        (
            {"a": 500, "b": 500, "rare": 4},
            "12 of 1,004 messages are used: 4 of each label, because 'rare' has only 4. the validation set has no "
            "message of 'b' .4 used., 'rare' .4 used.",
        ),
        (
            {f"intent {i}": 20 for i in range(77)} | {"stray": 1},
            "78 of 1,541 messages are used: 1 of each label, because 'stray' has only 1. the training set has no "
            "message of .* and of \\d+ more labels",
        ),
        (
            {"a": 500, "A": 1, "b": 500},
            "3 of 1,001 messages are used: 1 of each label, because 'A' has only 1. 3 messages make sets of 2 / 0 / 1",
        ),
    ],
)
def test_balancing_that_empties_a_label_is_refused_with_an_alternative(counts, complaint):
    with pytest.raises(InputError, match=f"^{complaint}") as caught:
        select(numbered(counts))
    assert "remove rare labels, or pass --balance none, which splits each label by itself" in str(caught.value)


def test_a_label_too_rare_for_three_sets_is_refused():
    for how in ("none", 50):
        with pytest.raises(InputError, match="no message of 'c' .2 used.; use more messages, at least 3 of each"):
            select(numbered({"a": 60, "b": 60, "c": 2}), how)
    with pytest.raises(InputError, match="^the validation set has no message of 'a' .10 used.*--balance none"):
        select(numbered({"a": 10, "b": 10}), seed=0)


def test_the_warnings_precision_uses_the_files_label_shares():
    """Counts measured on 100 messages of each label are weighted for a file with 900 and 100 messages."""
    chosen = Selection({"ham": 900, "spam": 100}, 100, "spam")
    text = chosen.warning(np.array([[90, 10], [20, 80]]), np.array([90 / 110, 80 / 90]))
    expected = 0.1 * 0.8 / (0.1 * 0.8 + 0.9 * 0.1)
    assert f"here 88.89% of the answers 'spam' are right, there about {expected:.2%} would" in text
    assert "('spam' has 10.0% of the file)" in text
    nothing = chosen.warning(np.array([[100, 0], [100, 0]]), np.array([0.5, 0.0]))
    assert "here 0.00% of the answers 'spam' are right, there about 0.00%" in nothing


def test_a_selection_survives_json_serialisation():
    chosen = select(numbered({"ham": 60, "spam": 30}))[1]
    assert Selection(**asdict(chosen)) == chosen
    assert all(type(count) is int for count in chosen.counts.values()) and type(chosen.most) is int
