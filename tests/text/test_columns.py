"""Recognise the label column and the text column, also without a header or with the text first."""

import warnings

import pytest

from numpygpt.system.errors import InputError, Note
from numpygpt.text.messages import Messages, read_messages

TEXTS = [f"so good, number {i}" for i in range(12)]
LABELS = ["1", "0", "1"] * 4


@pytest.fixture
def file(tmp_path):
    def write(rows, separator="\t"):
        path = tmp_path / "messages"
        path.write_text("".join(separator.join(row) + "\n" for row in rows))
        return path

    return write


def csv_rows(*columns):
    return [[f'"{field}"' for field in row] for row in zip(*columns)]


def notes(path, **reading):
    """Read a file and return (frame, notes)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = read_messages(path, **reading)
    return frame, [str(warning.message) for warning in caught if warning.category is Note]


def check(frame):
    assert frame["Text"].tolist() == TEXTS and frame["Label"].tolist() == LABELS


@pytest.mark.parametrize("order", [(TEXTS, LABELS), (LABELS, TEXTS)])
def test_columns_of_a_file_without_header_are_chosen_by_number(file, order):
    numbers = dict(text_column=str(order.index(TEXTS) + 1), label_column=str(order.index(LABELS) + 1))
    for path, some in [
        (file(zip(*order)), numbers),
        (file(csv_rows(*order), ","), numbers),
        (file(csv_rows(*order), ","), numbers | {"no_header": True}),
        (file(zip(*order)), {"label_column": numbers["label_column"]}),
    ]:
        frame, said = notes(path, **some)
        check(frame)
        assert not said


def test_a_header_over_numbered_columns_is_recognised_by_its_unique_label(file):
    frame, said = notes(file([["body", "stars"], *zip(TEXTS, LABELS)]), text_column="1", label_column="2")
    check(frame)
    assert "line 1 is read as the columns' names, because 'stars' is the label of no other" in said[0]
    path = file([["only once", "7"], *zip(TEXTS, LABELS)])
    frame = read_messages(path, text_column="1", label_column="2", no_header=True)
    assert frame["Label"][0] == "7" and len(frame) == 13


def test_a_column_name_takes_precedence_over_a_number(file):
    rows = [["2", "1"], *zip(TEXTS, ["pos", "neg"] * 6)]
    assert read_messages(file(rows), text_column="2", label_column="1")["Text"].tolist() == TEXTS


def test_an_unrecognised_header_is_refused_as_a_unique_label(file):
    with pytest.raises(InputError, match="line 1: no other message has the label 'kind'; if this line is a header"):
        read_messages(file([["kind", "body"], *zip(LABELS, TEXTS)]))


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_file_without_header_is_read_with_a_note_if_its_values_identify_the_columns(file, separator):
    ids = [str(i) for i in range(12)]
    for columns in ([TEXTS, LABELS], [ids, TEXTS, LABELS], [LABELS, ids, TEXTS]):
        frame, said = notes(file(csv_rows(*columns) if separator == "," else zip(*columns), separator))
        check(frame)
        label, text = columns.index(LABELS) + 1, columns.index(TEXTS) + 1
        assert f"Column {label}, which has few values, is read as the label, and column {text} as the text" in said[0]


def test_sentences_are_not_taken_for_labels(file):
    """Such a file once trained with every sentence as a label."""
    rows = [*zip(TEXTS, LABELS), (TEXTS[0], LABELS[0])]
    frame, said = notes(file(rows))
    assert set(frame["Label"]) == {"0", "1"} and len(said) == 1
    few = [("so good", "1"), ("bad", "0"), ("so good", "1"), ("fine", "1"), ("dull", "0")]
    with pytest.raises(InputError, match="4 labels for 5 messages, such as 'so good'.*--text-column 1"):
        read_messages(file(few))
    assert len(read_messages(file(few), text_column="1", label_column="2")) == 5


def test_columns_of_a_sorted_file_are_not_guessed_from_its_first_labels(file):
    rows = [(f"text {i}", "pos" if i < 1500 else "neg") for i in range(3000)]
    with pytest.raises(InputError, match="3,000 labels for 3,000 messages, such as 'text 0'"):
        read_messages(file(rows))


def test_labels_that_nearly_all_differ_are_refused(file):
    with pytest.raises(InputError, match="4 labels for 6 messages, such as 'a'"):
        read_messages(file([["label", "text"], *zip("abcdaa", TEXTS)], "\t"))


@pytest.mark.parametrize(
    "rows, options, complaint",
    [
        ([TEXTS[:2], LABELS[:2]], {}, "cannot tell which column is the label.*a name or a number"),
        ([TEXTS, LABELS], {"text_column": "3", "label_column": "2"}, "no columns have the name '3'"),
        ([TEXTS, LABELS], {"text_column": "0"}, "no columns have the name '0'"),
        ([TEXTS, LABELS], {"text_column": "body", "no_header": True}, "'body' is no column's number.* 1 to 2"),
        ([TEXTS, LABELS], {"text_column": "1", "label_column": "1"}, "column 1 cannot be both"),
        ([TEXTS, TEXTS, LABELS], {"text_column": "1"}, "pass both --text-column and --label-column as numbers, 1 to 3"),
        ([TEXTS, LABELS, LABELS], {"no_header": True}, "cannot tell which column is the label"),
        ([TEXTS, TEXTS[::-1], LABELS], {}, "cannot tell which column is the label"),
    ],
)
def test_ambiguous_columns_are_refused(file, rows, options, complaint):
    with pytest.raises(InputError, match=complaint):
        read_messages(file(csv_rows(*rows), ","), **options)


def test_a_first_row_with_a_unique_label_is_refused_as_a_possible_header(file):
    with pytest.raises(InputError, match="cannot tell which column is the label.*'body', 'stars'"):
        read_messages(file([['"body"', '"stars"'], *csv_rows(TEXTS, LABELS)], ","))


def test_text_in_unnamed_columns_is_counted_in_a_note(file):
    """Kaggle's spam.csv has three unnamed columns, which hold the ends of fifty messages."""
    rows = [["v1", "v2", "", ""], ["ham", "hi", "", ""], ["spam", "win", " now", ""], ["ham", "so", "on", "and on"]]
    messages = Messages(file(rows, ","))
    with pytest.warns(Note, match="2 messages have more text in columns without a name.*first: line 3"):
        assert [text for text, _ in messages] == ["hi", "win", "so"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len([*messages]) == 3, "the note appears once"
        assert len([*Messages(file([["", "label", "text"], ["0", "ham", "hi"]], ","))]) == 1, "an index is not text"
