"""Tab-separated files with and without CSV quoting."""

import csv
import io
import warnings

import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from numpygpt.system.errors import Note
from numpygpt.text.messages import read_messages
from numpygpt.text.quoting import quoted_as_csv

TEXTS = ['He said "WIN"', "tab\there", "two\nlines", "plain", "a, b", '"whole"', "£", "7"]


def lines(text):
    return io.StringIO(text, newline="")


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC, csv.QUOTE_ALL])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("columns", [["Label", "Text"], ["Text", "Label"], ["id", "Text", "Label"]])
def test_a_tsv_written_by_pandas_is_read_back(tmp_path, quoting, header, columns):
    frame = pd.DataFrame({"Label": ["ham", "spam"] * 6, "Text": [*TEXTS, "e", "f", "g", "h"], "id": range(12)})
    frame[columns].to_csv(tmp_path / "a.tsv", sep="\t", index=False, header=header, quoting=quoting)
    numbers = {"text_column": str(columns.index("Text") + 1), "label_column": str(columns.index("Label") + 1)}
    read = read_messages(tmp_path / "a.tsv", **({} if header else numbers))
    assert read["Text"].tolist() == frame["Text"].tolist() and read["Label"].tolist() == frame["Label"].tolist()


def test_a_tsv_written_by_excel_is_read_back():
    excel = 'label\ttext\nham\t"a, b"\nspam\tc\nham\t"say ""x"""\n'
    assert quoted_as_csv(lines(excel)) == (True, None)
    assert not quoted_as_csv(lines(excel.replace("spam\tc", "spam\tc, d")))[0]


@given(
    texts=st.lists(
        st.text(st.sampled_from("a\",\t\n '7£") | st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
        min_size=2,
        max_size=12,
    ),
    separator=st.sampled_from(["\t", ",", ";"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC, csv.QUOTE_ALL]),
)
@example(texts=["\n\t"] * 2, separator=",", quoting=csv.QUOTE_MINIMAL)
def test_any_texts_written_by_pandas_are_read_back(tmp_path_factory, texts, separator, quoting):
    texts = [text if text.strip() else "." for text in texts]
    # A line inside a text with as many tabs as a row could be a message of a file without quoting.
    assume(separator != "\t" or not any("\t" in line for text in texts for line in text.split("\n")[1:]))
    path = tmp_path_factory.mktemp("written") / "messages"
    frame = pd.DataFrame({"Label": ["ham", "spam"] * len(texts), "Text": [*texts, *texts]})
    frame.to_csv(path, sep=separator, index=False, quoting=quoting, lineterminator="\n", encoding="utf-8")
    read = read_messages(path)
    assert read["Text"].tolist() == frame["Text"].tolist() and read["Label"].tolist() == frame["Label"].tolist()


@pytest.mark.parametrize(
    "text",
    [
        'ham\t"Hi its Kate"\nspam\twin\n',  # a message in quotes
        'ham\tHe said "WIN"\nspam\twin\n',
        'ham\t"See you\nham\tsoon\nham\tat home"\nspam\twin\n',  # four messages of two fields each
        'ham\t"open\nspam\twin\n',
        'ham\t"See you\nham\tat "home\nspam\t""win\n',
        'ham\t"a" and "b"\nspam\t"c\n',
        "ham\thi\nspam\twin\n",
    ],
)
def test_quotes_not_written_by_csv_are_ordinary_characters(tmp_path, text):
    (tmp_path / "a.tsv").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_messages(tmp_path / "a.tsv")
    assert [f"{row.Label}\t{row.Text}" for row in read.itertuples()] == text.splitlines()


@pytest.mark.parametrize("other", ['5" screen', '"open', '"a" b'])
def test_a_file_with_inconsistent_quotes_is_read_literally_with_a_note(tmp_path, other):
    text = f'ham\t"say ""x"""\nspam\t{other}\n'
    (tmp_path / "a.tsv").write_text(text)
    with pytest.warns(Note, match="a.tsv: line 1 looks quoted as in CSV, but line 2 is not. All quotes"):
        read = read_messages(tmp_path / "a.tsv")
    assert read["Text"].tolist() == ['"say ""x"""', other]


def test_the_published_file_is_not_quoted(shared):
    path = shared / "data" / "SMSSpamCollection"
    assert quoted_as_csv(lines(path.read_text(encoding="utf-8"))) == (False, None)
