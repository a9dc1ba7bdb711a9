"""Plain text to pretrain on."""

import math

from ..system.errors import InputError


def read_documents(paths, lines=False, weights=None):
    """The documents of UTF-8 text files, without surrounding blanks:
    one a file, or with `lines` one a line. Empty ones are skipped.

    weights   for each file how often each of its documents comes (default: 1): 2 is twice, 0.5 every second document
    Raises InputError, naming the file and line, for a file that cannot be read or is not UTF-8; for a weight that would
    leave a file out, or that is no whole number where the file is one document; and where there is no text at all.
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
        found = [document for document in found if document]
        if found and weight % 1 and not lines:
            raise InputError(
                f"{path}: the file is one document, which cannot count {weight:g} times; "
                "give a whole number, or --lines"
            )
        if found and len(found) * weight < 1:
            raise InputError(
                f"{path}: a weight of {weight:g} leaves out all of its {len(found)} documents; give a larger one"
            )
        for i, document in enumerate(found):
            documents += [document] * (math.floor((i + 1) * weight) - math.floor(i * weight))
    if not documents:
        raise InputError(f"{', '.join(map(str, paths))}: there is no text")
    return documents
