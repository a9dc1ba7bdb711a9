"""Measure a trained classifier on labelled messages."""

from contextlib import nullcontext

from ..api.run import load_run
from ..system import command
from ..system.errors import InputError, counted
from ..system.files import check_new_file, replacing
from ..text.messages import Messages
from ..text.reading import reading
from ..text.sources import find_messages
from ..text.split import SETS, SplitSet
from ..training.evaluation import count_messages, evaluate
from ..training.naive_bayes import NaiveBayes
from ..training.run_folder import recipe_of


def run(args, ranks):
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
    print(f"{counted(count, 'message')} of {path}, classified by {args.run}\n")
    print(evaluation)
    if args.predictions:
        print(f"\nevery answer: {args.predictions}")
