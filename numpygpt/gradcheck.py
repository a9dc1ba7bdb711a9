"""python -m numpygpt.gradcheck: check every hand-written gradient, or those of a file of yours."""

from .study.checking.grammar import GRAMMAR, MARK
from .system import command


def arguments(argv=None):
    parser = command.parser(
        "gradcheck",
        "Check every hand-written gradient against the complex-step derivative: of each operation, then of whole "
        "models. With FILE, check the operation in a file of yours: an exercise (python -m numpygpt.exercise), or any "
        "function of one of the forms\n"
        "\n"
        "    y, (dx, dweight, …) = f(x, weight, …)   a function of dy per float array\n"
        "    y, backward = f(x, weight, …)           a function of dy for all gradients\n"
        "\n"
        "In the first form each gradient is checked as soon as it is written. Arrays on the way are checked, too: "
        "`dscores` belongs to the forward pass's `scores`. The first wrong one is named with its line. The file runs "
        "in its own process and is never changed. `numpygpt.check` is the same for a notebook or a test. If the "
        "operation is no exercise, describe its arguments on the command line, or in "
        f"the file on lines with `{MARK}`:\n"
        "\n"
        f"{GRAMMAR}\n"
        "\n"
        "A complex step is f(x + ih): it adds a tiny imaginary number to one input. By Taylor's series its imaginary "
        "part is h f'(x), up to h^3, so Im f(x + ih) / h is the derivative. Unlike a finite difference it subtracts "
        "no two nearly equal numbers, so h can be 1e-30 and the derivative is right to the last digits.",
        [
            "python -m numpygpt.gradcheck",
            "python -m numpygpt.gradcheck layernorm.py --watch",
            "python -m numpygpt.gradcheck mine.py:scale 'x=(5,7)' 'factor=(7,)'",
            "python -m numpygpt.gradcheck --json class/*/layernorm.py > results.jsonl",
        ],
    )
    parser.add_argument("file", nargs="?", metavar="FILE[:FUNCTION]", help="the file to check, all of numpygpt if none")
    parser.add_argument("arguments", nargs="*", metavar="NAME=…", help="the function's arguments, if it is no exercise")
    parser.add_argument("--watch", action="store_true", help="check again whenever the file is saved; Ctrl-C ends it")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a line of JSON for each FILE, of which there may be many, with the table and the messages",
    )
    args = parser.parse_args(argv)
    if not args.file and (args.watch or args.json):
        parser.error(f"--{'watch' if args.watch else 'json'} needs a FILE")
    if args.watch and args.json:
        parser.error("--json checks once: omit --watch")
    return args


main = command.main("gradcheck", arguments)


if __name__ == "__main__":
    command.run(main)
