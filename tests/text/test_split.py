import hashlib
import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text.messages import label_names, read_messages
from numpygpt.text.split import SplitSet, balance, split, write_split

FILES = {"train": "train.csv", "validation": "validation.csv", "test": "test.csv"}


def numbered(**counts):
    """Return a frame with the given number of messages of each label. All texts differ."""
    rows = [(label, f"{label} {i}") for label, count in counts.items() for i in range(count)]
    return pd.DataFrame(rows, columns=["Label", "Text"])


def test_the_books_three_files_are_reproduced_byte_for_byte(shared, tmp_path):
    frame = read_messages(shared / "data" / "SMSSpamCollection", book_quotes=True)
    sets = split(balance(frame))
    assert [len(part) for part in sets] == [1045, 149, 300]
    write_split(tmp_path, sets, label_names(frame))
    logged = json.loads((shared / "reference" / "book_tiny_log.json").read_text())["sha256"]
    assert {name: hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for name, file in FILES.items()} == logged


def test_balance_reduces_every_label_to_the_rarest():
    frame = numbered(b=9, a=4, c=6).sample(frac=1, random_state=0)
    balanced = balance(frame, seed=5)
    assert balanced["Label"].tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert balanced["Text"][:4].tolist() == frame["Text"][frame["Label"] == "a"].tolist()
    assert balanced["Text"].is_unique and set(balanced["Text"]) <= set(frame["Text"])
    assert balanced.equals(balance(frame, seed=5)) and not balanced.equals(balance(frame, seed=6))


@given(
    n=st.integers(1, 40), train=st.floats(0.01, 0.98), validation=st.floats(0.01, 0.98), seed=st.integers(0, 2**32 - 1)
)
def test_a_split_neither_loses_nor_repeats_a_message(n, train, validation, seed):
    frame = numbered(ham=n)
    try:
        sets = split(frame, train, validation, seed)
    except InputError:
        assert (
            train + validation >= 1
            or min(int(n * train), int(n * validation), n - int(n * train) - int(n * validation)) == 0
        )
        return
    assert [len(part) for part in sets[:2]] == [int(n * train), int(n * validation)]
    assert sorted(sum((part["Text"].tolist() for part in sets), [])) == sorted(frame["Text"])


@pytest.mark.parametrize(
    "train, validation", [(0, 0.1), (0.7, 0), (0.7, 0.3), (-0.7, 0.1), (1.2, -0.5), (float("nan"), 0.1)]
)
def test_fractions_that_empty_a_set_are_refused(train, validation):
    with pytest.raises(InputError, match="fractions"):
        split(numbered(ham=100), train, validation)


def test_too_few_messages_for_three_sets_are_refused_with_the_sizes():
    with pytest.raises(InputError, match="9 messages make sets of 6 / 0 / 3"):
        split(numbered(ham=5, spam=4))


@settings(max_examples=20)
@given(
    texts=st.lists(
        st.sampled_from(["NA", "None", "nan", '"', '"x', "a,b", "a\tb", "a\rb", "a\nb", "a\r\nb", " x "])
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
        min_size=1,
        max_size=20,
    )
)
def test_written_sets_are_read_back_unchanged(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("split")
    part = pd.DataFrame({"Label": ["spam" if i % 3 else "ham" for i in range(len(texts))], "Text": texts})
    write_split(folder, (part, part, part[:1]), ["ham", "spam"])
    for file, written in zip(FILES.values(), (part, part, part[:1])):
        read = pd.read_csv(folder / file, keep_default_na=False, dtype=str, skip_blank_lines=False, encoding="utf-8")
        assert read["Text"].tolist() == written["Text"].tolist()
        assert read["Label"].tolist() == ["01"[label == "spam"] for label in written["Label"]]
        if all(text.strip() for text in texts):
            assert list(SplitSet(folder / file, ["ham", "spam"])) == list(zip(written["Text"], written["Label"]))


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    write_split(tmp_path, [numbered(ham=2)] * 3, ["ham"])
    before = (tmp_path / "test.csv").read_bytes()
    with pytest.raises(ValueError):
        write_split(tmp_path, [numbered(ham=3), numbered(ham=3), numbered(spam=3)], ["ham"])
    assert (tmp_path / "test.csv").read_bytes() == before


def test_a_set_with_unknown_label_numbers_is_refused(tmp_path):
    (tmp_path / "test.csv").write_text("Label,Text\n1,hi\n2,ho\n")
    with pytest.raises(InputError, match="test.csv: label '2' is not one of 0 to 1"):
        list(SplitSet(tmp_path / "test.csv", ["ham", "spam"]))
