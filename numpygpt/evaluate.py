"""python -m numpygpt.evaluate: measure a trained classifier on its test set or on your own labelled messages."""

import numpygpt.system.process  # noqa: F401  before NumPy

from contextlib import nullcontext
from pathlib import Path

from .api.run import load_run
from .system import command
from .system.errors import InputError
from .system.files import check_new_file, replacing
from .text.messages import Messages
from .text.reading import FORMATS, add_options, reading
from .text.sources import find_messages
from .text.split import SETS, SplitSet
from .training.evaluation import count_messages, evaluate
from .training.naive_bayes import NaiveBayes
from .training.ranks import on_every_rank
from .training.run_folder import recipe_of


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


@on_every_rank
def main(argv, ranks):
    args = arguments(argv)
    clf = load_run(args.run)
    path = ranks.in_turn(find_messages, args.data) if args.data is not None else args.run / "test.csv"
    if args.data is None and not path.exists():
        raise InputError(f"{args.run} has no test.csv. Name a file of labelled messages")
    if path.is_fifo():
        raise InputError(f"{path} is a pipe, but messages are read twice. Write them to a file")
    if args.predictions and args.predictions.resolve() == path.resolve():
        raise InputError(f"{path}: --predictions would overwrite the messages. Name another file")
    if args.predictions:
        check_new_file(args.predictions)
    if path.name in SETS and path.resolve().parent == args.run.resolve():
        messages = SplitSet(path, clf.labels)
    else:
        as_trained = recipe_of(args.run) == "book"
        messages = Messages(path, **reading(args), book_quotes=as_trained)
    count = count_messages(clf, messages, path)  # report a fault in the file now, not after an hour
    if not count:
        raise InputError(f"{path}: there are no messages")
    train_csv = args.run / "train.csv"
    training = list(SplitSet(train_csv, clf.labels)) if train_csv.exists() else []
    naive_bayes = NaiveBayes(training, clf.labels) if training else None
    progress = command.Progress("evaluating", "messages")
    with replacing(args.predictions) if args.predictions and not ranks.rank else nullcontext() as predictions:
        seen = [text for text, _ in training]
        evaluation = evaluate(clf, messages, naive_bayes, predictions, lambda done: progress(done, count), ranks, seen)
    progress.clear()
    print(f"{count:,} messages of {path}, classified by {args.run}\n")
    print(evaluation)
    if args.predictions:
        print(f"\nevery answer: {args.predictions}")


if __name__ == "__main__":
    command.run(main)
