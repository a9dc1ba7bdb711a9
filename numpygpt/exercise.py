"""python -m numpygpt.exercise: write gradients yourself, and learn what is wrong with them."""

from .system import command


def arguments(argv=None):
    parser = command.parser(
        "exercise",
        "Write gradients yourself. Without NAME, list the exercises and show which are done in this folder. "
        "With NAME, write NAME.py into this folder: the shipped operation with empty gradient functions. "
        "Fill in one at a time, and check the file with `python -m numpygpt.gradcheck NAME.py`.",
        [
            "python -m numpygpt.exercise",
            "python -m numpygpt.exercise layernorm",
            "python -m numpygpt.exercise layernorm --hint 2",
        ],
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="an exercise")
    parser.add_argument(
        "--hint", nargs="?", type=int, const=1, choices=(1, 2, 3), help="show a hint; each says more, 3 is the algebra"
    )
    parser.add_argument("--solution", action="store_true", help="show the shipped lines, after asking twice")
    args = parser.parse_args(argv)
    if args.hint and args.solution:
        parser.error("--hint and --solution exclude each other: give one of them")
    if args.name is None and (args.hint or args.solution):
        parser.error("--hint and --solution need the NAME of an exercise")
    return args


main = command.main("exercise", arguments)


if __name__ == "__main__":
    command.run(main)
