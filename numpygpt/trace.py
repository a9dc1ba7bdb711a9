"""python -m numpygpt.trace: one message forward and back through the code, with the values of every line."""

from pathlib import Path

from .system import command
from .system.errors import InputError

MESSAGE = "Your parcel is held. Pay the fee now and your parcel is sent."


def arguments(argv=None):
    parser = command.parser(
        "trace",
        "Follow one message through the model, forward to the loss and back, and write a page about it. The page has "
        "a map of the model and a tour with questions. It shows the code of every operation, with the values that each "
        "line computed. It checks each gradient against the same derivative, found by changing one number and running "
        "all later steps again.",
        [
            "python -m numpygpt.trace",
            'python -m numpygpt.trace "Home at six?" --label ham --run runs/001',
            "python -m numpygpt.trace --op layernorm",
            "python -m numpygpt.trace --file layernorm.py",
            "python -m numpygpt.trace --file layernorm.py --op",
        ],
    )
    parser.add_argument("text", nargs="?", default=MESSAGE, help="the message")
    parser.add_argument("--label", help="its label (default: the classifier's last label, spam)")
    parser.add_argument(
        "--run",
        type=Path,
        help="a run folder of numpygpt.train (default: an untrained head on --model, at one "
        "<|endoftext|> after the message)",
    )
    parser.add_argument("--model", default="mini", help="any GPT-2, as for numpygpt.train")
    command.add_heads(parser)
    parser.add_argument(
        "--language", action="store_true", help="trace the language model's loss instead of a classifier's"
    )
    parser.add_argument("--trainable", default="all", help="which parameters are trained, as for numpygpt.train")
    parser.add_argument(
        "--folded", action="store_true", help="compute the last block only for the row that is read, as in training"
    )
    parser.add_argument("--out", type=Path, default=Path("trace.html"), help="the file to write")
    parser.add_argument(
        "--op",
        nargs="?",
        const="",
        metavar="NAME",
        help="print one operation on a tiny example instead of writing a page; without a NAME, list the operations",
    )
    parser.add_argument(
        "--file",
        metavar="FILE[:FUNCTION]",
        help="trace the operation in a file of yours, an exercise or one with `# gradcheck:` lines (see gradcheck "
        "--help): its lines, its numbers, and beside each wrong array the right one. With --op, print it",
    )
    args = parser.parse_args(argv)
    own = "--file traces an operation of yours"
    if args.file is not None and args.op:
        raise InputError(f"{own}: omit the name after --op")
    if args.file is not None:
        refuse_others(parser, args, own, "file", "out" if args.op is None else "op")
    elif args.op is not None:
        refuse_others(parser, args, "--op prints one operation", "op")
    elif args.language:
        command.refuse(parser, args, "--language has no classifier", "run", "label", "folded")
    elif args.run:
        command.refuse(parser, args, "--run has its own model", "model", "heads")
    return args


def refuse_others(parser, args, why, *allowed):
    command.refuse(parser, args, why, *(name for name in vars(args) if name not in allowed))


main = command.main("trace", arguments)


if __name__ == "__main__":
    command.run(main)
