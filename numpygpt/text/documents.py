"""Read plain text for pretraining."""

import math

from ..system.errors import InputError, counted


def read_documents(paths, lines=False, weights=None):
    """Read UTF-8 text files. Return a list of documents: one per file, or one per line if `lines` is true.

    weights   how often the documents of each file are repeated, 1 by default: 2 repeats every document, and 0.5 keeps
              every second one

    Surrounding whitespace is removed and empty documents are skipped. Raises InputError, naming the file and line, if a
    file cannot be read or is not UTF-8; if a weight leaves out a whole file, or is not a whole number for a file that
    is one document; and if there is no document.
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
                f"{path}: the file is one document, which cannot be repeated {weight:g} times; "
                "use a whole number or --lines"
            )
        if found and len(found) * weight < 1:
            raise InputError(
                f"{path}: a weight of {weight:g} leaves nothing of its {counted(len(found), 'document')}; use a "
                "larger weight"
            )
        for i, document in enumerate(found):
            documents += [document] * (math.floor((i + 1) * weight) - math.floor(i * weight))
    if not documents:
        raise InputError(f"{', '.join(map(str, paths))}: there is no text to train on; name files with text")
    return documents
