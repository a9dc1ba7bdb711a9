"""`python -m numpygpt`: the list of commands."""

import ast
from pathlib import Path

from .system import command

COMMANDS = ("train", "classify", "generate", "pretrain", "gradcheck", "experiments", "convert", "export")


def main():
    print("numpygpt: GPT-2 in NumPy alone, fine-tuned into a text classifier, every gradient written by hand.\n")
    for name in COMMANDS:
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        summary = ast.get_docstring(ast.parse(source)).splitlines()[0]
        print(f"  python -m numpygpt.{name:<12} {summary.split(': ', 1)[1]}")
    print("\nEach explains itself with --help. Start with: python -m numpygpt.train")


if __name__ == "__main__":
    command.run(main)
