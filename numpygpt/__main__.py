"""`python -m numpygpt` and the console script `numpygpt`: list the commands, or run one of them."""

import ast
import difflib
import importlib
import sys
import textwrap
from pathlib import Path

from .system import command
from .system.errors import InputError

# The commands that a new user needs; the list shows the others after these, in alphabetical order.
_FIRST = ("train", "evaluate", "classify", "serve", "generate")


def commands():
    """Return the names of the commands. Every other file in this folder is a command."""
    names = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "__main__"}
    return sorted(names, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))


def main(argv=None):
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        show_list()
    elif name in commands():
        importlib.import_module(f".{name}", __package__).main(rest)
    else:
        meant = difflib.get_close_matches(name, commands(), n=1)
        hint = f"did you mean {meant[0]}?" if meant else f"the commands are {', '.join(commands())}"
        raise InputError(f"{name!r} is not a command of numpygpt: {hint}")


def show_list():
    print("numpygpt: GPT-2 in NumPy alone, fine-tuned into a text classifier, every\ngradient written by hand.\n")
    for name in commands():
        source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        summary = ast.get_docstring(ast.parse(source)).splitlines()[0]
        said = summary.split(": ", 1)[1].removesuffix(".")
        print(textwrap.fill(said, 80, initial_indent=f"  {name:<12} ", subsequent_indent=" " * 15))
    print(
        "\nRun a command as python -m numpygpt.NAME, or numpygpt NAME. Each has a --help.\n"
        "Start with: python -m numpygpt.train"
    )


def script():
    """Run the console script."""
    command.run(main)


if __name__ == "__main__":
    script()
