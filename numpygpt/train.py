"""python -m numpygpt.train: fine-tune a GPT-2 into a text classifier."""

import numpygpt.system.process  # noqa: F401  before NumPy

import argparse
import math
from contextlib import ExitStack
from dataclasses import asdict
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
from .text.reading import FORMATS, add_options, reading
from .text.selection import ALL, SMALLEST, Selection, select
from .text.sources import find_messages
from .text.split import FEWEST, SHARES, read_split, shares, write_split
from .training.evaluation import evaluate_loader
from .training.fine_tune import fine_tune
from .training.kept_epochs import keep_epoch, mean_rate
from .training.label_weights import LABEL_WEIGHTS
from .training.loader import check_sets, loaders
from .training.measures import accuracy
from .training.naive_bayes import NaiveBayes
from .training.plots import plot, save_plot
from .training.ranks import on_every_rank
from .training.recipes import BOOK, RECIPES, WIDTH, default_recipe
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

# Options that do not change the results of a run. They may differ when it is resumed.
MAY_CHANGE = ("out", "resume", "save_every", "features_cache", "memory")


def by_recipe(option):
    """Return the part of a help text that gives an option's default with each recipe."""
    names: dict = {}
    for name, settings in RECIPES.items():
        names.setdefault(settings[option], []).append(name)
    if len(names) == 1:
        return f"(default: {BOOK[option]})"
    return (
        "(default: " + "; ".join(f"{value} with --recipe {' or '.join(those)}" for value, those in names.items()) + ")"
    )


def arguments(argv=None):
    parser = command.parser(
        "train",
        "Fine-tune a GPT-2 into a text classifier, after chapter 6 of Build a Large Language Model (From Scratch). "
        "The command balances the messages, splits them 70/10/20 (the bundled sample 52/10/38), replaces the output "
        "layer with a new head, and trains the parameters of --trainable. All other parameters are frozen. By default "
        "it pads no message. With a narrow model, such as mini, it trains two blocks, classifies the mean of a "
        f"message's rows, and smooths the labels (--recipe small). From GPT-2's width of {WIDTH} on, it trains one "
        "block and classifies the last token (--recipe gpt2). --recipe book also pads the messages, as the book does, "
        "and splits the sample 70/10/20, too.",
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
        help="the pretrained GPT-2: mini (bundled); gpt2, gpt2-medium, gpt2-large or gpt2-xl (downloaded once; for the "
        "last three, the hub's current version); or a folder or file with the weights of a GPT-2, in any usual format",
    )
    command.add_heads(what)
    what.add_argument(
        "--weights",
        choices=("pretrained", *INITIALISATIONS),
        default="pretrained",
        help="what training starts from: the model's own weights (pretrained); or its sizes and tokenizer with random "
        "weights, initialised as in GPT-2 (random) or as in PyTorch's layers (pytorch)",
    )
    what.add_argument(
        "--data",
        default="sample",
        help="labelled messages: sample (bundled), sms (the UCI SMS Spam Collection, downloaded once), the UCI file "
        f"itself, or any file with a text and a label: {FORMATS}",
    )
    add_options(what)
    what.add_argument(
        "--balance",
        type=messages_of_a_label,
        default=SMALLEST,
        metavar="smallest|none|N",
        help="of each label, use as many messages as the rarest label has (smallest), all (none), or at most N. With "
        "none and N each label is split by itself, so that all sets have the same shares of labels",
    )
    what.add_argument(
        "--split-seed",
        type=command.number(Number(int, 0, 2**32 - 1)),
        default=123,
        help="seed that balances the messages and draws the three sets",
    )
    how = parser.add_argument_group("which parameters train, and on what input")
    how.add_argument(
        "--trainable",
        help="the parameters to train: head, last_block (with the final layernorm and the head), last_two_blocks, all, "
        "lora (a low-rank addition to every linear layer), or glob patterns of names, separated by commas. All other "
        f"parameters are frozen {by_recipe('trainable')}",
    )
    how.add_argument("--rank", type=number["rank"], default=16, help="the rank of LoRA's additions")
    how.add_argument("--alpha", type=number["alpha"], default=16.0, help="LoRA's additions are scaled by alpha / rank")
    how.add_argument(
        "--pad",
        help="keep each message's own length, with one <|endoftext|> after it (end) or without (none); or pad and cut "
        "all messages to the longest training message (longest), to the model's context length (context), or to a "
        f"number of tokens {by_recipe('pad')}",
    )
    how.add_argument(
        "--position",
        choices=POSITIONS,
        help=f"the token whose output is classified, or the mean over all tokens {by_recipe('position')}",
    )
    how.add_argument(
        "--no-causal",
        dest="causal",
        action="store_false",
        help="let every token attend to all tokens, including later ones",
    )
    fit = parser.add_argument_group("the training")
    fit.add_argument("--epochs", type=number["epochs"], help=f"passes over the training messages {by_recipe('epochs')}")
    fit.add_argument("--batch-size", type=number["batch_size"], default=8, help="messages in a batch")
    fit.add_argument(
        "--accumulate",
        type=number["accumulate"],
        default=1,
        help="batches per update; each batch's loss is divided by this number",
    )
    fit.add_argument(
        "--ignore-index", type=number["ignore_index"], help="leave messages with this label number out of the loss"
    )
    fit.add_argument(
        "--lr",
        type=number["lr"],
        help="AdamW's learning rate (default: the book's 5e-5 for GPT-2's widths, more for a narrower model; 1e-3 for "
        "mini)",
    )
    fit.add_argument(
        "--warmup",
        type=number["warmup"],
        help=f"share of the updates over which the learning rate rises from 0 {by_recipe('warmup')}",
    )
    fit.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help=f"the learning rate after the warm-up: constant, or a cosine towards a tenth {by_recipe('schedule')}",
    )
    fit.add_argument(
        "--clip",
        type=number["clip"],
        help=f"largest norm of an update's gradient; inf means no limit {by_recipe('clip')}",
    )
    fit.add_argument(
        "--label-smoothing",
        type=number["label_smoothing"],
        help="share of each message's target probability that is spread evenly over all labels, so that the model "
        f"does not become overconfident {by_recipe('label_smoothing')}",
    )
    fit.add_argument(
        "--label-weights",
        choices=LABEL_WEIGHTS,
        help="weigh each message's loss so that all labels have the same weight in total (balanced); useful with "
        "--balance none (default: every message has the same weight)",
    )
    fit.add_argument(
        "--weight-decay",
        type=number["weight_decay"],
        default=0.1,
        help="AdamW's decoupled weight decay, on all trained parameters",
    )
    fit.add_argument(
        "--eval-every", type=number["eval_every"], default=50, help="steps between evaluations of the losses"
    )
    fit.add_argument(
        "--eval-batches", type=number["eval_batches"], default=5, help="batches to average in an evaluation"
    )
    fit.add_argument(
        "--seed",
        type=number["seed"],
        default=123,
        help="seed of the new head and of the order of messages, drawn as PyTorch draws them",
    )
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        help="where the settings come from that you do not give; this help shows them as defaults. gpt2: the book's, "
        "without padding. small: what is best for mini. book: follow the book's script exactly, so that this command "
        "prints the book's log, with its settings, --lr 5e-5, its way of reading the UCI file, and its random numbers "
        f"(default: gpt2 for a model of GPT-2's widths, {WIDTH} and up; small for a narrower model)",
    )
    parser.add_argument(
        "--features-cache",
        type=Path,
        metavar="FOLDER",
        help="cache the frozen blocks' output in this folder, so that the next run on the same messages and weights "
        "need not compute it again",
    )
    parser.add_argument(
        "--memory",
        type=command.memory_size,
        metavar="SIZE",
        help="memory for the messages and the frozen blocks' output, such as 4GB (default: half of the free memory). "
        "The rest is spilled to a temporary file. If the disk has no room either, the frozen blocks run again for "
        "every batch, which is slower and gives the same results",
    )
    parser.add_argument(
        "--save-every",
        type=command.number(Number(float, 0)),
        default=60.0,
        help="seconds between saves of the training state, which is also saved after every epoch",
    )
    parser.add_argument(
        "--ops",
        nargs="+",
        metavar="FILE",
        help="train with operations of your own: files with one function each, such as solved exercises. Each takes "
        "the place of the shipped operation of its name, except in frozen blocks and evaluations",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="under mpiexec: give the same bits with any number of ranks, including 1. Each rank has one thread and "
        "takes two messages at a time, and the gradients are summed in a fixed order",
    )
    folder = parser.add_mutually_exclusive_group()
    folder.add_argument(
        "--out", type=Path, help="the run folder, which must not exist (default: the next free runs/NNN)"
    )
    folder.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="resume a run that was interrupted or killed, with its messages and settings. It prints the same lines, "
        "from the first one on, and ends with the same weights, bit for bit",
    )
    args = parser.parse_args(argv)
    if args.resume:
        begun = begun_run(args.resume)
        args = parser.parse_args(argv, argparse.Namespace(**begun))  # the run's settings replace the defaults
        for name, value in vars(args).items():
            if name not in MAY_CHANGE and value != begun.get(name, value):
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{args.resume} has {option} {begun[name]}, not {value}. Leave {option} out or start another run"
                )
    return args


def apply_recipe(args, config):
    """Set `args.recipe`, if it is None, to the default for the model. Set the options that are None to the recipe's."""
    args.recipe = args.recipe or default_recipe(config)
    for option, value in RECIPES[args.recipe].items():
        if getattr(args, option) is None:
            setattr(args, option, value)


def recipe_line(args, config):
    """Describe which recipe a run follows and why, and the settings that are not the recipe's."""
    default = default_recipe(config)
    relation = f"at least GPT-2's {WIDTH}" if default == "gpt2" else f"below GPT-2's {WIDTH}"
    why = "the default" if args.recipe == default else f"not {default}, the default"
    others = [
        f"{name} {getattr(args, name)}" for name, value in RECIPES[args.recipe].items() if getattr(args, name) != value
    ]
    line = f"{args.recipe}, {why} for a width of {config.n_embd}, which is {relation}"
    return line + (f"; but {', '.join(others)}" if others else "")


def messages_of_a_label(text):
    """An argparse type: the values of --balance."""
    try:
        return text if text in (SMALLEST, ALL) else command.number(Number(int, FEWEST))(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {SMALLEST} or {ALL}") from None


@on_every_rank
def main(argv, ranks):
    args = arguments(argv)
    with ExitStack() as held:
        try:
            train(args, ranks, held)
        except KeyboardInterrupt:
            if not args.resume:
                raise
            raise KeyboardInterrupt(f"to resume: python -m numpygpt.train --resume {quote(str(args.resume))}") from None


def train(args, ranks, held):
    """Train and write a run folder.

    As soon as the run can be resumed, `args.resume` is its folder, and the stack `held` keeps the folder locked.
    """
    resume = ResumeFile("", args.save_every)  # its clock starts now
    keep_freed_memory()
    if args.out and args.out.exists():
        raise InputError(f"{args.out} already exists. Choose another --out or delete it")
    if args.exact:
        blas.one_thread_for_exact()
    gpt = ranks.in_turn(load, args.model, args.weights, args.seed, args.heads)
    ops = own_operations(args.ops) if args.ops else {}
    if not args.resume:
        apply_recipe(args, gpt.config)
    lr = args.lr or (5e-5 if args.recipe == "book" else default_lr(gpt.config))

    if args.resume:
        labels, sets = args.labels, read_split(args.resume, args.labels)
        selection = Selection(**args.selection) if "selection" in args else None
    else:
        path = ranks.in_turn(find_messages, args.data)
        messages = read_messages(path, **reading(args), book_quotes=args.recipe == "book")
        labels = label_names(messages)
        parts = SHARES if args.recipe == "book" else shares(path)
        sets, selection = select(messages, args.balance, args.split_seed, parts)
    lengths = [len(ids) for ids in encode(sets[0]["Text"], gpt.encoding, None, gpt.config.n_positions)]
    pad = padded_length(args.pad, lengths, gpt.config.n_positions)
    how = {name: getattr(args, name) for name in ("position", "causal", "rank", "alpha", "seed")}
    clf = Classifier(gpt, labels, args.trainable, pad=pad, **how)
    learning = sum(clf.params[name].size for name in clf.trainable)
    total = sum(array.size for array in clf.params.values())
    weights = fingerprint(clf.params)
    ranks.check_equal("the model's weights", lambda: weights)
    if args.resume and weights != args.weights_sha256:
        raise InputError(
            f"{args.resume}: the weights of {args.model} have changed since this run started. Restore them, or start "
            "another run"
        )

    print(f"numpygpt {__version__} on NumPy {np.__version__}, {blas.describe()}")
    print(
        f"model    {args.model}, {args.weights}: {gpt.config.n_layer} blocks, width {gpt.config.n_embd}, "
        f"{total:,} parameters"
    )
    counts = " + ".join(str(len(part)) for part in sets)
    print(f"data     {args.data}: {counts} messages to train, validate and test; labels {', '.join(labels)}")
    if selection and not selection.complete:
        print(f"         {selection}")
    if args.recipe:  # a resumed run of an older version has none
        print(f"recipe   {recipe_line(args, gpt.config)}")
    padding = {None: "none", "end": "one <|endoftext|> after each message"}.get(pad, f"{pad} tokens a message")
    print(f"padding  {padding}; classified at position: {args.position}")
    if isinstance(pad, int) and (times := pad * len(lengths) / sum(min(T, pad - 1) + 1 for T in lengths)) >= 4:
        print(f"         Most tokens are padding: with --pad end there would be {times:.0f} times fewer")
    frozen = clf.frozen_blocks
    blocks = "the lowest block runs once" if frozen == 1 else f"the lowest {frozen} blocks run once"
    print(
        f"learning {args.trainable}: {learning:,} parameters, at rate {lr:g}; frozen: {total - learning:,}, {blocks}",
        flush=True,
    )
    if ops:
        print(f"ops      yours: {', '.join(ops)}")
    options = {name: value for name, value in vars(args).items() if name not in ("out", "resume")}
    options |= {"features_cache": args.features_cache and str(args.features_cache)}
    options |= {"labels": labels, "weights_sha256": weights}
    options |= {"selection": asdict(selection)} if selection else {}
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
            *("accumulate", "eval_every", "eval_batches", "ignore_index", "label_weights", "exact"),
        )
    }
    report = None if ranks.rank else Report(History(folder), args.epochs * len(training))
    resume.path = folder / RESUME

    def after_epoch(epoch):
        updates = math.ceil(len(training) / args.accumulate)
        rate = mean_rate(epoch, updates, args.epochs, lr, args.warmup, args.schedule) / args.batch_size
        keep_epoch(folder, {name: clf.params[name] for name in clf.trainable}, epoch, rate)

    history = fine_tune(
        *(clf, training, validation),
        **(settings | dict(lr=lr, report=report, after_epoch=after_epoch, resume=resume, ranks=ranks, ops=ops)),
    )
    results = {
        "training": accuracy(clf, training, ranks),
        "validation": accuracy(clf, validation, ranks),
    }
    naive_bayes = NaiveBayes(zip(sets[0]["Text"], sets[0]["Label"]), labels)
    evaluation = evaluate_loader(clf, test, sets[2]["Text"].tolist(), naive_bayes, ranks, sets[0]["Text"])
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
    if selection and not selection.complete:
        print(f"\n{selection.warning(evaluation.confusion, evaluation.precision)}")
    print(f"\n{seconds:.1f} s. {'Curves: curves.png' if drawn else 'For plots of the curves: pip install matplotlib'}")
    print(f"Now try: python -m numpygpt.evaluate {folder}")
    print(f'         python -m numpygpt.classify {folder} "You have won a prize, call now"', flush=True)
    if (args.model, args.data) == ("mini", "sample"):
        print(
            "This was the small bundled model on the sample. GPT-2 124M on the real data takes about a minute on two "
            "cores, after a download of 0.5 GB:\n         python -m numpygpt.train --model gpt2 --data sms"
        )
    resume.path.unlink()  # last: while this file exists, the run is unfinished


def own_operations(files):
    from .study.own_files import operations_in  # imports the whole room, which few runs need

    return operations_in(files)


class Report:
    """Report the rows of fine_tune: keep the history, print the book's lines, and show live progress between them."""

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
    """Return a `mean_loss` as the book prints it, or the reason why there is none."""
    return "none (all messages are ignored)" if math.isnan(mean) else f"{mean:.3f}"


if __name__ == "__main__":
    command.run(main)
