"""python -m numpygpt.train: fine-tune a GPT-2 into a text classifier."""

import argparse
from pathlib import Path

from .system import command
from .system.errors import InputError
from .system.settings import (
    ALL,
    CLASSIFIER,
    FEWEST,
    FINE_TUNING,
    INITIALISATIONS,
    LABEL_WEIGHTS,
    POSITIONS,
    SCHEDULES,
    SMALLEST,
    Number,
)
from .text.reading import FORMATS, add_options
from .training.launch import on_every_rank
from .training.recipes import BOOK, RECIPES, WIDTH

# Options that do not change the results of a run. They may differ when it is resumed.
MAY_CHANGE = ("out", "resume", "save_every", "features_cache", "memory")
NUMBER = {name: command.number(wanted) for name, wanted in (CLASSIFIER | FINE_TUNING).items()}


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
    add_data(parser.add_argument_group("what to train on"))
    add_parameters(parser.add_argument_group("which parameters train, and on what input"))
    add_training(parser.add_argument_group("the training"))
    add_run(parser)
    args = parser.parse_args(argv)
    if not args.resume and "lora" not in (args.trainable or "").split(","):
        command.refuse(parser, args, "only --trainable lora has low-rank additions", "rank", "alpha")
    return resumed(parser, argv, args.resume) if args.resume else args


def add_data(group):
    group.add_argument(
        "--model",
        default="mini",
        help="the pretrained GPT-2: mini (bundled); gpt2, gpt2-medium, gpt2-large or gpt2-xl (downloaded once; for the "
        "last three, the hub's current version); or a folder or file with the weights of a GPT-2, in any usual format",
    )
    command.add_heads(group)
    group.add_argument(
        "--weights",
        choices=("pretrained", *INITIALISATIONS),
        default="pretrained",
        help="what training starts from: the model's own weights (pretrained); or its sizes and tokenizer with random "
        "weights, initialised as in GPT-2 (random) or as in PyTorch's layers (pytorch)",
    )
    group.add_argument(
        "--data",
        default="sample",
        help="labelled messages: sample (bundled), sms (the UCI SMS Spam Collection, downloaded once), the UCI file "
        f"itself, or any file with a text and a label: {FORMATS}",
    )
    add_options(group)
    group.add_argument(
        "--balance",
        type=messages_of_a_label,
        default=SMALLEST,
        metavar="smallest|none|N",
        help="of each label, use as many messages as the rarest label has (smallest), all (none), or at most N. With "
        "none and N each label is split by itself, so that all sets have the same shares of labels",
    )
    group.add_argument(
        "--split-seed",
        type=command.number(Number(int, 0, 2**32 - 1)),
        default=123,
        help="seed that balances the messages and draws the three sets",
    )


def add_parameters(group):
    group.add_argument(
        "--trainable",
        help="the parameters to train: head, last_block (with the final layernorm and the head), last_two_blocks, all, "
        "lora (a low-rank addition to every linear layer), or glob patterns of names, separated by commas. All other "
        f"parameters are frozen {by_recipe('trainable')}",
    )
    group.add_argument("--rank", type=NUMBER["rank"], default=16, help="the rank of LoRA's additions")
    group.add_argument(
        "--alpha", type=NUMBER["alpha"], default=16.0, help="LoRA's additions are scaled by alpha / rank"
    )
    group.add_argument(
        "--pad",
        help="keep each message's own length, with one <|endoftext|> after it (end) or without (none); or pad and cut "
        "all messages to the longest training message (longest), to the model's context length (context), or to a "
        f"number of tokens {by_recipe('pad')}",
    )
    group.add_argument(
        "--position",
        choices=POSITIONS,
        help=f"the token whose output is classified, or the mean over all tokens {by_recipe('position')}",
    )
    group.add_argument(
        "--no-causal",
        dest="causal",
        action="store_false",
        help="let every token attend to all tokens, including later ones",
    )


def add_training(group):
    group.add_argument(
        "--epochs", type=NUMBER["epochs"], help=f"passes over the training messages {by_recipe('epochs')}"
    )
    group.add_argument("--batch-size", type=NUMBER["batch_size"], default=8, help="messages in a batch")
    group.add_argument(
        "--accumulate",
        type=NUMBER["accumulate"],
        default=1,
        help="batches per update; each batch's loss is divided by this number",
    )
    group.add_argument(
        "--ignore-index", type=NUMBER["ignore_index"], help="leave messages with this label number out of the loss"
    )
    group.add_argument(
        "--lr",
        type=NUMBER["lr"],
        help="AdamW's learning rate (default: the book's 5e-5 for GPT-2's widths, more for a narrower model; 1e-3 for "
        "mini)",
    )
    group.add_argument(
        "--warmup",
        type=NUMBER["warmup"],
        help=f"share of the updates over which the learning rate rises from 0 {by_recipe('warmup')}",
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help=f"the learning rate after the warm-up: constant, or a cosine towards a tenth {by_recipe('schedule')}",
    )
    group.add_argument(
        "--clip",
        type=NUMBER["clip"],
        help=f"largest norm of an update's gradient; inf means no limit {by_recipe('clip')}",
    )
    group.add_argument(
        "--label-smoothing",
        type=NUMBER["label_smoothing"],
        help="share of each message's target probability that is spread evenly over all labels, so that the model "
        f"does not become overconfident {by_recipe('label_smoothing')}",
    )
    group.add_argument(
        "--label-weights",
        choices=LABEL_WEIGHTS,
        help="weigh each message's loss so that all labels have the same weight in total (balanced); useful with "
        "--balance none (default: every message has the same weight)",
    )
    group.add_argument(
        "--weight-decay",
        type=NUMBER["weight_decay"],
        default=0.1,
        help="AdamW's decoupled weight decay, on all trained parameters",
    )
    group.add_argument(
        "--eval-every", type=NUMBER["eval_every"], default=50, help="steps between evaluations of the losses"
    )
    group.add_argument(
        "--eval-batches", type=NUMBER["eval_batches"], default=5, help="batches to average in an evaluation"
    )
    group.add_argument(
        "--seed",
        type=NUMBER["seed"],
        default=123,
        help="seed of the new head and of the order of messages, drawn as PyTorch draws them",
    )


def add_run(parser):
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
    command.add_exact(parser, "two messages")
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


def resumed(parser, argv, folder):
    """Return the arguments of an interrupted run. Raises InputError for an option that would change its results."""
    from .training.run_folder import begun_run

    begun = begun_run(folder)
    args = parser.parse_args(argv, argparse.Namespace(**begun))  # the run's settings replace the defaults
    for name, value in vars(args).items():
        if name not in MAY_CHANGE and value != begun.get(name, value):
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{folder} has {option} {begun[name]}, not {value}. Leave {option} out or start another run"
            )
    return args


def messages_of_a_label(text):
    """An argparse type: the values of --balance."""
    try:
        return text if text in (SMALLEST, ALL) else command.number(Number(int, FEWEST))(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {SMALLEST} or {ALL}") from None


main = on_every_rank(command.main("train", arguments))


if __name__ == "__main__":
    command.run(main)
