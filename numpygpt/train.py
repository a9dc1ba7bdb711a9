"""python -m numpygpt.train: fine-tune a GPT-2 into a text classifier."""

import numpygpt.system.process  # noqa: F401  before NumPy

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from shlex import quote

import numpy as np

from . import __version__
from .api.classifier import Classifier
from .api.gpt import load
from .model.parameters import INITIALISATIONS, fingerprint
from .model.pooling import POSITIONS
from .system import blas, command
from .system.errors import InputError
from .system.memory import keep_freed_memory
from .system.settings import CLASSIFIER, FINE_TUNING, Number
from .text.batches import encode, padded_length
from .text.messages import label_names, read_messages
from .text.sources import find_messages
from .text.split import balance, read_split, split, write_split
from .training.evaluation import evaluate_loader
from .training.fine_tune import fine_tune
from .training.loader import check_sets, loaders
from .training.measures import accuracy
from .training.naive_bayes import NaiveBayes
from .training.plots import plot, save_plot
from .training.ranks import on_every_rank
from .training.recipes import BOOK, DEFAULT
from .training.resume import ResumeFile
from .training.run_folder import (
    RESUME,
    History,
    begin_run,
    begun_run,
    new_folder,
    reopen_run,
    write_evaluation,
)
from .training.schedule import SCHEDULES, default_lr

# Options that change nothing of what a run gives: another process of it may have others.
MAY_CHANGE = ("out", "resume", "save_every", "features_cache", "memory")


def differs(option):
    """What a help text says of an option whose default is another with --recipe book."""
    return f"(default: {DEFAULT[option]}; with --recipe book: {BOOK[option]})"


def arguments(argv=None):
    parser = command.parser(
        "train",
        "Fine-tune a GPT-2 into a text classifier, after chapter 6 of Build a Large Language Model (From Scratch). "
        "The command balances the messages, splits them 70/10/20, replaces the output layer by a new head, freezes "
        "all but the parameters of --trainable, and trains those. By default it pads no message, classifies the mean "
        "of a message's rows, and smooths the labels. --recipe book pads the messages and classifies the last "
        "position, as the book does.",
        [
            "python -m numpygpt.train --model gpt2 --data sms --out runs/spam",
            "python -m numpygpt.train --data a.tsv --text-column body --label-column stars",
            "python -m numpygpt.train --resume runs/spam",
            "mpiexec -n 4 python -m numpygpt.train --model gpt2-xl --trainable all",
            'python -m numpygpt.classify runs/spam "You have won a prize, call now"',
        ],
    )
    number = {name: command.number(wanted) for name, wanted in (CLASSIFIER | FINE_TUNING).items()}
    what = parser.add_argument_group("what to train on")
    what.add_argument(
        "--model",
        default="mini",
        help="the pretrained GPT-2: mini (bundled); gpt2, gpt2-medium, gpt2-large or "
        "gpt2-xl (downloaded once, the last three as they now stand on the hub); or a folder or file with the "
        "weights of one, in any usual format",
    )
    what.add_argument(
        "--weights",
        choices=("pretrained", *INITIALISATIONS),
        default="pretrained",
        help="what training starts from: the model's own weights (pretrained); or only its sizes and tokenizer, with "
        "weights drawn by GPT-2's initialisation (random) or by that of PyTorch's layers (pytorch)",
    )
    what.add_argument(
        "--data",
        default="sample",
        help="labelled messages: sample (bundled), sms (the UCI SMS Spam Collection, downloaded once), that file as "
        "published, or any UTF-8 CSV or TSV with a header",
    )
    what.add_argument("--text-column", help="the column that holds the text (default: found by its name)")
    what.add_argument("--label-column", help="the column that holds the label (default: found by its name)")
    what.add_argument(
        "--split-seed",
        type=command.number(Number(int, 0, 2**32 - 1)),
        default=123,
        help="draws the balanced messages and the three sets",
    )
    how = parser.add_argument_group("what learns, and from what")
    how.add_argument(
        "--trainable",
        help="the parameters that learn, all others are frozen: head, last_block (with the final layernorm and the "
        "head), last_two_blocks, all, lora (a low-rank addition to every linear layer), or names as glob patterns, "
        f"separated by commas {differs('trainable')}",
    )
    how.add_argument("--rank", type=number["rank"], default=16, help="of lora's additions")
    how.add_argument("--alpha", type=number["alpha"], default=16.0, help="lora's additions count alpha / rank times")
    how.add_argument(
        "--pad",
        help="leave each message its own length, with one <|endoftext|> after it (end) or without (none); or pad and "
        "cut all to the longest training message (longest), the model's context length (context) or that many tokens "
        f"{differs('pad')}",
    )
    how.add_argument(
        "--position",
        choices=POSITIONS,
        help=f"the token whose output is classified, or the mean of all {differs('position')}",
    )
    how.add_argument(
        "--no-causal",
        dest="causal",
        action="store_false",
        help="let every token attend to all tokens, also to those after it",
    )
    fit = parser.add_argument_group("the training")
    fit.add_argument("--epochs", type=number["epochs"], help=f"passes over the training messages {differs('epochs')}")
    fit.add_argument("--batch-size", type=number["batch_size"], default=8, help="messages to a batch")
    fit.add_argument(
        "--accumulate",
        type=number["accumulate"],
        default=1,
        help="batches to an update, each loss divided by this",
    )
    fit.add_argument(
        "--ignore-index", type=number["ignore_index"], help="leave messages of this label number out of the loss"
    )
    fit.add_argument(
        "--lr",
        type=number["lr"],
        help="AdamW's learning rate (default: the book's 5e-5 for GPT-2's widths, "
        "and more for a narrower model, mini's 1e-3)",
    )
    fit.add_argument(
        "--warmup",
        type=number["warmup"],
        help=f"share of the updates over which the rate rises from nothing {differs('warmup')}",
    )
    fit.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help=f"what the rate then does: stay, or fall towards a tenth as a cosine {differs('schedule')}",
    )
    fit.add_argument(
        "--clip",
        type=number["clip"],
        help=f"largest norm of an update's gradient; inf for no limit {differs('clip')}",
    )
    fit.add_argument(
        "--label-smoothing",
        type=number["label_smoothing"],
        help="share of each message's loss that asks for all labels alike, so that the model need not be certain "
        f"{differs('label_smoothing')}",
    )
    fit.add_argument(
        "--weight-decay",
        type=number["weight_decay"],
        default=0.1,
        help="AdamW's decoupled weight decay, on all that learns",
    )
    fit.add_argument(
        "--eval-every", type=number["eval_every"], default=50, help="steps between two evaluations of the losses"
    )
    fit.add_argument(
        "--eval-batches", type=number["eval_batches"], default=5, help="batches that an evaluation averages over"
    )
    fit.add_argument(
        "--seed",
        type=number["seed"],
        default=123,
        help="the new head's values and the order of messages, as PyTorch would draw them",
    )
    parser.add_argument(
        "--recipe",
        choices=("book",),
        help="follow the book's script to the letter, so that its log is printed here: its settings (named beside the "
        "defaults in this help, and --lr 5e-5; an option that you give wins), its way of reading the UCI file, its "
        "random numbers",
    )
    parser.add_argument(
        "--features-cache",
        type=Path,
        metavar="FOLDER",
        help="keep what the frozen blocks make of the messages in this "
        "folder, so that the next run on the same messages and weights starts from there",
    )
    parser.add_argument(
        "--memory",
        type=command.memory_size,
        metavar="SIZE",
        help="what the messages, and what the frozen blocks make of them, may take, as 4GB (default: half of what is "
        "free). What is more goes to a temporary file, and where no disk has room, the frozen blocks run again for "
        "every batch: slower, with the same results",
    )
    parser.add_argument(
        "--save-every",
        type=command.number(Number(float, 0)),
        default=60.0,
        help="seconds between two saves of where the training stands, which is also saved after every epoch",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="under mpiexec: the same bits with any number of ranks, 1 too. Each has one thread, takes two messages at "
        "a time, and their gradients are added up in a fixed order",
    )
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument(
        "--out", type=Path, help="the run folder, which must not exist (default: the next free runs/NNN)"
    )
    folder.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="go on with a run that was interrupted or killed, with its messages and settings: it ends with the same "
        "weights, bit for bit, and prints the same lines, from the first on",
    )
    args = parser.parse_args(argv)
    if args.resume:
        begun = begun_run(args.resume)
        args = parser.parse_args(argv, argparse.Namespace(**begun))  # the run's, where nothing else is asked for
        for name, value in vars(args).items():
            if name not in MAY_CHANGE and value != begun.get(name, value):
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{args.resume} has {option} {begun[name]}, not {value}: leave {option} out, or begin another run"
                )
    for option, value in (BOOK if args.recipe == "book" else DEFAULT).items():
        if getattr(args, option) is None:
            setattr(args, option, value)
    return args


@on_every_rank
def main(argv, ranks):
    args = arguments(argv)
    with ExitStack() as held:
        try:
            train(args, ranks, held)
        except KeyboardInterrupt:
            if not args.resume:
                raise
            raise KeyboardInterrupt(f"to go on: python -m numpygpt.train --resume {quote(str(args.resume))}") from None


def train(args, ranks, held):
    """What the command does. As soon as its run can go on, `args.resume` is its folder, and the stack holds it."""
    resume = ResumeFile("", args.save_every)  # its clock starts here
    keep_freed_memory()
    if args.out and args.out.exists():
        raise InputError(f"{args.out} exists: choose another --out, or remove it; a run never overwrites another")
    if args.exact:
        blas.one_thread_for_exact()
    gpt = ranks.in_turn(load, args.model, args.weights, args.seed)
    lr = args.lr or (5e-5 if args.recipe == "book" else default_lr(gpt.config))

    if args.resume:
        labels, sets = args.labels, read_split(args.resume, args.labels)
    else:
        messages = read_messages(
            ranks.in_turn(find_messages, args.data),
            args.text_column,
            args.label_column,
            book_quotes=args.recipe == "book",
        )
        labels = label_names(messages)
        sets = split(balance(messages, args.split_seed), seed=args.split_seed)
    lengths = [len(ids) for ids in encode(sets[0]["Text"], gpt.encoding, None, gpt.config.n_positions)]
    pad = padded_length(args.pad, lengths, gpt.config.n_positions)
    how = {name: getattr(args, name) for name in ("position", "causal", "rank", "alpha", "seed")}
    clf = Classifier(gpt, labels, args.trainable, pad=pad, **how)
    learning = sum(clf.params[name].size for name in clf.trainable)
    total = sum(array.size for array in clf.params.values())
    weights = fingerprint(clf.params)
    ranks.check_equal("the model's weights", lambda: weights)
    if args.resume and weights != args.weights_sha256:
        raise InputError(f"{args.resume}: the weights of {args.model} are not those that the run was begun with")

    print(f"numpygpt {__version__} on NumPy {np.__version__}, {blas.describe()}")
    print(
        f"model    {args.model}, {args.weights}: {gpt.config.n_layer} blocks, width {gpt.config.n_embd}, "
        f"{total:,} parameters"
    )
    counts = " + ".join(str(len(part)) for part in sets)
    print(f"data     {args.data}: {counts} messages to train, validate and test; labels {', '.join(labels)}")
    padding = {None: "none", "end": "one <|endoftext|> after each message"}.get(pad, f"{pad} tokens a message")
    print(f"padding  {padding}; classified at position: {args.position}")
    if isinstance(pad, int) and (times := pad * len(lengths) / sum(min(T, pad - 1) + 1 for T in lengths)) >= 4:
        print(f"         most of which is padding: with --pad end there would be {times:.0f} times fewer")
    print(
        f"learning {args.trainable}: {learning:,} parameters, at rate {lr:g}; frozen: {total - learning:,}, "
        f"the lowest {clf.depth} blocks run once",
        flush=True,
    )
    if (args.model, args.data) == ("mini", "sample"):
        print(
            "A small bundled model and sample. GPT-2 124M on the real data: "
            "python -m numpygpt.train --model gpt2 --data sms"
        )
    options = {name: value for name, value in vars(args).items() if name not in ("out", "resume")}
    options |= {"features_cache": args.features_cache and str(args.features_cache)}
    options |= {"labels": labels, "weights_sha256": weights}
    if args.resume:
        folder = args.resume
        ranks.once(reopen_run, folder, held)
    else:
        check_sets([clf.numbers(part["Label"]) for part in sets[:2]], args.batch_size, args.ignore_index)
        folder = ranks.once(new_folder, args.out)
        ranks.once(write_split, folder, sets, labels)
        ranks.once(begin_run, folder, options, held)
        args.resume = folder
    print(f"results  {folder}", flush=True)
    progress = command.Progress("frozen blocks", "tokens")
    training, validation, test = loaders(
        clf, sets, args.batch_size, args.seed, progress, args.features_cache, ranks, args.memory
    )
    progress.clear()
    settings = {
        name: getattr(args, name)
        for name in (
            *("epochs", "weight_decay", "warmup", "schedule", "clip", "label_smoothing"),
            *("accumulate", "eval_every", "eval_batches", "ignore_index", "exact"),
        )
    }
    report = None if ranks.rank else Report(History(folder), args.epochs * len(training))
    resume.path = folder / RESUME
    history = fine_tune(clf, training, validation, lr=lr, report=report, resume=resume, ranks=ranks, **settings)
    results = {
        "training": accuracy(clf, training, ranks),
        "validation": accuracy(clf, validation, ranks),
    }
    naive_bayes = NaiveBayes(zip(sets[0]["Text"], sets[0]["Label"]), labels)
    evaluation = evaluate_loader(clf, test, sets[2]["Text"].tolist(), naive_bayes, ranks)
    if ranks.rank:
        return
    write_evaluation(folder, evaluation)
    results["test"] = evaluation.accuracy
    report.history.sync()
    seconds = round(resume.seconds(), 2)
    clf.save(folder, options | {"lr": lr, "trained_parameters": learning, "accuracy": results, "seconds": seconds})
    drawn = save_plot(folder / "curves.png", plot, history)
    print()
    for name, share in results.items():
        print(f"{name.capitalize()} accuracy: {share:.2%}")
    print(f"\nOn the {evaluation.messages:,} test messages:\n{evaluation.summary()}")
    print(f"\n{seconds:.1f} s. {'Curves: curves.png' if drawn else 'For plots of the curves: pip install matplotlib'}")
    print(f"Now try: python -m numpygpt.evaluate {folder}")
    print(f'         python -m numpygpt.classify {folder} "You have won a prize, call now"', flush=True)
    resume.path.unlink()  # the last act: until then the run is not finished


class Report:
    """What fine_tune calls: keeps the history, prints the book's lines, and between them shows how far the training
    is."""

    def __init__(self, history, steps):
        self.history, self.steps, self.live = history, steps, command.Progress("training", "steps")

    def __call__(self, row):
        self.history.add(row)
        if "loss" in row and row["step"] + 1 < self.steps:
            self.live(row["step"] + 1, self.steps, f" | loss {row['loss']:.3f}")
        if "train_loss" in row:
            self.live.clear()
            losses = f"Train loss {_loss(row['train_loss'])}, Val loss {_loss(row['validation_loss'])}"
            print(f"Ep {row['epoch']} (Step {row['step']:06d}): {losses}")
        if "train_accuracy" in row:
            self.live.clear()
            print(
                f"Training accuracy: {row['train_accuracy']:.2%} | Validation accuracy: "
                f"{row['validation_accuracy']:.2%}",
                flush=True,
            )


def _loss(mean):
    """Return a `mean_loss` as the book prints it, or why there is none."""
    return "none (nothing to average: all its messages are ignored)" if math.isnan(mean) else f"{mean:.3f}"


if __name__ == "__main__":
    command.run(main)
