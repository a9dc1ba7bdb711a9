"""Find the encoding of a text, and read its lines."""

import codecs
import io
import re

from ..system.errors import InputError

WINDOWS = "windows-1252"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark begins this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_AT_ONCE = 1 << 20  # bytes
_SHOWN = 12  # characters on both sides of the first that is not UTF-8
_ESCAPED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that cannot be decoded
_LINE_END = re.compile(r"\r\n|\r|\n")


def known_encoding(name):
    """Return Python's name of a text encoding. Raises ValueError for an unknown one, as an argparse type should."""
    try:
        found = codecs.lookup(name)
    except LookupError:
        raise ValueError(name) from None
    if not found._is_text_encoding:
        raise ValueError(name)
    return "utf-8-sig" if found.name == "utf-8" else found.name  # which also reads a text without a mark


def find_encoding(content):
    """Return (encoding, None or a sentence for the user) of a Content.

    It is what the file's mark says, UTF-8 if the whole file is UTF-8, and Windows-1252 otherwise. Raises InputError,
    naming the line, where most of the file is UTF-8: it is damaged.
    """
    with content.open() as file:
        start = file.read(4)
        for mark, encoding in _MARKS.items():
            if start.startswith(mark):
                return encoding, None
    try:
        for _ in _decoded(content, "strict"):
            pass
        return "utf-8", None
    except UnicodeDecodeError:
        line, lines, bad, good, shown = 0, 1, 0, 0, ""
    for text in _decoded(content, "surrogateescape"):
        if not text.isascii():
            escaped = list(_ESCAPED.finditer(text))
            if escaped and not bad:
                place = escaped[0].start()
                line = lines + len(_LINE_END.findall(text, 0, place))
                began = max(text.rfind("\n", 0, place) + 1, place - _SHOWN)
                shown = text[began : place + _SHOWN].splitlines()[0]
            bad += len(escaped)
            good += sum(character > "\x7f" for character in text) - len(escaped)
        lines += len(_LINE_END.findall(text))
    if good >= bad:
        raise InputError(
            f"{content.path}, line {line}: not UTF-8, although most of the file is. Mend this line, or pass --encoding"
        )
    shown = shown.encode(errors="surrogateescape").decode(WINDOWS, errors="replace")
    return WINDOWS, (
        f"{content.path} is not UTF-8 (line {line}). It is read as {WINDOWS}, which gives {shown!r}; --encoding names "
        "another one"
    )


def _decoded(content, errors):
    """Yield the content in parts, decoded as UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    with content.open() as file:
        while part := file.read(_AT_ONCE):
            yield decoder.decode(part)
        yield decoder.decode(b"", final=True)


def read_lines(content, encoding):
    """Yield the lines of a Content, with their line ends: \\n, \\r\\n or \\r. Raises InputError like `checked`."""
    with content.open() as file, text_of(file, encoding) as text:
        yield from checked(text, encoding, content.path)


def read_parts(content, encoding, size=1 << 16):
    """Like read_lines, but yields parts of `size` characters, for a text that may be a single line."""
    with content.open() as file, text_of(file, encoding) as text:
        yield from checked(iter(lambda: text.read(size), ""), encoding, content.path)


def text_of(file, encoding, newline=""):
    """Return a binary file as text, for `checked`. `newline` is open()'s."""
    return io.TextIOWrapper(file, encoding, errors="surrogateescape", newline=newline)


def checked(parts, encoding, where):
    """Yield the parts of a text from `text_of`.

    Raises InputError, naming the line, for bytes that are not in the encoding, and for a NUL character.
    """
    line = 1
    try:
        for number, part in enumerate(parts):
            wrong = None if part.isascii() else _ESCAPED.search(part)
            if wrong or "\0" in part:
                line += len(_LINE_END.findall(part, 0, wrong.start() if wrong else part.index("\0")))
                what = f"not {_shown(encoding)}" if wrong else "a NUL character"
                raise InputError(f"{where}, line {line}: {what}; save the text as UTF-8, or pass --encoding")
            line += len(_LINE_END.findall(part))
            yield part if number else part.lstrip("\ufeff")  # the mark, which some codecs leave
    except UnicodeError as error:
        raise InputError(
            f"{where}, after line {line}: not {_shown(encoding)} ({error}); pass another --encoding"
        ) from None


def _shown(encoding):
    return encoding.removesuffix("-sig").replace("utf", "UTF")
