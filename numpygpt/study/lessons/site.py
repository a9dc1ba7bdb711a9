"""The course as a static site: a folder of pages that need no network and no server."""

import html
import os
import tempfile
import warnings
from pathlib import Path

from ...system.errors import Note
from ...system.pages import template
from .. import exercises, lessons
from ..formulas import formula
from ..mathml import mathml
from ..trace.page import check_new
from .code import code
from .handout import handout
from .lesson_page import lesson_body, word
from .markdown import inline, slug, to_html
from .notebook import text as notebook_text

TEMPLATE = Path(__file__).with_name("site.html")
# The messages of the tours: (file, why this message, message, label)
TOURS = (
    (
        "tour_repeated",
        "A token that occurs twice: its row of the embedding receives two gradients.",
        "Your parcel is held. Pay the fee now and your parcel is sent.",
        "spam",
    ),
    ("tour_word", "One word: few rows, so that you can read every number.", "Yes", "ham"),
    ("tour_ham", "A ham: an ordinary message.", "Home at six, shall I bring bread?", "ham"),
    ("tour_spam", "A spam: a message that wants your money.", "You have won a prize, call now", "spam"),
)
MENU = {
    "index.html": "The course",
    "index.html#tour": "Tour",
    "index.html#lessons": "Lessons",
    "exercises.html": "Exercises",
    "glossary.html": "Glossary",
    "handout.html": "Handout",
}


def write_site(folder, clf, progress=lambda done, total: None):
    """Write the site into a new folder, which appears when all of it is there.

    clf        the Classifier whose way through a message the tours show
    progress   called as progress(pages done, all pages)

    Raises InputError where something of this name exists.
    """
    folder = Path(folder).absolute()
    check_new(folder)
    every = [lessons.lesson(number) for number in lessons.FILES]
    total = len(every) + len(TOURS) + len({link.split("#")[0] for link in MENU})
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
        made = Path(scratch, "site")
        made.mkdir()  # with a folder's usual permissions, which a temporary one does not have
        for done, (name, text) in enumerate(pages(every, clf, made), 1):
            (made / name).write_text(text, encoding="utf-8")
            progress(done, total)
        os.replace(made, folder)


def pages(every, clf, folder):
    """Yield (file name, HTML) of each page. Notebooks are written into the folder before the lessons run."""
    yield "index.html", page("numpygpt: the course", _index(every))
    yield "exercises.html", page("Exercises", _exercises())
    yield "glossary.html", page("Glossary", _glossary())
    yield "handout.html", _with_way_back(handout())
    for name, _, text, label in TOURS:
        yield f"{name}.html", _with_way_back(clf.trace(text, label).page())
    with tempfile.TemporaryDirectory() as desk:
        for lesson in every:
            name = f"lesson_{lesson.number}.ipynb"
            (folder / name).write_text(notebook_text(lesson), encoding="utf-8")
            Path(desk, name).write_text(notebook_text(lesson, key=True), encoding="utf-8")
        for lesson in every:
            with _working_in(desk), warnings.catch_warnings():  # the last lesson looks for the others' notebooks
                warnings.simplefilter("ignore", Note)  # of the training in it
                body = lesson_body(lesson)
            yield f"lesson_{lesson.number}.html", page(lesson.title, _lesson(lesson, every, body))


def page(title, body) -> str:
    """Return a page of the site with its menu."""
    menu = " ".join(f'<a href="{file}">{name}</a>' for file, name in MENU.items())
    text = template(TEMPLATE).replace("@TITLE@", html.escape(title)).replace("@MENU@", menu)
    return text.replace("@BODY@", body)


def _with_way_back(text):
    """Return a page that has no menu with a link to the course."""
    return text.replace("<header>", '<header><a class="course" href="index.html">← the course</a>', 1)


def _index(every):
    tours = "".join(
        f'<li><a href="{name}.html#tour=1">“{html.escape(text)}”</a> {html.escape(why)}</li>'
        for name, why, text, _ in TOURS
    )
    rows = "".join(
        f'<tr><td>{lesson.number}</td><td><a href="lesson_{lesson.number}.html">{html.escape(lesson.title)}</a></td>'
        f'<td>{lesson.minutes} min</td><td><a href="lesson_{lesson.number}.ipynb" download>notebook</a></td></tr>'
        for lesson in every
    )
    return (
        template(TEMPLATE.with_name("index.html"))
        .replace("@TOURS@", tours)
        .replace("@LESSONS@", rows)
        .replace("@COUNT@", str(len(every)))
        .replace("@MINUTES@", str(sum(lesson.minutes for lesson in every)))
        .replace("@EXERCISES@", str(len(exercises.NAMES)))
    )


def _lesson(lesson, every, body):
    beside = {other.number: other for other in every}
    ways = [("←", beside.get(lesson.number - 1)), ("→", beside.get(lesson.number + 1))]
    links = [
        f'<a href="lesson_{other.number}.html">{arrow} {html.escape(other.title)}</a>' for arrow, other in ways if other
    ]
    download = (
        f'<p class="note">To work on it yourself: <a href="lesson_{lesson.number}.ipynb" download>the notebook</a>, or '
        f"<code>python -m numpygpt.lesson {lesson.number}</code>.</p>"
    )
    return f'{download}{body}<p class="ways">{" ".join(links)}</p>'


def _glossary():
    meanings = lessons.glossary()
    entries = "".join(
        f'<dt id="{slug(name)}">{html.escape(name)}</dt><dd>{to_html(meaning, word)}</dd>'
        for name, meaning in meanings.items()
    )
    return f"<h1>Glossary</h1><dl>{entries}</dl>"


def _exercises():
    parts = [
        "<h1>Exercises</h1><p>Each exercise is a shipped operation with its gradients taken out. Write one with "
        "<code>python -m numpygpt.exercise NAME</code>, and check it with <code>python -m numpygpt.gradcheck NAME.py"
        "</code> or, in a notebook, with <code>numpygpt.check(f)</code>. A sensible order:</p>"
    ]
    for number, name in enumerate(exercises.NAMES, 1):
        exercise = exercises.exercise(name)
        hints = "".join(f"<details><summary>Hint {n}</summary>{_hint(exercise.hint(n))}</details>" for n in (1, 2, 3))
        parts.append(
            f'<section class="card"><h2 id="{name}">{number}. <code>{name}</code></h2><p>{inline(exercise.teaches)}</p>'
            f'<div class="formulas">{"".join(map(mathml, formula(exercise.function).forward_latex()))}</div>'
            f"<details><summary>The file to fill in</summary>{code(exercise.text())}</details>{hints}</section>"
        )
    return "".join(parts)


def _hint(text):
    return f'<pre class="hint">{html.escape(text)}</pre>'


class _working_in:
    """Work in another folder for the duration of a block."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.before = os.getcwd()
        os.chdir(self.folder)

    def __exit__(self, *error):
        os.chdir(self.before)
