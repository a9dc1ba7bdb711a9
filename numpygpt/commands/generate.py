"""Let a GPT-2 continue a text."""

import sys

from ..api.gpt import load


def run(args):
    gpt = load(args.model, heads=args.heads)
    if args.prompt.endswith(" "):
        print(
            "note: the prompt ends in a space. In the texts of training a space belongs to the word after it, so the "
            "continuation will be poor. Leave the space out",
            file=sys.stderr,
        )
    sampling = {name: getattr(args, name) for name in ("greedy", "temperature", "top_k", "top_p", "seed")}
    pieces = gpt.stream(args.prompt, args.tokens, **sampling)
    first = next(pieces)  # before anything is printed, because a prompt that is too long is an error
    print(args.prompt, first, sep="", end="", flush=True)
    made = 0  # one piece for each token, and a last one for the rest of a character
    for piece in pieces:
        made += 1
        print(piece, end="", flush=True)
    print()
    if made < args.tokens and len(gpt.encode(args.prompt) or [0]) + made > gpt.config.n_positions:
        print(f"stopped: the model's {gpt.config.n_positions} positions are full", file=sys.stderr)
