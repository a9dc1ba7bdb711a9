"""Fine-tune a GPT-2 into a text classifier, and write a run folder."""

import math
from contextlib import ExitStack
from dataclasses import asdict
from shlex import quote

import numpy as np

from .. import __version__
from ..api.classifier import Classifier
from ..api.gpt import load
from ..model.parameters import fingerprint
from ..system import blas, command
from ..system.errors import InputError
from ..system.memory import keep_freed_memory
from ..text.batches import encode, padded_length
from ..text.messages import label_names, read_messages
from ..text.reading import reading
from ..text.selection import Selection, select
from ..text.sources import find_messages
from ..text.split import SHARES, read_split, shares, write_split
from ..training.evaluation import evaluate_loader
from ..training.fine_tune import fine_tune
from ..training.kept_epochs import keep_epoch, mean_rate
from ..training.loader import check_sets, loaders
from ..training.measures import accuracy
from ..training.naive_bayes import NaiveBayes
from ..training.plots import plot, save_plot
from ..training.recipes import RECIPES, WIDTH, default_recipe
from ..training.resume import ResumeFile
from ..training.run_folder import (
    RESUME,
    History,
    begin_run,
    new_folder,
    reopen_run,
    write_evaluation,
)
from ..training.schedule import default_lr


def run(args, ranks):
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
    labels, sets, selection = chosen_messages(args, ranks)
    lengths = [len(ids) for ids in encode(sets[0]["Text"], gpt.encoding, None, gpt.config.n_positions)]
    pad = padded_length(args.pad, lengths, gpt.config.n_positions)
    how = {name: getattr(args, name) for name in ("position", "causal", "rank", "alpha", "seed")}
    clf = Classifier(gpt, labels, args.trainable, pad=pad, **how)
    weights = fingerprint(clf.params)
    ranks.check_equal("the model's weights", lambda: weights)
    if args.resume and weights != args.weights_sha256:
        raise InputError(
            f"{args.resume}: the weights of {args.model} have changed since this run started. Restore them, or start "
            "another run"
        )
    learning = sum(clf.params[name].size for name in clf.trainable)
    show_plan(args, clf, sets, selection, lengths, learning, lr, ops)
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
    show_results(args, folder, results, evaluation, selection, seconds, drawn)
    resume.path.unlink()  # last: while this file exists, the run is unfinished


def chosen_messages(args, ranks):
    """Return the labels' names, the three sets, and the Selection, which runs of older versions do not have."""
    if args.resume:
        selection = Selection(**args.selection) if "selection" in args else None
        return args.labels, read_split(args.resume, args.labels), selection
    path = ranks.in_turn(find_messages, args.data)
    messages = read_messages(path, **reading(args), book_quotes=args.recipe == "book")
    parts = SHARES if args.recipe == "book" else shares(path)
    return label_names(messages), *select(messages, args.balance, args.split_seed, parts)


def show_plan(args, clf, sets, selection, lengths, learning, lr, ops):
    """Print what is trained, on what, and how.

    lengths   the tokens of each training message, without padding
    learning  the number of parameters that are trained
    """
    config, pad = clf.config, clf.pad_to
    total = sum(array.size for array in clf.params.values())
    print(f"numpygpt {__version__} on NumPy {np.__version__}, {blas.describe()}")
    print(
        f"model    {args.model}, {args.weights}: {config.n_layer} blocks, width {config.n_embd}, {total:,} parameters"
    )
    counts = " + ".join(str(len(part)) for part in sets)
    print(f"data     {args.data}: {counts} messages to train, validate and test; labels {', '.join(clf.labels)}")
    if selection and not selection.complete:
        print(f"         {selection}")
    if args.recipe:  # a resumed run of an older version has none
        print(f"recipe   {recipe_line(args, config)}")
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


def show_results(args, folder, results, evaluation, selection, seconds, drawn):
    """Print the accuracies, the evaluation on the test messages, and what to do next."""
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


def own_operations(files):
    from ..study.own_files import operations_in  # imports the whole room, which few runs need

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
