"""Run a script in PyTorch in a process of its own, as `python -m numpygpt.train` runs.

    python -m bench.pytorch book|small MODEL DATA OUT.json [--steps N] [--shortcuts longest|none]

The scripts are bench/book.py and bench/small.py. OUT.json gets what their `run` returns.
"""

import argparse
import json
from importlib import import_module
from pathlib import Path

from numpygpt.system import command

from .machine import need


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.pytorch", description=__doc__.partition("\n\n")[0])
    parser.add_argument("script", choices=("book", "small"))
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--shortcuts", choices=("longest", "none"))
    args = parser.parse_args(argv)
    need("torch")
    run = import_module(f".{args.script}", __package__).run
    args.out.write_text(json.dumps(run(args.model, args.data, steps=args.steps, shortcuts=args.shortcuts)))


if __name__ == "__main__":
    command.run(main)
