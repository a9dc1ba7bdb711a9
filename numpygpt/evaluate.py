"""python -m numpygpt.evaluate: how good a trained classifier is, on its test set or on labelled messages of yours."""

import numpygpt.system.process  # noqa: F401  before NumPy

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from .api.run import load_run
from .system import command
from .system.errors import InputError
from .system.files import replacing
from .text.messages import stream_messages
from .text.sources import find_messages
from .text.split import SETS, read_set
from .training.evaluation import count_messages, evaluate
from .training.naive_bayes import NaiveBayes
from .training.ranks import on_every_rank
from .training.run_folder import recipe_of


def arguments(argv=None):
    parser = command.parser(
        "evaluate",
        "Measure a classifier from numpygpt.train on labelled messages: accuracy, with the interval in which it "
        "lies with 95 % confidence; precision, recall and F1 of each label; who was taken for whom; whether it is "
        "right as often as it is sure; and its most confident mistakes. Beside it, what naive Bayes on word counts "
        "gets on the same messages, having learned from the run's training set.",
        [
            "python -m numpygpt.evaluate runs/001",
            "python -m numpygpt.evaluate runs/001 mine.csv --predictions answers.csv",
            "python -m numpygpt.evaluate runs/001 reviews.tsv --label-column stars",
            "mpiexec -n 4 python -m numpygpt.evaluate runs/001 many.csv",
        ],
    )
    parser.add_argument("run", type=Path, help="the run folder that numpygpt.train left")
    parser.add_argument(
        "data",
        nargs="?",
        help="labelled messages: a UTF-8 CSV or TSV, sample or sms, read as training "
        "read them, with the run's labels; or one of the run's three sets (default: its test.csv)",
    )
    parser.add_argument("--text-column", help="the column that holds the text (default: found by its name)")
    parser.add_argument("--label-column", help="the column that holds the label (default: found by its name)")
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE.csv",
        help="write every answer to this file: text, label, prediction, and the probability of each label",
    )
    return parser.parse_args(argv)


@on_every_rank
def main(argv, ranks):
    args = arguments(argv)
    clf = load_run(args.run)
    path = ranks.in_turn(find_messages, args.data) if args.data else args.run / "test.csv"
    if not args.data and not path.exists():
        raise InputError(f"{args.run} has no test.csv: name a file of labelled messages")
    if path.is_fifo():
        raise InputError(f"{path}: messages are read twice, which a pipe cannot be; write them to a file")
    if args.predictions and args.predictions.resolve() == path.resolve():
        raise InputError(f"{path}: --predictions would replace the messages; name another file")
    if path.name in SETS and path.resolve().parent == args.run.resolve():
        messages = partial(read_set, path, clf.labels)
    else:
        as_trained = recipe_of(args.run) == "book"
        messages = partial(stream_messages, path, args.text_column, args.label_column, book_quotes=as_trained)
    count = count_messages(clf, messages(), path)  # what is wrong with the file is said now, not after an hour
    if not count:
        raise InputError(f"{path}: there are no messages")
    training = args.run / "train.csv"
    naive_bayes = NaiveBayes(read_set(training, clf.labels), clf.labels) if training.exists() else None
    progress = command.Progress("evaluating", "messages")
    with replacing(args.predictions) if args.predictions and not ranks.rank else nullcontext() as predictions:
        evaluation = evaluate(clf, messages(), naive_bayes, predictions, lambda done: progress(done, count), ranks)
    progress.clear()
    print(f"{count:,} messages of {path}, classified by {args.run}\n")
    print(evaluation)
    if args.predictions:
        print(f"\nevery answer: {args.predictions}")


if __name__ == "__main__":
    command.run(main)
