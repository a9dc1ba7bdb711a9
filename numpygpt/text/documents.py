"""Plain text to pretrain on."""

import math

from ..system.errors import InputError


def read_documents(paths, lines=False, weights=None):
    """The documents of UTF-8 text files, without surrounding blanks:
    one a file, or with `lines` one a line. Empty ones are skipped.

    weights   for each file how often each of its documents comes, 1 unless told:
              2 is twice, 0.5 every second document
    Raises InputError, naming the file and line, for a file that cannot be read, is not UTF-8, or where nothing is left.
    """
    documents = []
    for path, weight in zip(paths, weights or [1] * len(paths)):
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise InputError(f"{path}: cannot read the text ({error.strerror})") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
        found = [document.strip() for document in (text.split("\n") if lines else [text])]
        for i, document in enumerate(filter(None, found)):
            documents += [document] * (math.floor((i + 1) * weight) - math.floor(i * weight))
    if not documents:
        raise InputError(f"{', '.join(map(str, paths))}: there is no text")
    return documents
