"""Texts in common encodings."""

import codecs
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.system.errors import InputError, Note
from numpygpt.text.content import Content
from numpygpt.text.encodings import find_encoding, known_encoding, read_lines, read_parts
from numpygpt.text.messages import read_messages

TEXT = "label,text\nham,“See you” at six… £5\nspam,Win £900 – now\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "messages"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_utf8_and_marked_texts_are_read_without_a_note(file, encoding):
    content = codecs.BOM_UTF16_BE + TEXT.encode(encoding) if encoding == "utf-16-be" else TEXT.encode(encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_messages(file(content))
    assert read["Text"].tolist() == ["“See you” at six… £5", "Win £900 – now"]


def test_any_other_text_is_read_as_windows_1252_with_a_note(file):
    """Kaggle's spam.csv is such a file."""
    note = r"messages is not UTF-8 \(line 2\). It is read as windows-1252, which gives 'ham,“See you” at'; --encoding"
    with pytest.warns(Note, match=note):
        read = read_messages(file(TEXT.encode("windows-1252")))
    assert read["Text"].tolist() == ["“See you” at six… £5", "Win £900 – now"]


def test_a_requested_encoding_is_used_without_a_note(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_messages(file("label,text\nham,żółw\nspam,dom\n".encode("iso8859-2")), encoding="iso8859-2")
        assert read["Text"][0] == "żółw"
        assert read_messages(file(TEXT.encode("utf-16-le")), encoding="utf-16-le")["Text"][1] == "Win £900 – now"
        marked = file(codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"))
        assert read_messages(marked, encoding="utf-16-le")["Label"][0] == "ham", "the mark is no part of a name"
        mojibake = read_messages(file(TEXT.encode()), encoding="latin-1")["Text"][1]
    assert mojibake == "Win £900 – now".encode().decode("latin-1")


@pytest.mark.parametrize(
    "content, encoding, complaint",
    [
        (TEXT.encode() + b"ham,\xff\n", None, "line 4: not UTF-8, although most of the file is. Mend"),
        (TEXT.encode()[:-4] + "é".encode()[:1], None, "line 3: not UTF-8, although"),
        (codecs.BOM_UTF8 + b"label,text\nham,\xa3\n", None, "line 2: not UTF-8; save the text as UTF-8"),
        (b"label,text\nham,\x81\nspam,\xa3\n", None, "line 2: not windows-1252; save"),
        (TEXT.encode("windows-1252"), "utf-8", "line 2: not UTF-8; save the text as UTF-8, or pass --encoding"),
        (b"label,text\nham,hi\n\nspam,\xa3\n", "ascii", "line 4: not ascii"),
        (TEXT.encode("utf-16-le"), None, "line 1: a NUL character"),
        (TEXT.encode("utf-16-le")[:-1], "utf-16-le", "not UTF-16-le"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")[:-1], None, "not UTF-16"),
    ],
)
@pytest.mark.filterwarnings("ignore::numpygpt.system.errors.Note")
def test_bytes_invalid_in_the_encoding_are_refused_with_their_place(file, content, encoding, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        read_messages(file(content), encoding=encoding and known_encoding(encoding))
    assert "\n" not in str(caught.value)


def test_only_text_encodings_are_accepted():
    assert known_encoding("latin1") == known_encoding("ISO-8859-1") and known_encoding("UTF8") == "utf-8-sig"
    for name in ("klingon", "base64", "rot13", ""):
        with pytest.raises(ValueError):
            known_encoding(name)


@given(
    text=st.text(st.sampled_from("aé£€“\r\n") | st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "windows-1252"]),
)
def test_a_text_is_read_alike_from_any_encoding(tmp_path_factory, text, encoding):
    try:
        written = text.encode(encoding)
    except UnicodeEncodeError:
        return
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(written)
    content = Content(path)
    try:
        found, note = find_encoding(content)
    except InputError as error:
        assert "although most" in str(error) and encoding == "windows-1252"
        return
    if encoding != "windows-1252" or found == "windows-1252":
        assert "".join(read_lines(content, found)) == "".join(read_parts(content, found, 3)) == text.lstrip("\ufeff")
    assert (note is None) == (found != "windows-1252")
