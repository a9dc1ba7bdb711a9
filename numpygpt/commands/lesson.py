"""Write a lesson, the handout or the site, or list the lessons."""

from pathlib import Path

from ..study import lessons
from ..study.lessons import notebook
from ..system import command
from ..system.errors import InputError
from ..system.files import write_file


def run(args):
    if args.handout:
        from ..study.lessons.handout import handout
        from ..study.trace.page import save

        save(args.handout, handout())
        print(f"wrote {args.handout}: open it in a browser; it prints on two pages of A4")
    elif args.site:
        write_course(args.site)
    elif args.number is None:
        show_list()
    else:
        write(lessons.lesson(known(args.number)), args.key)


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
    write_file(path, notebook.text(lesson, key))
    print(f"wrote {path}: {lesson.title}, about {lesson.minutes} minutes")
    print(f"Open it:  jupyter lab {path}")


def write_course(folder):
    from ..api.classifier import Classifier  # a list or a notebook needs no model
    from ..api.gpt import load
    from ..study.lessons.site import write_site

    clf = Classifier(load("mini"), ["ham", "spam"], "all", pad="end", position="last")
    progress = command.Progress("writing the site", "pages")
    write_site(folder, clf, progress)
    progress.clear()
    print(f"wrote {folder}: open {folder / 'index.html'} in a browser, or copy the folder to a web server")
