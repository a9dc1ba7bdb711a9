"""python -m numpygpt.generate: let a GPT-2 continue a text."""

import numpygpt.system.process  # noqa: F401  before NumPy

import sys

from .api.gpt import load
from .system import command
from .system.settings import SAMPLING


def arguments(argv=None):
    parser = command.parser(
        "generate",
        "Print a prompt and a pretrained GPT-2's continuation of it, as it is made, up to <|endoftext|>. A "
        "pretrained model continues text; it does not follow instructions. Chapter 6 begins with that: ask one "
        "whether a message is spam, and it goes on writing.",
        [
            'python -m numpygpt.generate "I will be late, "',
            "python -m numpygpt.generate --model gpt2 --greedy \"Is this spam: 'You won!'\"",
        ],
    )
    number = {name: command.number(wanted) for name, wanted in SAMPLING.items()}
    parser.add_argument(
        "prompt", nargs="?", default="", help="the beginning (default: none, the model starts by itself)"
    )
    parser.add_argument(
        "--model",
        default="mini",
        help="mini (bundled); gpt2, gpt2-medium, gpt2-large or gpt2-xl (downloaded "
        "once); or a folder or file with the weights of one",
    )
    parser.add_argument("--tokens", type=number["tokens"], default=60, help="how many to add at most")
    parser.add_argument(
        "--greedy", action="store_true", help="always take the most probable token, instead of drawing one"
    )
    parser.add_argument(
        "--temperature", type=number["temperature"], default=1.0, help="below 1 more predictable, above 1 less"
    )
    parser.add_argument("--top-k", type=number["top_k"], help="draw among the k most probable tokens only")
    parser.add_argument(
        "--top-p", type=number["top_p"], help="draw among the fewest tokens that reach this probability"
    )
    parser.add_argument("--seed", type=number["seed"], default=123, help="of the draws")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    gpt = load(args.model)
    sampling = {name: getattr(args, name) for name in ("greedy", "temperature", "top_k", "top_p", "seed")}
    pieces = gpt.stream(args.prompt, args.tokens, **sampling)
    first = next(pieces)  # before anything is printed: a prompt that is too long is an error
    print(args.prompt, first, sep="", end="", flush=True)
    made = 0  # a piece for each token, and the last for what is left of a character
    for piece in pieces:
        made += 1
        print(piece, end="", flush=True)
    print()
    if made < args.tokens and len(gpt.encode(args.prompt) or [0]) + made > gpt.config.n_positions:
        print(f"stopped: the model's {gpt.config.n_positions} positions are full", file=sys.stderr)


if __name__ == "__main__":
    command.run(main)
