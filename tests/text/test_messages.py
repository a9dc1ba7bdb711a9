import codecs
import csv

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text.messages import Messages, label_names, read_messages

UCI = (
    'ham\tGo until jurong point, crazy..\nspam\t"WINNER!! £900, call now\nham\tOk lar... "Joking"\nspam\tURGENT, call\n'
)
CSV = 'id,Label,Text\n1,ham,"Go, now"\n2,spam,"He said ""WIN"""\n3,ham,"two\nlines"\n4,spam,£900\n'
# Messages that a reader could misread: missing values, quotes, a header, whitespace at the ends.
AWKWARD = [
    "NA",
    "None",
    "nan",
    "#N/A",
    "1e5",
    "True",
    ' "quoted"',
    '"',
    "'",
    "a,b",
    "text",
    "x\u2028y\x0bz\x85",
    " \u00a0. ",
]
UNICODE = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")  # not every Python's csv quotes a lone \r


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "messages"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_all_messages_of_the_published_file_are_read(shared):
    frame = read_messages(shared / "data" / "SMSSpamCollection")
    lines = (shared / "data" / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(frame) == 5574 and (frame["Label"] == "spam").sum() == 747
    assert [f"{label}\t{text}" for label, text in zip(frame["Label"], frame["Text"])] == lines
    assert label_names(frame) == ["ham", "spam"]


def test_book_quotes_reads_like_pandas_default(shared):
    path = shared / "data" / "SMSSpamCollection"
    book = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])
    frame = read_messages(path, book_quotes=True)
    assert len(frame) == 5572
    assert frame["Label"].tolist() == book["Label"].tolist() and frame["Text"].tolist() == book["Text"].tolist()


def test_awkward_messages_survive_without_quoting(file):
    texts = AWKWARD * 2
    frame = read_messages(file("".join(f"{'spam' if i % 2 else 'ham'}\t{text}\n" for i, text in enumerate(texts))))
    assert frame["Text"].tolist() == texts


@given(texts=st.lists(st.sampled_from(AWKWARD) | st.text(UNICODE, max_size=20), min_size=2, max_size=20))
def test_awkward_messages_survive_a_csv_that_pandas_wrote(tmp_path_factory, texts):
    texts = [text if text.strip() else "." for text in texts]
    path = tmp_path_factory.mktemp("csv") / "messages.csv"
    written = pd.DataFrame({"Label": [i % 2 for i in range(len(texts))], "Text": texts})
    written.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")
    frame = read_messages(path)
    assert frame["Text"].tolist() == texts
    assert frame["Label"].tolist() == [str(label) for label in written["Label"]]


@pytest.mark.parametrize(
    "form, book_quotes", [("{},{}\n", False), ('"{}","{}"\n', False), ("{}\t{}\n", False), ('{}\t"{}"\n', True)]
)
def test_a_text_may_exceed_csvs_field_limit_which_is_restored(file, form, book_quotes):
    limit = csv.field_size_limit()
    texts = ["win " * limit, "home"]
    rows = [("label", "text"), ("spam", texts[0]), ("ham", texts[1])]
    frame = read_messages(file("".join(form.format(*row) for row in rows)), book_quotes=book_quotes)
    assert frame["Text"].tolist() == texts
    with pytest.raises(InputError, match="line 2: .*quote"):
        read_messages(file('label,text\nspam,"' + texts[0]))
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_bom_blank_lines_line_endings_and_a_missing_last_newline_do_not_matter(file, ending):
    plain = read_messages(file(UCI))
    changed = "\n" + UCI.replace("ham\tOk", "\nham\tOk").rstrip("\n")
    assert read_messages(file(codecs.BOM_UTF8 + changed.replace("\n", ending).encode())).equals(plain)


@pytest.mark.parametrize(
    "header, chosen",
    [
        ("id,Label,Text", {}),
        ("v0, V1 ,v2", {}),
        ("id,category,SMS", {}),
        ("text,kind,body", {"text_column": "body", "label_column": "kind"}),
        ("label,class,message", {"label_column": "class"}),
    ],
)
def test_columns_are_found_by_usual_or_requested_names(file, header, chosen):
    frame = read_messages(file(CSV.replace("id,Label,Text", header)), **chosen)
    assert frame["Label"].tolist() == ["ham", "spam"] * 2
    assert frame["Text"].tolist() == ["Go, now", 'He said "WIN"', "two\nlines", "£900"]


@pytest.mark.parametrize("header, chosen", [("label\ttext", {}), ("a\tb", {"text_column": "b", "label_column": "a"})])
def test_a_header_over_tab_separated_messages_is_not_a_message(file, header, chosen):
    assert read_messages(file(f"{header}\n{UCI}"), **chosen).equals(read_messages(file(UCI)))


def test_named_columns_of_a_tab_separated_file_may_have_any_place(file):
    frame = read_messages(file("text\tn\tlabel\nhi\t1\tham\nwin\t2\tspam\n"))
    assert frame.to_dict("list") == {"Label": ["ham", "spam"], "Text": ["hi", "win"]}


@pytest.mark.parametrize(
    "content, options, complaint",
    [
        ("", {}, "empty"),
        ("\n\n", {}, "empty"),
        ("label,text\n", {}, "there are no messages"),
        (codecs.BOM_UTF8 + UCI.encode("latin-1"), {}, "line 2: not UTF-8"),
        (UCI.replace("Ok", "\0"), {}, "line 3: a NUL"),
        (UCI.replace("\tOk", " Ok"), {}, "line 3: expected 2 fields, found 1.*tabs"),
        (UCI.replace(" lar", "\tlar"), {}, "line 3: expected 2 fields, found 3"),
        (UCI.replace("ham\tOk", " \tOk"), {}, "line 3: the label is missing"),
        (UCI + "ham\t \n", {}, "line 5: the message has no text"),
        (UCI.replace("spam", "ham"), {}, "every message has the label 'ham'"),
        ("kind\tbody\n" + UCI, {}, "line 1: no other message has the label 'kind'.*--text-column and --label-column"),
        (CSV + "5,ham\n", {}, "line 7: expected 3 fields, found 2"),
        (CSV + "5,ham,a,b\n", {}, "line 7: expected 3 fields, found 4; check its commas"),
        (CSV + '5,ham,"open\nand on\n', {}, "line 7: .*quote"),
        (CSV + '5,ham,"a "b" c"\n', {}, "line 7: .*quote"),
        (CSV.replace("Text", "words"), {}, "which column is the text.*--text-column.*'id', 'Label', 'words'"),
        (CSV.replace("id", "message"), {}, "which column is the text"),
        (CSV, {"text_column": "body"}, "no columns have the name 'body'.*'id', 'Label', 'Text'"),
        (CSV.replace("id", "Text"), {"text_column": "Text"}, "2 columns have the name 'Text'"),
        (CSV, {"text_column": "Label"}, "'Label' cannot be both"),
        ("ham,Go now\nspam,win\n", {}, "which column is the label.*'ham', 'Go now'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_with_its_place(file, content, options, complaint):
    path = file(content)
    with pytest.raises(InputError, match=complaint) as caught:
        read_messages(path, **options)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            read_messages(path)


@pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")
@given(original=st.sampled_from([UCI, CSV]), data=st.data(), book_quotes=st.booleans())
def test_a_damaged_file_is_refused_or_gives_its_own_messages(tmp_path_factory, original, data, book_quotes):
    content = original.encode()
    for _ in range(data.draw(st.integers(1, 3))):
        start, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 9))
        inserted = data.draw(st.binary(max_size=4) | st.sampled_from([b'"', b"\t", b"\n", b"\r", b",", b'\n"']))
        content = content[:start] + inserted + content[start + length :]
    path = tmp_path_factory.mktemp("damaged") / "messages"
    path.write_bytes(content)
    try:
        frame = read_messages(path, book_quotes=book_quotes)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert list(frame.columns) == ["Label", "Text"] and len(label_names(frame)) >= 2
    try:
        held = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        held = content.decode("windows-1252")
    held = held.replace('"', "")  # CSV quoting drops and doubles quotes, and changes nothing else
    assert all(label.strip() for label in frame["Label"]) and all(text.strip() for text in frame["Text"])
    assert all(field.replace('"', "") in held for field in [*frame["Label"], *frame["Text"]])
    # Where every line could be a message, every line is one.
    if original is UCI and not book_quotes and "\t" in held.lstrip("\r\n").splitlines()[0]:
        lines = list(filter(None, held.replace("\r", "\n").split("\n")))
        assert len(frame) == len(lines) or any(line.count("\t") != 1 for line in lines)


def test_a_stream_gives_the_same_messages_also_of_a_single_label(file):
    for content in (UCI, CSV):
        frame = read_messages(file(content))
        assert list(Messages(file(content))) == list(zip(frame["Text"], frame["Label"]))
    assert list(Messages(file("label,text\nham,hi\n"))) == [("hi", "ham")]
    assert list(Messages(file("label,text\n"))) == []


def test_a_stream_reads_lazily(file):
    stream = iter(Messages(file("label,text\n" + 5000 * "ham,hi\n" + "ham\n")))
    assert all(next(stream) == ("hi", "ham") for _ in range(5000))
    with pytest.raises(InputError, match="line 5002: expected 2 fields, found 1"):
        next(stream)
