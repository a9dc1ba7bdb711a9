"""Plain text to pretrain on."""

from ..system.errors import InputError


def read_documents(paths, lines=False):
    """The documents of UTF-8 text files, without surrounding blanks:
    one a file, or with `lines` one a line. Empty ones are skipped.

    Raises InputError, naming the file and line, for a file that cannot be read, is not UTF-8, or where nothing is left.
    """
    documents = []
    for path in paths:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise InputError(f"{path}: cannot read the text ({error.strerror})") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
        documents += text.split("\n") if lines else [text]
    documents = [document.strip() for document in documents]
    if not any(documents):
        raise InputError(f"{', '.join(map(str, paths))}: there is no text")
    return [document for document in documents if document]
