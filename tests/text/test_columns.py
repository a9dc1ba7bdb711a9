"""Which column is the label and which the text, in files as people have them: without a header, the text first."""

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
    """(frame, the notes) of reading a file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame = read_messages(path, **reading)
    return frame, [str(warning.message) for warning in caught if warning.category is Note]


def check(frame):
    assert frame["Text"].tolist() == TEXTS and frame["Label"].tolist() == LABELS


@pytest.mark.parametrize("order", [(TEXTS, LABELS), (LABELS, TEXTS)])
def test_columns_have_numbers_where_there_is_no_header(file, order):
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


def test_a_header_over_numbered_columns_is_told_by_its_label_which_no_message_has(file):
    frame, said = notes(file([["body", "stars"], *zip(TEXTS, LABELS)]), text_column="1", label_column="2")
    check(frame)
    assert "line 1 is read as the columns' names, because 'stars' is the label of no other" in said[0]
    path = file([["only once", "7"], *zip(TEXTS, LABELS)])
    frame = read_messages(path, text_column="1", label_column="2", no_header=True)
    assert frame["Label"][0] == "7" and len(frame) == 13


def test_a_name_goes_before_a_number(file):
    rows = [["2", "1"], *zip(TEXTS, ["pos", "neg"] * 6)]
    assert read_messages(file(rows), text_column="2", label_column="1")["Text"].tolist() == TEXTS


def test_a_header_that_no_one_named_is_no_label_of_a_long_file_either(file):
    with pytest.raises(InputError, match="line 1: no other message has the label 'kind'; if this line is a header"):
        read_messages(file([["kind", "body"], *zip(LABELS, TEXTS)]))


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_file_without_header_is_read_where_its_values_tell_the_columns_apart_and_it_is_said(file, separator):
    ids = [str(i) for i in range(12)]
    for columns in ([TEXTS, LABELS], [ids, TEXTS, LABELS], [LABELS, ids, TEXTS]):
        frame, said = notes(file(csv_rows(*columns) if separator == "," else zip(*columns), separator))
        check(frame)
        label, text = columns.index(LABELS) + 1, columns.index(TEXTS) + 1
        assert f"Column {label}, which has few values, is read as the label, and column {text} as the text" in said[0]


def test_a_text_that_occurs_twice_makes_no_sentences_into_labels(file):
    """The file that once trained with every sentence as a label."""
    rows = [*zip(TEXTS, LABELS), (TEXTS[0], LABELS[0])]
    frame, said = notes(file(rows))
    assert set(frame["Label"]) == {"0", "1"} and len(said) == 1
    few = [("so good", "1"), ("bad", "0"), ("so good", "1"), ("fine", "1"), ("dull", "0")]
    with pytest.raises(InputError, match="4 labels for 5 messages, such as 'so good'.*--text-column 1"):
        read_messages(file(few))
    assert len(read_messages(file(few), text_column="1", label_column="2")) == 5


def test_the_first_labels_alone_tell_nothing_where_the_file_is_sorted(file):
    rows = [(f"text {i}", "pos" if i < 1500 else "neg") for i in range(3000)]
    with pytest.raises(InputError, match="3,000 labels for 3,000 messages, such as 'text 0'"):
        read_messages(file(rows))


def test_labels_that_nearly_all_differ_are_refused_in_any_file(file):
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
def test_columns_that_cannot_be_told_are_refused(file, rows, options, complaint):
    with pytest.raises(InputError, match=complaint):
        read_messages(file(csv_rows(*rows), ","), **options)


def test_a_first_row_that_is_told_apart_but_has_a_label_of_its_own_may_be_a_header_and_is_refused(file):
    with pytest.raises(InputError, match="cannot tell which column is the label.*'body', 'stars'"):
        read_messages(file([['"body"', '"stars"'], *csv_rows(TEXTS, LABELS)], ","))


def test_texts_that_go_on_in_columns_without_a_name_are_counted(file):
    """Kaggle's spam.csv has three columns without a name, into which fifty of its messages were broken."""
    rows = [["v1", "v2", "", ""], ["ham", "hi", "", ""], ["spam", "win", " now", ""], ["ham", "so", "on", "and on"]]
    messages = Messages(file(rows, ","))
    with pytest.warns(Note, match="2 messages have more text in columns without a name.*first: line 3"):
        assert [text for text, _ in messages] == ["hi", "win", "so"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len([*messages]) == 3, "it is said once"
        assert len([*Messages(file([["", "label", "text"], ["0", "ham", "hi"]], ","))]) == 1, "an index is no text"
