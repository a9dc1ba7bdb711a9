"""python -m numpygpt.generate: let a GPT-2 continue a text."""

from .system import command
from .system.settings import SAMPLING


def arguments(argv=None):
    parser = command.parser(
        "generate",
        "Print a prompt and a pretrained GPT-2's continuation of it, token by token, up to <|endoftext|>. A "
        "pretrained model continues text; it does not follow instructions. Chapter 6 begins with an example: ask a "
        "pretrained model whether a message is spam, and it goes on writing.",
        [
            'python -m numpygpt.generate "What time"',
            "python -m numpygpt.generate --model gpt2 --greedy \"Is this spam: 'You won!'\"",
        ],
    )
    number = {name: command.number(wanted) for name, wanted in SAMPLING.items()}
    parser.add_argument(
        "prompt",
        nargs="?",
        default="I think",
        help='the beginning of the text, without a space at its end; with "" the model begins by itself',
    )
    parser.add_argument(
        "--model",
        default="mini",
        help="mini (bundled); gpt2, gpt2-medium, gpt2-large or gpt2-xl (downloaded once); or a folder or file with the "
        "weights of a GPT-2",
    )
    command.add_heads(parser)
    parser.add_argument("--tokens", type=number["tokens"], default=60, help="how many tokens to add at most")
    parser.add_argument(
        "--greedy", action="store_true", help="always take the most probable token instead of a random one"
    )
    parser.add_argument(
        "--temperature",
        type=number["temperature"],
        default=1.0,
        help="less than 1 for a more predictable text, more than 1 for a less predictable one",
    )
    parser.add_argument("--top-k", type=number["top_k"], help="draw only among the k most probable tokens")
    parser.add_argument(
        "--top-p", type=number["top_p"], help="draw only among the fewest tokens whose probabilities add up to this"
    )
    parser.add_argument("--seed", type=number["seed"], default=123, help="seed of the random draws")
    args = parser.parse_args(argv)
    if args.greedy:
        command.refuse(parser, args, "--greedy draws nothing", "temperature", "top_k", "top_p", "seed")
    return args


main = command.main("generate", arguments)


if __name__ == "__main__":
    command.run(main)
