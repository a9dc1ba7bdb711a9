"""python -m numpygpt.lesson: lessons as notebooks, from a linear layer to the classifier."""

from pathlib import Path

from .system import command


def arguments(argv=None):
    parser = command.parser(
        "lesson",
        "Learn backpropagation through a transformer in ten lessons. Without NUMBER, list the lessons. With NUMBER, "
        "write the lesson into this folder, as a notebook for Jupyter, JupyterLab or VS Code. It needs numpygpt and "
        "Jupyter only. In each lesson you write an operation's gradients, and a check tells you what is wrong.",
        [
            "python -m numpygpt.lesson",
            "python -m numpygpt.lesson 1",
            "python -m numpygpt.lesson 1 --key",
            "python -m numpygpt.lesson --handout handout.html",
            "python -m numpygpt.lesson --site course",
        ],
    )
    parser.add_argument("number", nargs="?", metavar="NUMBER", help="a lesson")
    parser.add_argument("--key", action="store_true", help="write the lesson with its exercises solved")
    parser.add_argument(
        "--handout",
        type=Path,
        metavar="FILE",
        help="write a page to print: every operation's forward pass, gradients and shapes, typeset",
    )
    parser.add_argument(
        "--site",
        type=Path,
        metavar="FOLDER",
        help="write the course as a web site: the tour on four messages, the lessons with their outputs, the "
        "exercises, the glossary and the handout. It needs no network and no server: open FOLDER/index.html",
    )
    args = parser.parse_args(argv)
    if sum(map(bool, (args.number, args.handout, args.site))) > 1:
        parser.error("NUMBER, --handout and --site exclude each other: give one of them")
    if args.key and args.number is None:
        parser.error("--key needs the NUMBER of a lesson")
    return args


main = command.main("lesson", arguments)


if __name__ == "__main__":
    command.run(main)
