"""List the messages in a labelled file whose labels look wrong."""

import shutil
from pathlib import Path

from ..api.gpt import load
from ..explain.label_review import DUPLICATE, review
from ..system import command
from ..system.errors import InputError, counted
from ..system.files import check_new_file, write_file
from ..text.messages import read_messages
from ..text.reading import reading
from ..text.sources import find_messages

SHOWN = 20


def run(args):
    path = find_messages(args.data)
    if args.out and args.out.resolve() == Path(path).resolve():
        raise InputError(f"{path}: --out would overwrite the messages. Name another file")
    if args.out:
        check_new_file(args.out)
    messages = read_messages(path, **reading(args))
    progress = command.Progress("reading", "messages")
    features = load(args.model, heads=args.heads).features(messages["Text"].tolist(), progress)
    progress.clear()
    suspects, expected = review(
        messages["Text"].tolist(), messages["Label"].tolist(), features, folds=args.folds, seed=args.seed
    )
    total, duplicates = len(messages), int((suspects["why"] == DUPLICATE).sum())
    print(f"{total:,} messages of {path}, each classified by a model of {args.model} that has not seen it")
    print(f"Labels expected to be wrong: about {expected:,} ({expected / total:.1%}). Or the model is wrong")
    if duplicates:
        print(f"{counted(duplicates, 'message')} with the same text as another message, and another label")
    if not len(suspects):
        print("No label looks wrong")
    else:
        print(f"\n{table(suspects.head(SHOWN), shutil.get_terminal_size().columns)}")
        if len(suspects) > SHOWN:
            print(f"… and {len(suspects) - SHOWN:,} more, less likely" + ("" if args.out else " (--out FILE.csv)"))
    if args.out:
        write_file(args.out, suspects.to_csv(index=False, lineterminator="\n"))
        print(f"\nall {len(suspects):,} suspects: {args.out}")


def table(suspects, columns):
    """Return the suspects as lines that fit the terminal: the given label, the suggested one, its probability, text."""
    width = max(5, *(len(label) for label in [*suspects["label"], *suspects["suggested"]]))
    lines = [f"{'label':{width}}  {'rather':{width}}  probability  text"]
    for row in suspects.itertuples():
        start = f"{row.label:{width}}  {row.suggested:{width}}  {row.suggested_probability:11.1%}  "
        text, room = " ".join(row.text.split()), max(20, columns - len(start))
        lines.append(start + (text if len(text) <= room else text[: room - 1] + "…"))
    return "\n".join(lines)
