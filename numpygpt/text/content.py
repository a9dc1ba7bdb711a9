"""Open a data file by what it holds, whatever its name: plain, compressed, or the one file of an archive."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from ..system.errors import InputError

HEAD = 512  # bytes that tell what a file is
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZIP = b"PK\x03\x04"
ARROW = b"ARROW1"
_BINARY = {b"PAR1": "parquet", ARROW: "arrow", b"\xff\xff\xff\xff": "arrow"}  # the last: a stream of Arrow
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"%PDF": "a PDF file",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x05\x06": "an empty archive",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04\x95": "a pickle",
    b"\x80\x05\x95": "a pickle",
    b"FEA1": "a Feather file of version 1",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
    b"RDX3\n": "an R workspace",
    b"X\n\0\0\0": "an R object",
    b"version https://git-lfs": "a Git LFS pointer (run `git lfs pull`)",
}
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|table|\?xml)", re.IGNORECASE)
_DATA = (".csv", ".tsv", ".txt", ".jsonl", ".parquet", ".arrow", ".xlsx", ".zip", ".gz")
# What the standard library raises for a damaged or encrypted archive.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)


class Content:
    """The content of a file, uncompressed. It can be opened more than once.

    kind    "text", "parquet", "arrow" or "xlsx"

    Raises InputError for a file that cannot be read, or that is known to be something else.
    """

    def __init__(self, path):
        self.path, self._layers, self._bytes = Path(path), [], None
        if self.path.is_dir():
            self.path = _file_of(self.path)
        if self.path.exists() and not self.path.is_file():  # a pipe, which can be read only once
            with self.open() as file:
                self._bytes = file.read()
        self.kind = self._look()

    @contextmanager
    def open(self):
        """Give the content as a binary file. The errors of a missing or damaged file become InputError."""
        try:
            with ExitStack() as opened:
                file = opened.enter_context(self.path.open("rb") if self._bytes is None else io.BytesIO(self._bytes))
                for layer in self._layers:
                    file = opened.enter_context(layer(file))
                yield file
        except _DAMAGED as error:
            raise InputError(f"{self.path}: the archive is damaged or encrypted ({error})") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot read the messages ({error.strerror or error})") from None

    def _look(self):
        """Return the kind. Every compression of the content becomes a layer."""
        while True:
            with self.open() as file:
                head = file.read(HEAD)
                names = _archive(file).namelist() if head.startswith(_ZIP) else []
            if unpack := _first(_COMPRESSED, head):
                self._layers.append(unpack)
            elif "xl/workbook.xml" in names:
                return "xlsx"
            elif names:
                self._layers.append(partial(_archive, name=self._only(names)))
            elif what := _other(head):
                raise InputError(
                    f"{self.path}: {what}, which cannot be read. Save the messages as CSV, JSON or Parquet"
                )
            else:
                return _first(_BINARY, head) or "text"

    def _only(self, names):
        """Return the name of the archive's file. A folder, a system's own files and a read-me are no data."""
        if "mimetype" in names or "[Content_Types].xml" in names:
            raise InputError(f"{self.path}: an office document. Save its table as CSV or .xlsx")
        data = [
            name
            for name in names
            if not name.endswith("/")
            and not name.startswith("__MACOSX/")
            and not Path(name).name.startswith(".")
            and not Path(name).name.lower().startswith("readme")
        ]
        if len(data) != 1:
            some = ", ".join(data[:10]) or "no file"
            raise InputError(f"{self.path}: expected an archive with one data file, found {some}. Unpack it first")
        return data[0]


def _file_of(folder):
    """Return the only file of a data set that Hugging Face datasets saved. Raises InputError for any other folder."""
    paths = [path for level in ("*", "*/*") for path in sorted(folder.glob(level)) if path.suffix in _DATA]
    if (folder / "state.json").is_file() and len(paths) == 1:
        return paths[0]
    some = ", ".join(str(path.relative_to(folder)) for path in paths[:5]) or "it holds none"
    raise InputError(f"{folder}: cannot read the messages of a folder. Name one file: {some}{' …' * (len(paths) > 5)}")


def _other(head):
    """Return what a file is that cannot be read, or None."""
    if head[257:262] == b"ustar":
        return "a tar archive"
    return "a web page or XML" if _MARKUP.match(head) else _first(_OTHERS, head)


def _first(table, head):
    """Return the value of the first key that `head` starts with, or None."""
    return next((value for magic, value in table.items() if head.startswith(magic)), None)


def _archive(file, name=None):
    """Return the zip archive in a binary file, or its member `name` as a binary file."""
    try:
        archive = zipfile.ZipFile(file)
        return archive if name is None else archive.open(name)
    except (ValueError, KeyError) as error:  # for damaged names
        raise zipfile.BadZipFile(error) from None
