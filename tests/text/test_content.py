"""Files are recognised by their content: compressed, in an archive, or no table at all."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpygpt.system.errors import InputError
from numpygpt.text.content import Content
from numpygpt.text.messages import read_messages

TEXT = b"label,text\nham,hi\nspam,win\n"


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return file.getvalue()


PACKED = {
    "gz": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": archive(data=TEXT),
    "the UCI's zip": archive(SMSSpamCollection=TEXT, readme=b"The SMS Spam Collection v.1\n"),
    "a Mac's zip": archive(**{"data/": b"", "data/a.csv": TEXT, "__MACOSX/._a.csv": b"x", "data/.DS_Store": b"x"}),
    "a zip in a gz": gzip.compress(archive(data=TEXT)),
}


@pytest.mark.parametrize("name", ["messages", "messages.csv", "messages.gz"])
@pytest.mark.parametrize("what", PACKED)
def test_a_compressed_file_is_recognised_by_its_content(tmp_path, what, name):
    (tmp_path / name).write_bytes(PACKED[what])
    assert read_messages(tmp_path / name).to_dict("list") == {"Label": ["ham", "spam"], "Text": ["hi", "win"]}


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.csv"))
    return file.getvalue()


def encrypted():
    content = bytearray(archive(data=TEXT))
    for place in (6, content.index(b"PK\x01\x02") + 8):
        content[place] |= 1
    return bytes(content)


REFUSED = {
    "two files": (
        archive(**{"a.csv": TEXT, "b.csv": TEXT}),
        "expected an archive with one data file, found a.csv, b.csv",
    ),
    "only a readme": (archive(**{"README.txt": b"x"}), "expected an archive with one data file, found no file"),
    "a document": (archive(**{"[Content_Types].xml": b"", "word/document.xml": b""}), "an office document"),
    "an open document": (archive(**{"mimetype": b"", "content.xml": b""}), "an office document"),
    "an empty archive": (archive(), "an empty archive"),
    "an encrypted zip": (encrypted(), "damaged or encrypted.*password"),
    "a truncated gz": (PACKED["gz"][:-9], "damaged or encrypted"),
    "a truncated bz2": (PACKED["bz2"][:-9], "damaged or encrypted"),
    "a truncated xz": (PACKED["xz"][:-9], "damaged or encrypted"),
    "a truncated zip": (PACKED["zip"][:-9], "damaged or encrypted"),
    "a tar": (tarred(), "a tar archive, which cannot be read. Save the messages as CSV, JSON or Parquet"),
    "a tar.gz": (gzip.compress(tarred()), "a tar archive"),
    "an old Excel file": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel or Word file"),
    "a pickle": (b"\x80\x04\x95\x05\0", "a pickle"),
    "an old pickle": (b"\x80\x02}q\x01.", "a pickle"),
    "a web page": (b"\n<!DOCTYPE html>\n<html>", "a web page or XML, which cannot be read"),
    "a Stata file": (b"<stata_dta><header>", "a Stata file"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "a PDF": (b"%PDF-1.7\n", "a PDF file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_no_table_is_refused_with_its_kind(tmp_path, what):
    content, complaint = REFUSED[what]
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"data.csv: .*{complaint}") as caught:
        read_messages(tmp_path / "data.csv")
    assert "\n" not in str(caught.value) and "UTF-8" not in str(caught.value)


@given(what=st.sampled_from(sorted(PACKED)), place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_archive_is_refused_or_gives_its_own_messages_only(tmp_path_factory, what, place, byte):
    content = bytearray(PACKED[what])
    content[place % len(content)] = byte
    path = tmp_path_factory.mktemp("damaged") / "a"
    path.write_bytes(content)
    try:
        frame = read_messages(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert frame["Text"].tolist() == ["hi", "win"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_once_and_completely(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[PACKED["gz"]])
    writer.start()
    assert len(read_messages(tmp_path / "pipe")) == 2
    writer.join()


def test_reading_leaves_no_file_open(tmp_path):
    (tmp_path / "a").write_bytes(PACKED["a zip in a gz"])
    content = Content(tmp_path / "a")
    with content.open() as file:
        assert file.read() == TEXT
    assert file.closed


@pytest.mark.parametrize("places", [1, 2])
def test_a_zip_with_damaged_member_names_is_refused(tmp_path, places):
    """A zip has each member's name twice: before the member and in the directory at the end."""
    (tmp_path / "a").write_bytes(archive(**{"é.csv": TEXT}).replace("é".encode(), b"\xff\xff", places))
    with pytest.raises(InputError, match="damaged or encrypted"):
        read_messages(tmp_path / "a")
