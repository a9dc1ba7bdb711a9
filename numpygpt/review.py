"""python -m numpygpt.review: find messages in a labelled file whose labels look wrong."""

from pathlib import Path

from .system import command
from .system.settings import Number
from .text.reading import add_options


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


main = command.main("review", arguments)


if __name__ == "__main__":
    command.run(main)
