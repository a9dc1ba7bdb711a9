"""Tables with any separator and in JSON, Parquet and Excel: files written by pandas are read back."""

import json
import re
import sys
import tracemalloc
import warnings

import pandas as pd
import pytest
from hypothesis import given
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


def feather(frame, path):
    pytest.importorskip("pyarrow")
    frame.to_feather(path)


def arrow(frame, path):
    """Write a stream, as the save_to_disk of Hugging Face datasets does."""
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_pandas(frame)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, 4)


def records(frame):
    return json.loads(frame.to_json(orient="records"))


WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "semicolons": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "tabs": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "bars": lambda frame, path: frame.to_csv(path, index=False, sep="|"),
    "json columns": lambda frame, path: frame.to_json(path),
    "json index": lambda frame, path: frame.to_json(path, orient="index", indent=1),
    "json split": lambda frame, path: frame.to_json(path, orient="split"),
    "json table": lambda frame, path: frame.to_json(path, orient="table", index=False, indent=1),
    "json lists": lambda frame, path: path.write_text(json.dumps(frame.to_dict("list"))),
    "json objects": lambda frame, path: path.write_text("\n".join(json.dumps(r, indent=1) for r in records(frame))),
    "json rows": lambda frame, path: path.write_text(json.dumps([[*frame], *frame.values.tolist()])),
    "json lines": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "json": lambda frame, path: frame.to_json(path, orient="records"),
    "json with lines": lambda frame, path: frame.to_json(path, orient="records", indent=2),
    "parquet": parquet,
    "feather": feather,
    "arrow": arrow,
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


@pytest.mark.parametrize("writer", [parquet, feather, arrow])
def test_numbered_labels_get_the_names_that_hugging_face_datasets_stores(tmp_path, writer):
    pyarrow = pytest.importorskip("pyarrow")
    features = {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["ham", "spam"]}}
    table = pyarrow.table({"text": ["hi", "win", "ho"], "label": [0, 1, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text("{}")
    path = tmp_path / "set" / "data-00000-of-00001.arrow"
    if writer is parquet:
        pyarrow.parquet.write_table(table, path)
    else:
        with (pyarrow.ipc.new_file if writer is feather else pyarrow.ipc.new_stream)(str(path), table.schema) as file:
            file.write_table(table)
    with pytest.warns(Note, match="column 'label' has the names that its file gives: 0 'ham', 1 'spam'"):
        messages = iter(Messages(tmp_path / "set"))
    assert [next(messages), next(messages)] == [("hi", "ham"), ("win", "spam")]
    with pytest.raises(InputError, match="row 3: the label is missing"):
        next(messages)
    (tmp_path / "set" / "state.json").unlink()
    with pytest.raises(InputError, match="cannot read the messages of a folder. Name one file: data-00000-of-00001.a"):
        Messages(tmp_path / "set")


def test_a_text_that_pandas_wrote_to_excel_as_a_formula_is_read_with_a_note(tmp_path):
    excel(pd.DataFrame({"label": ["ham", "spam"], "text": ["=)", "=SUM(A1)"]}), tmp_path / "a")
    with pytest.warns(Note, match="a, row 2: a formula without a stored value, as pandas writes a text that begins"):
        assert read_messages(tmp_path / "a")["Text"].tolist() == ["=)", "=SUM(A1)"]


@pytest.mark.parametrize(
    "text, note",
    [
        ("sep=;\nlabel;text\nham;say \\\n", None),  # Excel
        ('"sep=;"\nlabel;text\nham;say \\\n', None),
        ("sep=\t\nlabel\ttext\nham\tsay \\\n", None),
        ("label,text\nham,say \\\n,\n,\n", None),  # Excel with cleared rows
        ("label|text\nham|say \\\n", None),  # sqlite3
        ("My messages,\n,\nlabel,text\nham,say \\\n", "the columns' names are in line 3; what is above"),
        ('#TYPE A.B\n"label","text"\n"ham","say \\"\n', "the columns' names are in line 2"),  # PowerShell
        ('"label","text"\n"1","ham","say \\"\n', None),  # R, with names of rows
        ('"label","text"\n"ham","say \\\\"\n"ham","\\"a\\""\n', 'quotes in its texts are written \\\\"'),  # R, Spark
        ('"label"\t"text"\n"1"\t"ham"\t"say \\\\"\n"2"\t"ham"\t"\\"a\\""\n', 'quotes in its texts are written \\\\"'),
        ('label, text\nham, "say \\"\nham, "a, b"\n', "spaces after its separators are skipped"),
    ],
)
def test_tables_of_common_programs_are_read_and_every_choice_is_a_note(tmp_path, text, note):
    (tmp_path / "a").write_text(text)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Note)
        first, *_ = Messages(tmp_path / "a")
    assert first == ("say \\", "ham")
    assert len(caught) == bool(note) and all(re.search(note, str(warning.message)) for warning in caught)


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("| label | text |\n|:--|:--|\n| ham | hi |\n", "a rule of dashes, as in a printed table"),  # Markdown
        (" label | text\n-------+------\n ham   | hi\n", "a rule of dashes"),  # psql
        ("label,text\n-----,----\nham,hi\n", "a rule of dashes"),  # sqlcmd
        ('"label" "text"\n"1" "ham" "say \\"hi\\""\n', 'line 1 is a single field, \'"label" "text"\'. Separate'),
        ("label:text\nham:hi\n", "line 1 is a single field, 'label:text'"),
        ("label|text\nham|hi|ho\n", "line 2: expected 2 fields, found 3; check its '|' outside quotes"),
    ],
)
def test_printed_tables_and_other_separators_are_refused(tmp_path, text, complaint):
    (tmp_path / "a").write_text(text)
    with pytest.raises(InputError, match=re.escape(complaint)):
        [*Messages(tmp_path / "a")]


@pytest.mark.parametrize(
    "labels, why", [(["Spam", "spam"], "case"), (["1", "1.0"], "notation"), (["1", "01"], "notation")]
)
def test_labels_that_differ_hardly_are_noted(tmp_path, labels, why):
    pd.DataFrame({"label": labels, "text": ["a", "b"]}).to_csv(tmp_path / "a", index=False)
    with pytest.warns(Note, match=f"the labels '{labels[0]}' and '{labels[1]}', which differ in {why} only, are two"):
        read_messages(tmp_path / "a")


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
    "kind, module, package",
    [("parquet", "pyarrow.parquet", "pyarrow"), ("arrow", "pyarrow.ipc", "pyarrow"), ("xlsx", "openpyxl", "openpyxl")],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, kind, module, package):
    WRITERS[kind](FRAME, tmp_path / "messages")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"for which {package} is missing. Install it: pip install {package}, or"):
        read_messages(tmp_path / "messages")


@pytest.mark.parametrize("kind", ["parquet", "feather", "xlsx"])
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
        ('{\n"text": "hi", "label": "ham"\n}\n[]', r"line 4: expected a JSON object, found \[\]"),
        ('{\n"text": "hi", "label": oops\n}\n', "line 2: expected a JSON object, Expecting value"),
        (
            '{"columns": [1], "data": [["hi"]]}',
            "a JSON object without a table of messages: .* Write an array of records",
        ),
        ('{"text": ["hi"], "label": []}', "a JSON object without a table of messages"),
        ('{"hi": 1, "there": []}', "a JSON object without a table of messages"),
        (f"[{GOOD}, [1]]", r"record 2: found \[1\]"),
        ('[["hi", ["ham"]]]', "record 1: found "),
        (f"[[1], {GOOD}]", "record 2: found "),
        (r'{"text": "a\ud83d", "label": 1}', r"line 1: '\\ud83d' is half of a character"),
        (f"[{GOOD}", "record 1: the file ends in the array; expected a JSON array of objects"),
        (f"[{GOOD}, {GOOD[:-1]}", "record 2: Expecting ',' delimiter"),
        (f"[{GOOD} {GOOD}]", "record 1: '{' where ',' should be"),
        (f"[{GOOD}] {GOOD}", "record 1: the file goes on after the array"),
        (f'[{GOOD}, "b"]', 'record 2: found "b"'),
        ('[["hi", "ham"]]', "cannot tell which column is the label.*'hi', 'ham'"),
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
@pytest.mark.parametrize("kind", ["csv", "tabs", "json lines", "json", "parquet", "arrow"])
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
