"""Tables with any separator and in JSON, Parquet and Excel: files written by pandas are read back."""

import json
import sys
import tracemalloc
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpygpt.system.errors import InputError, Note
from numpygpt.text.messages import Messages, read_messages

FRAME = pd.DataFrame(
    {
        "id": range(6),
        "label": ["ham", "spam"] * 3,
        "text": ["NA", 'He said "WIN"', "a, b; c", "two\nlines\ttab", "£900 \u2028 null", "True"],
    }
)


def excel(frame, path, **settings):
    pytest.importorskip("openpyxl")
    frame.to_excel(path.with_suffix(".xlsx"), index=False, **settings)
    path.with_suffix(".xlsx").rename(path)


def parquet(frame, path):
    pytest.importorskip("pyarrow")
    frame.to_parquet(path)


WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "semicolons": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "tabs": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "json lines": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "json": lambda frame, path: frame.to_json(path, orient="records"),
    "json with lines": lambda frame, path: frame.to_json(path, orient="records", indent=2),
    "parquet": parquet,
    "xlsx": excel,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_tables_written_by_pandas_are_read_back_under_any_name(tmp_path, kind):
    WRITERS[kind](FRAME, tmp_path / "messages")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        read = read_messages(tmp_path / "messages")
    assert read["Text"].tolist() == FRAME["text"].tolist() and read["Label"].tolist() == FRAME["label"].tolist()
    by_number = Messages(tmp_path / "messages", text_column="3", label_column="id")
    assert [label for _, label in by_number] == list("012345")


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9), min_size=2),
    kind=st.sampled_from(["json lines", "json", "json with lines"]),
)
def test_any_text_survives_json_tables(tmp_path_factory, texts, kind):
    texts = [text if text.strip() else "." for text in texts]
    path = tmp_path_factory.mktemp("json") / "messages"
    labels = [["ham", "spam"][i % 2] for i in range(len(texts))]
    WRITERS[kind](pd.DataFrame({"text": texts, "label": labels}), path)
    read = read_messages(path)
    assert read["Text"].tolist() == texts and read["Label"].tolist() == labels


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - {"xlsx"}))
def test_number_and_boolean_labels_have_the_same_names_in_every_format(tmp_path, kind):
    for values in ([0, 1, 1], [True, False, True], [0.5, 1.0, 0.5]):
        WRITERS[kind](pd.DataFrame({"label": values, "text": ["a", "b", "c"]}), tmp_path / "messages")
        assert read_messages(tmp_path / "messages")["Label"].tolist() == list(map(str, values))


def test_a_categorical_parquet_column_gives_its_names(tmp_path):
    parquet(FRAME.astype({"label": "category"}), tmp_path / "messages")
    assert read_messages(tmp_path / "messages")["Label"].tolist() == FRAME["label"].tolist()


def test_an_excel_sheet_may_have_blank_rows_and_columns_and_other_sheets_are_noted(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "messages"
    for row in ([], ["label", "text", None], ["ham", "hi"], [], [1, "win", None, None], ["ham", None]):
        book.active.append(row)
    book.create_sheet("notes").append(["about"])
    book.save(tmp_path / "a.xlsx")
    with pytest.warns(Note, match="a.xlsx: of 2 sheets only the first is read, 'messages'"):
        messages = iter(Messages(tmp_path / "a.xlsx"))
    assert [next(messages), next(messages)] == [("hi", "ham"), ("win", "1")]
    with pytest.raises(InputError, match="a.xlsx, row 6: the message has no text; add it or remove the row"):
        next(messages)


@pytest.mark.parametrize(
    "kind, module, package", [("parquet", "pyarrow.parquet", "pyarrow"), ("xlsx", "openpyxl", "openpyxl")]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, kind, module, package):
    WRITERS[kind](FRAME, tmp_path / "messages")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"for which {package} is missing. Install it: pip install {package}, or"):
        read_messages(tmp_path / "messages")


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_a_damaged_table_is_one_line(tmp_path, kind):
    WRITERS[kind](FRAME, tmp_path / "messages")
    content = (tmp_path / "messages").read_bytes()
    for damaged in (content[:-9], content[:200], content[: len(content) // 2] + bytes(99) + content[-700:]):
        (tmp_path / "messages").write_bytes(damaged)
        with pytest.raises(InputError, match="messages: ") as caught:
            read_messages(tmp_path / "messages")
        assert "\n" not in str(caught.value)


GOOD = '{"text": "hi", "label": "ham"}'


@pytest.mark.parametrize(
    "content, complaint",
    [
        (f"{GOOD}\n{{oops}}\n", "line 2: expected a JSON object, Expecting property name"),
        (f"{GOOD}\n[1]\n", r"line 2: expected a JSON object, found \[1\]"),
        (f'{GOOD}\n\n{{"text": "a"}}\n', "line 3: the label is missing"),
        (f'{GOOD}\n{{"text": null, "label": 1}}\n', "line 2: the message has no text"),
        (f'{GOOD}\n{{"text": ["a"], "label": 1}}\n', "line 2: expected a text or a number, found .'a'"),
        ('{"body": "hi", "kind": "ham"}\n', "cannot tell which column is the label.*'body', 'kind'"),
        ('{\n"text": "hi", "label": "ham"\n}\n', "line 1: expected a JSON object"),
        (f"[{GOOD}", "record 1: the file ends in the array; expected a JSON array of objects"),
        (f"[{GOOD}, {GOOD[:-1]}", "record 2: Expecting ',' delimiter"),
        (f"[{GOOD} {GOOD}]", "record 1: '{' where ',' should be"),
        (f"[{GOOD}] {GOOD}", "record 1: the file goes on after the array"),
        (f'[{GOOD}, "b"]', 'record 2: found "b"'),
        ('[["hi", "ham"]]', "record 1: found "),
        ("[]", "cannot tell which column is the label"),
        ("[" * 100_000, "record 1: "),
    ],
)
def test_json_without_records_is_refused_with_its_place(tmp_path, content, complaint):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=f"a.csv.*{complaint}") as caught:
        read_messages(tmp_path / "a.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["label,text\nham,a; b\nspam,c\n", "label;text\nham;a, b\nspam;c\n", "label;text;date\nham;a, b;1\nspam;c;2\n"]
    + ["kind;body\nham;a, b\nspam;c\n", "[x],label,text\n1,ham,a; b\n2,spam,c\n", "{x};label;text\n1;ham;a; b\n"],
)
def test_the_separator_is_recognised_by_the_columns_it_gives(tmp_path, text):
    (tmp_path / "a").write_text(text)
    chosen = {"text_column": "body", "label_column": "kind"} if "kind" in text else {}
    if text.startswith("{x}"):
        with pytest.raises(InputError, match="line 2: expected 3 fields, found 4; check its semicolons outside quotes"):
            read_messages(tmp_path / "a", **chosen)
        return
    read = read_messages(tmp_path / "a", **chosen)
    assert read["Label"].tolist() == ["ham", "spam"] and read["Text"][1] == "c" and len(read["Text"][0]) == 4


def test_a_semicolon_file_without_header_is_read(tmp_path):
    rows = [f"{['ham', 'spam'][i % 2]};text {i}, and on" + ", further" * (i % 3) for i in range(12)]
    (tmp_path / "a").write_text("\n".join(rows) + "\n")
    with pytest.warns(Note, match="Column 1, which has few values"):
        assert read_messages(tmp_path / "a")["Text"][1] == "text 1, and on, further"


def test_no_header_is_refused_for_json_records(tmp_path):
    (tmp_path / "a").write_text(GOOD)
    with pytest.raises(InputError, match="its columns have names; leave --no-header out"):
        Messages(tmp_path / "a", no_header=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "tabs", "json lines", "json", "parquet"])
def test_a_long_file_is_streamed_in_every_format(tmp_path, kind):
    """26 MB of text are read with a few MB of memory."""
    frame = pd.DataFrame({"label": ["ham", "spam"] * 10_000, "text": [f"{i} " + "words " * 220 for i in range(20_000)]})
    WRITERS[kind](frame, tmp_path / "messages")
    tracemalloc.start()
    assert sum(len(text) for text, _ in Messages(tmp_path / "messages")) == frame["text"].str.len().sum()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6


def test_a_json_array_in_one_line_is_read_in_parts(tmp_path):
    records = [{"text": "x" * 70_000 + str(i), "label": "ab"[i % 2]} for i in range(6)]  # each longer than a part
    (tmp_path / "a").write_text(json.dumps(records))
    assert [text for text, _ in Messages(tmp_path / "a")] == [record["text"] for record in records]
