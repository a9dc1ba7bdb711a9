"""Split messages into training, validation and test sets: balance, shuffle, cut and write them as the book does."""

from pathlib import Path

from ..system.errors import InputError
from ..system.files import write_file
from .messages import Messages, label_names, quoted
from .sources import SAMPLE

SHARES = 0.7, 0.1  # of the messages, for training and for validation, as in the book
SAMPLE_SHARES = 0.52, 0.1  # 1,248 and 240 messages: more training messages take longer, fewer are worse
SETS = ("train.csv", "validation.csv", "test.csv")  # their files in a run folder


def shares(path):
    """Return the shares of a message file that are for training and for validation.

    The bundled sample has its own shares. All other files have the book's.
    """
    return SAMPLE_SHARES if path == SAMPLE else SHARES


def balance(frame, seed=123, most=None):
    """Draw at most `most` messages of every label, by default as many as the rarest label has. Sort them by label.

    Messages are drawn with pandas' `.sample(random_state=seed)`, seed 0 … 2^32 - 1. A label with at most so many keeps
    all its messages in file order. For the UCI data the result is the book's set: 747 drawn ham messages, then all 747
    spam messages.
    """
    import pandas as pd

    groups = [frame[frame["Label"] == name] for name in label_names(frame)]
    size = min(map(len, groups)) if most is None else most
    drawn = [group if len(group) <= size else group.sample(size, random_state=seed) for group in groups]
    return pd.concat(drawn, ignore_index=True)


def split(frame, train=SHARES[0], validation=SHARES[1], seed=123, stratified=False):
    """Shuffle the messages with pandas and cut them. Return (training, validation, test) frames.

    The first two sets have int(messages * fraction) messages, as in the book. The test set has the remaining messages.
    With `stratified`, these are the numbers of each label's messages, and at least one. Raises InputError if the
    fractions are invalid, a set is empty, or a label has no message in a set.
    """
    if not (train > 0 and validation > 0 and train + validation < 1):
        raise InputError(
            f"the fractions {train} for training and {validation} for validation must be above 0 and add to less than 1"
        )
    shuffled = frame.sample(frac=1, random_state=seed).reset_index(drop=True)
    first, second = int(len(frame) * train), int(len(frame) * validation)
    sets = shuffled[:first], shuffled[first : first + second], shuffled[first + second :]
    if stratified:
        labels = shuffled["Label"]
        count, place = labels.map(labels.value_counts()), shuffled.groupby("Label").cumcount()
        second = (count * validation).astype(int).clip(lower=1)
        first = (count * train).astype(int).clip(upper=count - second - 1).clip(lower=1)
        sets = tuple(
            shuffled[part]
            for part in (place < first, (first <= place) & (place < first + second), first + second <= place)
        )
    if not all(map(len, sets)):
        sizes = " / ".join(str(len(part)) for part in sets)
        raise InputError(
            f"{len(frame)} messages make sets of {sizes} (training / validation / test), but no set may be empty; "
            "use more messages"
        )
    counts = frame["Label"].value_counts()
    for name, part in zip(("training", "validation", "test"), sets):
        if absent := sorted(set(counts.index) - set(part["Label"])):
            some = ", ".join(f"{label!r} ({counts[label]:,} used)" for label in absent[:8])
            more = f" and of {len(absent) - 8} more labels" if len(absent) > 8 else ""
            raise InputError(f"the {name} set has no message of {some}{more}; use more messages")
    return sets


def write_split(folder, sets, names):
    """Write (training, validation, test) to train.csv, validation.csv and test.csv in an existing folder.

    The columns are Label, the label's index in `names`, and Text. The files are byte for byte those that the book
    writes with pandas' to_csv, and every text reads back unchanged. Raises OSError like open() and write().
    """
    for file_name, part in zip(SETS, sets):
        rows = [f"{names.index(label)},{quoted(text)}\n" for label, text in zip(part["Label"], part["Text"])]
        write_file(Path(folder) / file_name, "".join(["Label,Text\n", *rows]))


class SplitSet:
    """The (text, label) of each message in a file from write_split, with the labels' names, as often as you iterate.

    Raises InputError if the file is missing or has other labels.
    """

    def __init__(self, path, names):
        self.path, self.names = path, names

    def __iter__(self):
        numbers = {str(number): name for number, name in enumerate(self.names)}
        for text, number in Messages(self.path, encoding="utf-8"):
            if number not in numbers:
                raise InputError(
                    f"{self.path}: label {number!r} is not one of 0 to {len(self.names) - 1}, which training wrote"
                )
            yield text, numbers[number]


def read_split(folder, names):
    """Read the (training, validation, test) frames from a folder of write_split. Raises InputError like SplitSet."""
    import pandas as pd

    sets = ([*SplitSet(Path(folder) / name, names)] for name in SETS)
    return tuple(pd.DataFrame(part, columns=["Text", "Label"]) for part in sets)
