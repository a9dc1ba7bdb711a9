"""python -m numpygpt.generate: let a GPT-2 continue a text."""

import codecs
import sys
from itertools import islice

import numpy as np

from .checkpoints.load import load_checkpoint
from .model.continuation import Sampler, continuation
from .system import command
from .system.errors import InputError
from .text.tokenizer import encode_message


def arguments(argv=None):
    parser = command.parser(
        "generate",
        "Print a prompt and a pretrained GPT-2's continuation of it, as it is made, up to <|endoftext|>. A pretrained model continues\n"
        "text; it does not follow instructions. Chapter 6 begins with that: ask one whether a message is spam, and it goes on writing.",
        [
            'python -m numpygpt.generate "I will be late, "',
            "python -m numpygpt.generate --model FOLDER --greedy \"Is the following text spam? Answer with yes or no: 'You won!'\"",
        ],
    )
    number = command.number
    parser.add_argument(
        "prompt", nargs="?", default="", help="the beginning (default: none, the model starts by itself)"
    )
    parser.add_argument(
        "--model",
        default="mini",
        help="mini (bundled); gpt2, gpt2-medium, gpt2-large or gpt2-xl (downloaded "
        "once); or a folder or file with the weights of one",
    )
    parser.add_argument("--tokens", type=number(int, 1), default=60, help="how many to add at most")
    parser.add_argument(
        "--greedy", action="store_true", help="always take the most probable token, instead of drawing one"
    )
    parser.add_argument(
        "--temperature", type=number(float, 0, above=True), default=1.0, help="below 1 more predictable, above 1 less"
    )
    parser.add_argument("--top-k", type=number(int, 1), help="draw among the k most probable tokens only")
    parser.add_argument(
        "--top-p", type=number(float, 0, 1, above=True), help="draw among the fewest tokens that reach this probability"
    )
    parser.add_argument("--seed", type=number(int, 0), default=123, help="of the draws")
    return parser.parse_args(argv)


def main(argv=None):
    args = arguments(argv)
    config, params, encoding = load_checkpoint(args.model)
    end = encoding.eot_token
    ids = encode_message(encoding, args.prompt) or [end]
    if len(ids) > config.n_positions:
        raise InputError(f"the prompt has {len(ids)} tokens; {args.model} takes at most {config.n_positions}")
    draw = np.argmax if args.greedy else Sampler(args.temperature, args.top_k, args.top_p, args.seed)
    tokens = continuation(
        params, config, ids, lambda logits: draw(logits[: encoding.n_vocab])
    )  # an embedding may have spare rows
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be several tokens
    print(args.prompt, end="", flush=True)
    made = 0
    for made, token in enumerate(islice(tokens, args.tokens), start=1):
        if token == end:
            break
        print(decoder.decode(encoding.decode_single_token_bytes(token)), end="", flush=True)
    print(decoder.decode(b"", final=True))
    if made < args.tokens and len(ids) + made > config.n_positions:
        print(f"stopped: the model's {config.n_positions} positions are full", file=sys.stderr)


if __name__ == "__main__":
    command.run(main)
