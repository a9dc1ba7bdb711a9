"""The three sets that training works with: as many messages of each label,
shuffled, cut, and written as the book does."""

from pathlib import Path

import pandas as pd

from ..system.errors import InputError
from ..system.files import replacing
from .messages import label_names, quoted, stream_messages

SETS = ("train.csv", "validation.csv", "test.csv")  # their files in a run folder


def balance(frame, seed=123):
    """As many messages of every label as the rarest one has, label after label in sorted order.

    Messages are drawn with pandas' `.sample(random_state=seed)`, seed 0 … 2^32 - 1; the rarest label keeps its messages
    in file order. Of the UCI data that makes the book's set: 747 ham drawn, then all 747 spam.
    """
    groups = [frame[frame["Label"] == name] for name in label_names(frame)]
    size = min(map(len, groups))
    drawn = [group if len(group) == size else group.sample(size, random_state=seed) for group in groups]
    return pd.concat(drawn, ignore_index=True)


def split(frame, train=0.7, validation=0.1, seed=123):
    """(training, validation, test) frames: everything shuffled with pandas, then cut; the test set is the rest.

    Sizes are int(messages * fraction), as the book's.
    Raises InputError where the fractions leave one of the sets empty.
    """
    if not (train > 0 and validation > 0 and train + validation < 1):
        raise InputError(
            f"fractions {train} for training and {validation} for validation: both above 0, together below 1"
        )
    shuffled = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    first, second = int(len(frame) * train), int(len(frame) * validation)
    sets = shuffled[:first], shuffled[first : first + second], shuffled[first + second :]
    if not all(map(len, sets)):
        sizes = " / ".join(str(len(part)) for part in sets)
        raise InputError(
            f"{len(frame)} messages make sets of {sizes} (training / validation / test); none may be empty: use more"
        )
    return sets


def write_split(folder, sets, names):
    """Write (training, validation, test) to train.csv, validation.csv and test.csv in an existing folder.

    Columns Label, a label's place in `names`, and Text: byte for byte what pandas' to_csv writes in the book,
    and every text reads back as it was. Raises OSError as open() and write() do.
    """
    for file_name, part in zip(SETS, sets):
        rows = [f"{names.index(label)},{quoted(text)}\n" for label, text in zip(part["Label"], part["Text"])]
        with replacing(Path(folder) / file_name) as file:
            file.write("".join(["Label,Text\n", *rows]).encode())


def read_set(path, names):
    """The messages of a file that write_split wrote, one by one, (text, label), labels by their names again.

    Raises InputError where the file is another, or not there.
    """
    numbers = {str(number): name for number, name in enumerate(names)}
    for text, number in stream_messages(path):
        if number not in numbers:
            raise InputError(f"{path}: label {number!r} is none of 0 to {len(names) - 1}, which training wrote")
        yield text, numbers[number]


def read_split(folder, names):
    """The (training, validation, test) frames that write_split wrote to the folder. Raises InputError as read_set."""
    sets = ([*read_set(Path(folder) / name, names)] for name in SETS)
    return tuple(pd.DataFrame(part, columns=["Text", "Label"]) for part in sets)
