"""python -m numpygpt.lesson: lessons as notebooks, from a linear layer to the classifier."""

import numpygpt.system.process  # noqa: F401  before NumPy

from pathlib import Path

from .api.classifier import Classifier
from .api.gpt import load
from .study import lessons
from .study.lessons import notebook
from .study.lessons.handout import handout
from .study.lessons.site import write_site
from .study.trace.page import save
from .system import command
from .system.errors import InputError
from .system.files import replacing


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
    given = parser.parse_args(argv)
    if sum(map(bool, (given.number, given.handout, given.site))) > 1:
        parser.error("NUMBER, --handout and --site exclude each other: give one of them")
    if given.key and given.number is None:
        parser.error("--key needs the NUMBER of a lesson")
    return given


def main(argv=None):
    given = arguments(argv)
    if given.handout:
        save(given.handout, handout())
        print(f"wrote {given.handout}: open it in a browser; it prints on two pages of A4")
    elif given.site:
        write_course(given.site)
    elif given.number is None:
        show_list()
    else:
        write(lessons.lesson(known(given.number)), given.key)


def known(typed):
    """Return the number of a lesson, as an int. Raises InputError for any other text."""
    if typed.isdecimal() and int(typed) in lessons.FILES:
        return int(typed)
    raise InputError(
        f"no lesson {typed!r}: the lessons are 1 to {max(lessons.FILES)}; python -m numpygpt.lesson lists them"
    )


def show_list():
    print("Learn backpropagation through a transformer, from a linear layer to the classifier:\n")
    every = [lessons.lesson(number) for number in lessons.FILES]
    for lesson in every:
        print(f" {lesson.number:>2}  {lesson.minutes:>2} min  {lesson.title}")
    total = sum(lesson.minutes for lesson in every)
    print(f"\n{total} minutes in all. Write the first as a notebook:  python -m numpygpt.lesson 1")


def write(lesson, key):
    path = Path(f"lesson_{lesson.number}{'_key' if key else ''}.ipynb")
    if path.exists():
        raise InputError(f"{path} exists already, and is left as it is. Rename it or delete it to get a new one.")
    with replacing(path) as file:
        file.write(notebook.text(lesson, key).encode())
    print(f"wrote {path}: {lesson.title}, about {lesson.minutes} minutes")
    print(f"Open it:  jupyter lab {path}")


def write_course(folder):
    clf = Classifier(load("mini"), ["ham", "spam"], "all", pad="end", position="last")
    progress = command.Progress("writing the site", "pages")
    write_site(folder, clf, progress)
    progress.clear()
    print(f"wrote {folder}: open {folder / 'index.html'} in a browser, or copy the folder to a web server")


if __name__ == "__main__":
    command.run(main)
