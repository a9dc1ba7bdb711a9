"""python -m numpygpt.review: find messages in a labelled file whose labels look wrong."""

import numpygpt.system.process  # noqa: F401  before NumPy

import shutil
from pathlib import Path

from .system import command
from .system.errors import InputError
from .system.settings import Number
from .text.reading import add_options, reading

SHOWN = 20


def arguments(argv=None):
    parser = command.parser(
        "review",
        "Find labels that look wrong. Each message is classified by a model that was trained on the other messages and "
        "their labels, and messages whose label that model finds unlikely are listed, the least likely first. Messages "
        "with the same text and different labels come before all others. Nothing is changed: read the list and "
        "decide. The model may be the one that is wrong.",
        [
            "python -m numpygpt.review sms",
            "python -m numpygpt.review mine.csv --out suspects.csv",
            "python -m numpygpt.review reviews.tsv --label-column stars --model gpt2",
        ],
    )
    parser.add_argument("data", help="labelled messages, as for numpygpt.train: a file, sample or sms")
    add_options(parser)
    parser.add_argument("--model", default="mini", help="the pretrained GPT-2 that reads the messages")
    command.add_heads(parser)
    parser.add_argument(
        "--folds", type=command.number(Number(int, 2)), default=5, help="the parts that the messages are divided into"
    )
    parser.add_argument(
        "--seed", type=command.number(Number(int, 0, 2**32 - 1)), default=123, help="the seed that draws the parts"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write all suspects to this file")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    from .api.gpt import load
    from .explain.label_review import DUPLICATE, review
    from .system.files import check_new_file, replacing
    from .text.messages import read_messages
    from .text.sources import find_messages

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
    print(f"About {expected:,} labels ({expected / total:.1%}) are expected to be wrong; or the model is")
    if duplicates:
        print(f"{duplicates:,} messages have the same text as another message, and another label")
    if not len(suspects):
        print("No label looks wrong")
    else:
        print(f"\n{table(suspects.head(SHOWN), shutil.get_terminal_size().columns)}")
        if len(suspects) > SHOWN:
            print(f"… and {len(suspects) - SHOWN:,} more, less likely" + ("" if args.out else " (--out FILE.csv)"))
    if args.out:
        with replacing(args.out) as file:
            file.write(suspects.to_csv(index=False, lineterminator="\n").encode())
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


if __name__ == "__main__":
    command.run(main)
