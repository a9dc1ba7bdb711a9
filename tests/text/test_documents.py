import codecs

import pytest

from numpygpt.system.errors import InputError
from numpygpt.text.documents import read_documents


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_file_is_one_stripped_document(write):
    paths = [write("a", "  one\ntwo\n\n"), write("b", "\t\n"), write("c", "drei\n")]
    assert read_documents(paths) == ["one\ntwo", "drei"]


def test_each_line_is_a_document_on_request(write):
    paths = [write("a", " one \r\n\r\n \ntwo\u2028still two\x0b\x85three"), write("b", "four\n")]
    assert read_documents(paths, lines=True) == ["one", "two\u2028still two\x0b\x85three", "four"]


def test_a_byte_order_mark_is_removed(write):
    assert read_documents([write("a", codecs.BOM_UTF8 + "é".encode())]) == ["é"]


@pytest.mark.parametrize("content", ["", " \n\t\n"])
@pytest.mark.parametrize("lines, weight", [(False, 1), (False, 0.5), (True, 0.5)])
def test_all_files_without_text_are_named(write, content, lines, weight):
    with pytest.raises(InputError, match="a, .*b: there is no text"):
        read_documents([write("a", content), write("b", "")], lines, [weight, weight])


def test_a_line_that_is_not_utf8_is_named(write):
    with pytest.raises(InputError, match="latin, line 3: not UTF-8"):
        read_documents([write("good", "fine"), write("latin", "a\n\né".encode("latin-1"))])


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"{tmp_path / name}: cannot read the text"):
        read_documents([tmp_path / name])


def test_a_weight_repeats_each_document_of_a_file(write):
    paths = [write("a", "one\n\ntwo\nthree\nfour\n"), write("b", "five"), write("c", "six\nseven\n")]
    assert read_documents(paths, lines=True, weights=[0.5, 1, 1.5]) == ["two", "four", "five", "six", "seven", "seven"]


@pytest.mark.parametrize(
    "text, lines, weight, message",
    [
        ("one\ntwo\n", False, 0.5, "a: the file is one document, which cannot be repeated 0.5 times; .* --lines"),
        ("one\ntwo\n", False, 1.5, "a: the file is one document, which cannot be repeated 1.5 times; .* --lines"),
        ("one\ntwo\n", True, 0.4, "a: a weight of 0.4 leaves nothing of its 2 documents; use a larger weight"),
    ],
)
def test_a_weight_that_drops_or_rounds_a_file_is_refused(write, text, lines, weight, message):
    with pytest.raises(InputError, match=message):
        read_documents([write("a", text), write("b", "three\nfour")], lines, [weight, 1])
