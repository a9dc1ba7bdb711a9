"""python -m numpygpt.evaluate: measure a trained classifier on its test set or on your own labelled messages."""

from pathlib import Path

from .system import command
from .text.reading import FORMATS, add_options
from .training.launch import on_every_rank


def arguments(argv=None):
    parser = command.parser(
        "evaluate",
        "Measure a classifier from numpygpt.train on labelled messages: accuracy, with its 95 % confidence interval; "
        "precision, recall and F1 of each label; the confusion matrix; calibration; and the most confident mistakes. "
        "For comparison, the command also shows the accuracy of naive Bayes on word counts, trained on the run's "
        "training set.",
        [
            "python -m numpygpt.evaluate runs/001",
            "python -m numpygpt.evaluate runs/001 mine.csv --predictions answers.csv",
            "python -m numpygpt.evaluate runs/001 reviews.tsv --label-column stars",
            "mpiexec -n 4 python -m numpygpt.evaluate runs/001 many.csv",
        ],
    )
    parser.add_argument("run", type=Path, help="a run folder from numpygpt.train")
    parser.add_argument(
        "data",
        nargs="?",
        help=f"labelled messages: sample, sms or a file, read in the same way as for training ({FORMATS}); or one of "
        "the run's three sets (default: its test.csv). The labels must be the run's",
    )
    add_options(parser)
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE.csv",
        help="write every answer to this file: text, label, prediction, the probability of each label, and unseen, the "
        "share of the text's tokens that no training message had",
    )
    return parser.parse_args(argv)


main = on_every_rank(command.main("evaluate", arguments))


if __name__ == "__main__":
    command.run(main)
