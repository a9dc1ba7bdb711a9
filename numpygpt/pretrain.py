"""python -m numpygpt.pretrain: train a GPT-2 of any size on text, from scratch or from a pretrained model."""

from pathlib import Path

from .system import command
from .system.settings import HEADS, PART, PRETRAINING, Number
from .training.launch import on_every_rank


def arguments(argv=None):
    parser = command.parser(
        "pretrain",
        "Train a GPT-2 language model to predict every token of a text from the tokens before it. Training from "
        "scratch learns a vocabulary from the text first. The result is an ordinary Hugging Face folder, which "
        "numpygpt.train, numpygpt.generate and transformers can load. It also holds curve.csv, and curve.png where "
        "matplotlib is installed. To resume an interrupted run, give the same command again. --steps may differ; the "
        "learning rate then follows the new schedule.",
        [
            "python -m numpygpt.pretrain sms.txt:3 chat.txt --lines --layers 4 --out small",
            "mpiexec -n 4 python -m numpygpt.pretrain chat.txt --lines --out small",
            "python -m numpygpt.pretrain mails.txt --from gpt2 --lr 1e-4 --out gpt2-mails",
        ],
    )
    number = {name: command.number(wanted) for name, wanted in PRETRAINING.items()}
    count = command.number(Number(int, 1))
    parser.add_argument(
        "text",
        nargs="+",
        type=weighted_file,
        metavar="FILE[:WEIGHT]",
        help="UTF-8 text files, each of which is one document. sms.txt:3 uses the file three times. With --lines, "
        "mail.txt:0.5 uses half of its lines",
    )
    parser.add_argument("--lines", action="store_true", help="make each line of a file a document of its own")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder to write: a new folder, or that of an interrupted run"
    )
    parser.add_argument(
        "--from", dest="start", help="a pretrained model to start from, instead of a new model of the sizes below"
    )
    sizes = parser.add_argument_group("sizes of a new model")
    sizes.add_argument("--layers", type=count, default=4, help="blocks")
    sizes.add_argument("--width", type=count, default=160, help="size of an embedding")
    sizes.add_argument(
        "--heads",
        type=count,
        help=f"attention heads; the width must be divisible by them (default: {HEADS}). With --from: as in "
        "numpygpt.train",
    )
    sizes.add_argument(
        "--positions",
        type=command.number(Number(int, 2)),
        default=256,
        help="length of the longest text that the model can take, in tokens",
    )
    sizes.add_argument(
        "--vocabulary",
        default="2048",
        help="number of entries to learn from the text; or gpt2, or a folder, to take the tokenizer from",
    )
    fit = parser.add_argument_group("the training")
    fit.add_argument("--steps", type=number["steps"], default=3000, help="updates")
    fit.add_argument("--batch-size", type=number["batch_size"], default=8, help="windows per update")
    fit.add_argument(
        "--context", type=number["context"], help="tokens in a window (default: the model's positions, at most 256)"
    )
    fit.add_argument("--lr", type=number["lr"], default=2e-3, help="the peak learning rate, after warm-up")
    fit.add_argument(
        "--warmup",
        type=number["warmup"],
        default=100,
        help="steps of warm-up, before a cosine that falls towards a tenth",
    )
    fit.add_argument(
        "--weight-decay",
        type=number["weight_decay"],
        default=0.1,
        help="AdamW's decoupled weight decay, on the matrices",
    )
    fit.add_argument("--clip", type=number["clip"], default=1.0, help="largest norm of the gradient")
    fit.add_argument(
        "--held-out",
        type=command.number(Number(float, 0, 0.9, above=True)),
        default=0.02,
        help="share of the documents kept back to measure perplexity",
    )
    fit.add_argument(
        "--eval-every", type=count, default=200, help="steps between measurements of perplexity, and between saves"
    )
    command.add_exact(fit, f"{PART:,} tokens of windows")
    fit.add_argument("--half", action="store_true", help="store the finished weights in half precision")
    fit.add_argument(
        "--seed",
        type=number["seed"],
        default=123,
        help="seed of the initial weights, the held-out documents and the order of documents",
    )
    args = parser.parse_args(argv)
    if args.start:
        command.refuse(parser, args, "--from has its own sizes", "layers", "width", "positions", "vocabulary")
    return args


def weighted_file(argument):
    """Return (Path, weight) of FILE or FILE:WEIGHT. If a file has the whole name FILE:WEIGHT, its weight is 1."""
    name, _, weight = argument.rpartition(":")
    try:
        float(weight)
    except ValueError:  # no colon, or a colon that is part of the name, as in C:\text
        return Path(argument), 1.0
    if not name or Path(argument).exists():
        return Path(argument), 1.0
    return Path(name), command.number(Number(float, 0, 1000, above=True))(weight)


main = on_every_rank(command.main("pretrain", arguments))


if __name__ == "__main__":
    command.run(main)
