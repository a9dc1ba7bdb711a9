"""The lessons' cells run and print the shown output, and an exercise is rejected until it is solved."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from numpygpt import lesson as command
from numpygpt.study import exercises, lessons
from numpygpt.study.lessons import notebook
from numpygpt.study.lessons.mine import TRAINING
from tests import lessons as running
from tests.calls import PACKAGE, output, refusal

NUMBERS = list(lessons.FILES)
FINALE = "The finale"  # this lesson trains three times
WITH_EXERCISES = [number for number in NUMBERS if "```exercise " in lessons.lesson(number).text]
PARTS = (
    "The question",
    "Tiny numbers, by hand",
    "Write ",
    "The same operation in the trace",
    "What if?",
    "Something to turn",
    "Three questions",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", NUMBERS)
def test_a_solved_lesson_prints_the_shown_output_and_passes_every_check(number):
    for cell, printed, value in running.run(lessons.lesson(number), key=True, until=FINALE):
        if cell.prints is not None:
            assert printed.rstrip() == cell.prints, cell.text
        if "numpygpt.check(" in cell.text:
            assert value, f"{cell.text}\n{value}"
            if f"{cell.text}.trace()" in lessons.lesson(number).text:
                assert "dy" in value.trace().names()


@pytest.mark.parametrize("number", WITH_EXERCISES)
def test_an_unsolved_lesson_runs_and_each_of_its_exercises_is_rejected_with_a_sentence(number):
    checks = []
    for cell, printed, value in running.run(lessons.lesson(number), until=FINALE):
        if cell.prints is not None:
            assert printed.rstrip() == cell.prints, "an example uses what the learner has not written yet"
        if "numpygpt.check(" in cell.text:
            checks.append(value)
            assert not value and "nothing is written yet" in str(value)
    assert len(checks) >= sum(cell.kind == "exercise" for cell in lessons.lesson(number).cells()) > 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_lesson_has_all_its_parts_and_three_folded_answers(number):
    lesson = lessons.lesson(number)
    headings = re.findall(r"^## (.+)$", lesson.text, re.MULTILINE)
    expected = [part for part in PARTS if number in WITH_EXERCISES or "trace" not in part]
    missing = [part for part in expected if not any(heading.startswith(part) for heading in headings)]
    assert not missing and 10 <= lesson.minutes <= 30
    questions = lesson.text.split("## Three questions")[1]
    assert questions.count("<details><summary>Answer</summary>") == questions.count("</details>") == 3
    assert all(len(re.findall(rf"^\*\*{n}\.\*\* ", questions, re.MULTILINE)) == 1 for n in (1, 2, 3))


@pytest.mark.parametrize("number", [n for n in NUMBERS if n != 9])  # whose cell trains a model
def test_every_value_offered_by_a_lesson_gives_a_different_output(number):
    lesson = lessons.lesson(number)
    (cell,) = (cell for cell in lesson.cells() if cell.kind == "python" and cell.turn)
    shown = []
    for value in cell.turn[1]:
        changed = replace(lesson, text=lesson.text.replace(cell.text, cell.turned(value)))
        shown.append(next(printed for run, printed, _ in running.run(changed) if run.text == cell.turned(value)))
    assert len(set(shown)) == len(cell.turn[1]) > 1


def test_the_glossary_has_exactly_the_words_that_lessons_link_to():
    words = list(lessons.glossary())
    linked = {word for n in NUMBERS for word in re.findall(r"\]\(#([^)]+)\)", lessons.lesson(n).text)}
    assert linked == set(words) and words == sorted(words)
    assert all(f"### {word}\n" in lessons.lesson(n).cells()[-1].text for n in NUMBERS for word in linked_in(n))


def linked_in(number):
    return re.findall(r"\]\(#([^)]+)\)", lessons.lesson(number).text)


def prose(lesson):
    return "\n".join(text for kind, _, text in lessons.parts(lesson.text) if kind == "markdown")


def value_of(text):
    """Return the value of arithmetic such as `2 * sqrt(9)`, or None for any other text."""
    names = {"sqrt": math.sqrt, "log": math.log, "exp": math.exp, "tanh": math.tanh, "pi": math.pi}
    if not re.fullmatch(r"(?:[\d.+\-*/() ]|sqrt|log|exp|tanh|pi)+", text) or not re.search(r"\d", text):
        return None
    return eval(text, names)


def equalities(text):
    """Return [(left side, right side)] of the text's equations, such as `10 * 3 + 1 = 31`, in code or on a line."""
    found = []
    for line in re.findall(r"`([^`\n]+)`|^ {4}(.+)$", text, re.MULTILINE):
        for part in re.split(r" {2,}|, {2,}", line[0] or line[1]):
            sides = part.split(" = ")
            values = [side for side in sides if len(sides) > 1 and value_of(side) is not None]
            found += zip(values, values[1:])
    return found


def test_calculations_in_a_lessons_text_are_correct():
    found = [(n, *sides) for n in NUMBERS for sides in equalities(prose(lessons.lesson(n)))]
    assert len(found) > 30
    for number, left, right in found:
        places = len(right.partition(".")[2]) if re.fullmatch(r"-?[\d.]+", right) else 4
        assert abs(value_of(left) - value_of(right)) <= 0.51 * 10**-places, f"lesson {number}: {left} = {right}"


@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_in_a_lessons_text_is_computed_or_listed(number):
    lesson = lessons.lesson(number)
    text = prose(lesson)
    shown = [cell.text + (cell.prints or "") for cell in lesson.cells(key=True) if cell.kind != "markdown"]
    computed = "\n".join([*shown, *(f"{left} = {right}" for left, right in equalities(text))])
    known = {float(number) for number in re.findall(r"\d+\.\d+|\.\d+", computed)}
    said = [float(number) for number in re.findall(r"(?<![\d.])\d+\.\d+", re.sub(r"\$\$.*?\$\$", "", text))]
    unknown = [n for n in said if not any(np.isclose(n, k, rtol=1e-9) for k in known)]
    assert not unknown, unknown


def test_exercises_outside_the_lessons_are_named_in_a_lesson():
    text = "".join(lessons.lesson(n).text for n in NUMBERS)
    assert [name for name in exercises.NAMES if not re.search(rf"exercise {name}\b", text)] == []


def test_a_lessons_notebook_is_nbformat_4_without_outputs():
    nbformat = pytest.importorskip("nbformat")
    for number in NUMBERS:
        for key in (False, True):
            made = notebook.notebook(lessons.lesson(number), key)
            nbformat.validate(made)
            assert all(not cell["outputs"] for cell in made["cells"] if cell["cell_type"] == "code")
            assert "```" not in "".join(line for cell in made["cells"] for line in cell["source"])


def test_the_list_shows_every_lesson_with_its_duration(capsys):
    rows = re.findall(r"^ ( \d|\d\d)  (\d\d) min  (.+)$", output(capsys, command.main), re.MULTILINE)
    made = [lessons.lesson(number) for number in NUMBERS]
    assert rows == [(f"{lesson.number:2}", str(lesson.minutes), lesson.title) for lesson in made]


def test_a_lesson_never_overwrites_a_file(folder, capsys):
    assert "lesson_4.ipynb" in output(capsys, command.main, "4")
    path = folder / "lesson_4.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert "".join(cells[0]["source"]).startswith("# Lesson 4: ")
    path.write_text("mine")
    assert "lesson_4.ipynb exists already" in refusal(capsys, command.main, "4")
    assert path.read_text() == "mine" and list(folder.iterdir()) == [path]


def test_only_the_key_has_the_shipped_lines(folder, capsys):
    command.main(["4"])
    command.main(["4", "--key"])
    texts = [
        "".join(line for cell in json.loads((folder / name).read_text("utf-8"))["cells"] for line in cell["source"])
        for name in ("lesson_4.ipynb", "lesson_4_key.ipynb")
    ]
    assert ["return (dy * xhat).sum(axis=0)" in text for text in texts] == [False, True]


@pytest.mark.parametrize("given", ["0", "12", "x", "-1", "4.0", "²"])
def test_an_unknown_lesson_number_is_refused_in_one_line(folder, capsys, given):
    assert refusal(capsys, command.main, "--", given) == (
        f"no lesson {given!r}: the lessons are 1 to {NUMBERS[-1]}; python -m numpygpt.lesson lists them"
    )
    assert list(folder.iterdir()) == []


def test_a_key_without_a_lesson_and_a_missing_folder_are_refused(folder, capsys):
    assert "--key needs the NUMBER" in refusal(capsys, command.main, "--key")
    folder.rmdir()
    assert "lesson_1.ipynb'" in refusal(capsys, command.main, "1")


@pytest.mark.slow
@pytest.mark.parametrize("key", [False, True], ids=["unsolved", "key"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_lessons_notebook_runs_completely_in_jupyter(folder, monkeypatch, number, key):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    made = nbformat.reads(notebook.text(lessons.lesson(number), key), as_version=4)
    nbclient.NotebookClient(made, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in made.cells:
        if cell.source.startswith("numpygpt.check("):
            (shown,) = cell.outputs
            assert "text/html" in shown["data"] and ("holds" in shown["data"]["text/plain"]) == key


@pytest.mark.slow
@pytest.mark.parametrize("key", [False, True], ids=["unsolved", "key"])
def test_the_finale_trains_with_the_learners_functions_and_equal_losses(folder, key):
    for number in range(1, 9) if key else []:
        (folder / f"lesson_{number}.ipynb").write_text(notebook.text(lessons.lesson(number), key=True), "utf-8")
    values = {}
    for cell, printed, value in running.run(lessons.lesson(9), key):
        assert cell.prints is None or printed.rstrip() == cell.prints, cell.text
        values[cell.text] = value
    (ops,) = (value for text, value in values.items() if text.endswith("\nops"))
    assert set(ops) == (set(TRAINING) - {"attention"} if key else set())
