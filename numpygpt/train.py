"""python -m numpygpt.train: fine-tune a GPT-2 into a text classifier."""

import time
from pathlib import Path

import numpy as np

from . import __version__
from .checkpoints.load import load_checkpoint
from .model.lora import adapters
from .model.parameters import INITIALISATIONS
from .model.prefix import FrozenPrefix
from .model.trainable import frozen_depth, trainable_names
from .model.trunk import POSITIONS
from .system import blas, command
from .system.memory import keep_freed_memory
from .text.batches import batches, encode, padded_length
from .text.messages import label_names, read_messages
from .text.sources import find_messages
from .text.split import balance, split, write_split
from .training.fine_tune import Loader, Task, accuracy, fine_tune
from .training.plots import plot_curves
from .training.rng import Generator, linear_init
from .training.run_folder import History, base_parameters, new_folder, save_run


def arguments(argv=None):
    parser = command.parser(
        "train",
        "Fine-tune a pretrained GPT-2 into a text classifier, as chapter 6 of Build a Large Language Model (From Scratch)\n"
        "does: balance the messages, split them 70/10/20, pad them, replace the output layer by a new head, freeze all but\n"
        "the parameters of --trainable, and train those on the cross-entropy at one position of each message.",
        [
            "python -m numpygpt.train --model FOLDER --data SMSSpamCollection --out runs/spam",
            "python -m numpygpt.train --model FOLDER --data reviews.csv --text-column review --label-column stars",
            'python -m numpygpt.classify runs/spam "You have won a prize, call now"',
        ],
    )
    number = command.number
    what = parser.add_argument_group("what to train on")
    what.add_argument(
        "--model",
        default="mini",
        help="the pretrained GPT-2: mini (bundled); gpt2, gpt2-medium, gpt2-large or "
        "gpt2-xl (downloaded once); or a folder or file with the weights of one, in any usual format",
    )
    what.add_argument(
        "--weights",
        choices=("pretrained", *INITIALISATIONS),
        default="pretrained",
        help="keep the model's sizes and "
        "tokenizer, but start from GPT-2's initialisation (random) or from that of PyTorch's layers (pytorch)",
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
        type=number(int, 0, 2**32 - 1),
        default=123,
        help="draws the balanced messages and the three sets",
    )
    how = parser.add_argument_group("what learns, and from what")
    how.add_argument(
        "--trainable",
        default="last_block",
        help="the parameters that learn, all others are frozen: head, last_block "
        "(with the final layernorm and the head), last_two_blocks, all, lora (a low-rank addition to every linear layer), "
        "or names as glob patterns, separated by commas",
    )
    how.add_argument("--rank", type=number(int, 1), default=16, help="of lora's additions")
    how.add_argument(
        "--alpha", type=number(float, 0, above=True), default=16.0, help="lora's additions count alpha / rank times"
    )
    how.add_argument(
        "--pad",
        default="longest",
        help="pad and cut messages to the longest training message (longest), the model's "
        "context length (context) or that many tokens; or leave each its own length (none), which is fastest",
    )
    how.add_argument(
        "--position", choices=POSITIONS, default="last", help="the token whose output is classified, or the mean of all"
    )
    how.add_argument(
        "--no-causal",
        dest="causal",
        action="store_false",
        help="let every token attend to all tokens, also to those after it",
    )
    fit = parser.add_argument_group("the training")
    fit.add_argument("--epochs", type=number(int, 1), default=5, help="passes over the training messages")
    fit.add_argument("--batch-size", type=number(int, 1), default=8, help="messages to an update")
    fit.add_argument(
        "--accumulate", type=number(int, 1), default=1, help="batches to an update, their gradients averaged"
    )
    fit.add_argument("--ignore-index", type=int, help="leave messages of this label number out of the loss")
    fit.add_argument(
        "--lr",
        type=number(float, 0, 1e3, above=True),
        help="AdamW's learning rate (default: the book's 5e-5 for GPT-2's widths, "
        "and more for a narrower model, mini's 4e-4)",
    )
    fit.add_argument(
        "--weight-decay",
        type=number(float, 0, 1e3),
        default=0.1,
        help="AdamW's decoupled weight decay, on all that learns",
    )
    fit.add_argument(
        "--eval-every", type=number(int, 1), default=50, help="steps between two evaluations of the losses"
    )
    fit.add_argument("--eval-batches", type=number(int, 1), default=5, help="batches that an evaluation averages over")
    fit.add_argument(
        "--seed",
        type=number(int, 0, 2**63 - 1),
        default=123,
        help="the new head's values and the order of messages, as PyTorch would draw them",
    )
    parser.add_argument(
        "--recipe",
        choices=("book",),
        help="the book's script to the letter, so that its printed log is ours: its settings "
        "(the defaults here, and --lr 5e-5), its way of reading the UCI file, its random numbers",
    )
    parser.add_argument(
        "--features-cache",
        type=Path,
        metavar="FOLDER",
        help="keep what the frozen blocks make of the messages in this "
        "folder, so that the next run on the same messages and weights starts from there",
    )
    parser.add_argument(
        "--out", type=Path, help="the run folder, which must not exist (default: the next free runs/NNN)"
    )
    return parser.parse_args(argv)


def main(argv=None):
    started = time.monotonic()
    keep_freed_memory()
    args = arguments(argv)
    config, params, encoding = load_checkpoint(args.model)
    lr = args.lr or default_lr(config, args.recipe)
    params = base_parameters(config, params, args.weights, args.seed)

    messages = read_messages(
        find_messages(args.data), args.text_column, args.label_column, book_quotes=args.recipe == "book"
    )
    labels = label_names(messages)
    sets = split(balance(messages, args.split_seed), seed=args.split_seed)
    lengths = [len(ids) for ids in encode(sets[0]["Text"], encoding, None, config.n_positions)]
    pad_to = padded_length(args.pad, lengths, config.n_positions)
    encoded = [encode(part["Text"], encoding, pad_to, config.n_positions) for part in sets]
    batches(
        np.arange(len(sets[0])), args.batch_size, drop_last=True
    )  # refuses too large a batch, before anything is written

    generator = Generator(args.seed)
    params["head.weight"], params["head.bias"] = linear_init(generator, config.n_embd, len(labels))
    lora_scale = None
    if "lora" in args.trainable.split(","):
        params |= adapters(params, config, args.rank, generator)
        lora_scale = args.alpha / args.rank
    trainable = trainable_names(args.trainable, params, config)
    params |= {name: np.array(params[name]) for name in trainable}  # copies that may be written to
    depth = frozen_depth(trainable, config)
    learning, total = (sum(params[name].size for name in names) for names in (trainable, params))

    folder = new_folder(args.out)
    write_split(folder, sets, labels)
    print(f"numpygpt {__version__} on NumPy {np.__version__}, {blas.describe()}")
    print(
        f"model    {args.model}, {args.weights}: {config.n_layer} blocks, width {config.n_embd}, {total:,} parameters"
    )
    print(
        f"data     {args.data}: {' + '.join(str(len(part)) for part in sets)} messages to train, validate and test; labels {', '.join(labels)}"
    )
    print(
        f"padding  {'none' if pad_to is None else f'{pad_to} tokens a message'}; classified at position: {args.position}"
    )
    print(
        f"learning {args.trainable}: {learning:,} parameters, at rate {lr:g}; frozen: {total - learning:,}, the lowest {depth} blocks run once"
    )
    print(f"results  {folder}", flush=True)
    if (args.model, args.data) == ("mini", "sample"):
        print(
            "A small bundled model and sample. GPT-2 124M on the real data: python -m numpygpt.train --model gpt2 --data sms"
        )

    progress = command.Progress("frozen blocks", "tokens")
    prefix = FrozenPrefix(
        params, config, sum(encoded, []), depth, args.position, args.causal, progress, args.features_cache
    )
    progress.clear()
    task = Task(params, config, trainable, prefix, depth, args.position, args.causal, lora_scale, args.ignore_index)
    generator = Generator(args.seed)  # anew: the book seeds before the head, and again before training
    training, validation, test = loaders(sets, labels, args.batch_size, generator)
    report = Report(History(folder), args.epochs * len(training))
    fine_tune(
        task,
        training,
        validation,
        epochs=args.epochs,
        lr=lr,
        weight_decay=args.weight_decay,
        accumulate=args.accumulate,
        eval_every=args.eval_every,
        eval_batches=args.eval_batches,
        report=report,
    )
    results = {
        "training": accuracy(task, training),
        "validation": accuracy(task, validation),
        "test": accuracy(task, test),
    }

    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    settings |= {
        "model": str(Path(args.model).resolve()) if Path(args.model).exists() else args.model,
        "lr": lr,
        "labels": labels,
        "padded_length": pad_to,
        "lora_scale": lora_scale,
        "trained_parameters": learning,
        "accuracy": results,
        "seconds": round(time.monotonic() - started, 2),
    }
    save_run(folder, settings, config, params, trainable)
    plots = plot_curves(folder, report.history.rows)
    print(
        f"\n{settings['seconds']:.1f} s. {'Curves: ' + ', '.join(plots) if plots else 'For plots of the curves: pip install matplotlib'}"
    )
    print(f'Now try: python -m numpygpt.classify {folder} "You have won a prize, call now"')
    for name, share in results.items():
        print(f"{name.capitalize()} accuracy: {share:.2%}")


def default_lr(config, recipe):
    """The book's 5e-5 for GPT-2, width 768 and more. A narrower model needs more: this rule gives the 4e-4 that served mini best."""
    return 5e-5 if recipe == "book" else 5e-5 * max(1, 768 / config.n_embd) ** 1.5


def loaders(sets, labels, batch_size, generator):
    """The Loaders of the training, validation and test sets, whose messages stand in this order in the prefix."""
    made, start = [], 0
    for part in sets:
        numbers = np.array([labels.index(label) for label in part["Label"]])
        made.append(Loader(np.arange(start, start + len(part)), numbers, batch_size, generator, shuffle=not made))
        start += len(part)
    return made


class Report:
    """What fine_tune calls: keeps the history, prints the book's lines, and between them shows how far the training is."""

    def __init__(self, history, steps):
        self.history, self.steps, self.live = history, steps, command.Progress("training", "steps")

    def __call__(self, row):
        self.history.add(row)
        if "loss" in row and row["step"] + 1 < self.steps:
            self.live(row["step"] + 1, self.steps, f" | loss {row['loss']:.3f}")
        if "train_loss" in row:
            self.live.clear()
            print(
                f"Ep {row['epoch']} (Step {row['step']:06d}): Train loss {row['train_loss']:.3f}, Val loss {row['validation_loss']:.3f}"
            )
        if "train_accuracy" in row:
            self.live.clear()
            print(
                f"Training accuracy: {row['train_accuracy']:.2%} | Validation accuracy: {row['validation_accuracy']:.2%}",
                flush=True,
            )


if __name__ == "__main__":
    command.run(main)
