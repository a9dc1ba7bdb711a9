"""The static course site has no broken link, loads nothing from a network, and is small."""

import re
from pathlib import Path

import pytest

from numpygpt import lesson as command
from numpygpt.study import exercises, lessons
from numpygpt.study.lessons import site
from numpygpt.study.lessons.lesson_page import lesson_body, output
from numpygpt.study.lessons.site import write_site
from numpygpt.system.errors import InputError
from tests.calls import output as shown_by
from tests.calls import refusal

MB = 1e6


class Traces:
    """Replace a Classifier by one whose pages are made at once."""

    def trace(self, text, label):
        self.text = text
        return self

    def page(self):
        return f"<header><h1>{self.text}</h1></header>"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Build the site with the first five lessons and without tour numbers, which take seconds."""
    folder = tmp_path_factory.mktemp("site") / "course"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lessons, "FILES", {number: lessons.FILES[number] for number in range(1, 6)})
        write_site(folder, Traces())
    return folder


def check_links(folder):
    """Check that every link leads to a file of the site and an anchor in it."""
    for path in folder.glob("*.html"):
        text = re.sub(r'srcdoc="[^"]*"|<script.*?</script>', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r'href="([^"]*)"', text):
            name, _, place = link.partition("#")
            target = folder / (name or path.name)
            assert target.is_file(), f"{path.name}: {link}"
            if place and not place.startswith("tour="):
                assert f'id="{place}"' in target.read_text(encoding="utf-8"), f"{path.name}: {link}"


def test_no_link_of_the_site_is_broken(made):
    check_links(made)


def test_the_start_page_links_to_every_page(made):
    text = (made / "index.html").read_text(encoding="utf-8")
    for path in made.iterdir():
        assert f'"{path.name}' in text, path.name
    assert "@" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_pages_load_no_external_resource(made):
    assert len(list(made.glob("tour_*.html"))) == 4
    text = (made / "exercises.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in text for name in exercises.NAMES) and text.count("Hint 3") == len(exercises.NAMES)
    glossary = (made / "glossary.html").read_text(encoding="utf-8")
    assert glossary.count("<dt ") == len(lessons.glossary())
    for path in made.glob("*.html"):
        own = re.sub(r'srcdoc="[^"]*"', "", path.read_text(encoding="utf-8"))
        assert not re.search(r'(src|href)="(https?:)?//|@import|url\(', own), path.name
    for path in made.glob("*.ipynb"):
        number = int(path.stem.split("_")[1])
        assert path.read_text(encoding="utf-8") == site.notebook_text(lessons.lesson(number))


def test_a_lesson_has_its_outputs_the_open_exercise_and_the_solved_one_folded():
    lesson = lessons.lesson(4)
    body = lesson_body(lesson)
    for cell in lesson.cells():
        if cell.prints and "# try" not in cell.text:
            assert f'<pre class="out">{cell.prints}</pre>' in body.replace("&#x27;", "'"), cell.prints
    assert "not written yet" in body and body.count("The shipped lines") == 1
    assert "layernorm holds" in body and "<iframe" in body
    assert "glossary.html#layernorm" in body and "## Words" not in body


def test_an_interactive_cell_has_an_output_for_each_value():
    body = lesson_body(lessons.lesson(4))
    turn = body[body.index('<div class="turn">') :]
    assert re.findall(r'data-value="([^"]+)"', turn) == ["0.001", "0.1", "1.0", "10"]
    assert re.findall(r'data-value="([^"]+)" hidden', turn) == ["0.001", "0.1", "10"]
    assert 'max="3" value="2"' in turn
    outputs = re.findall(r'<pre class="out">(y .*?)</pre>', turn, re.DOTALL)
    assert len(set(outputs)) == 4 and "0.0052" in outputs[3]  # dx is divided by the factor


def test_an_output_equals_a_notebooks():
    class Drawn:
        def _repr_html_(self):
            return "<b>x</b>"

    assert output("a < b\n", None) == '<pre class="out">a &lt; b</pre>'
    assert output("", 3) == '<div class="wide"><pre class="out">3</pre></div>'
    assert output("", Drawn()) == '<div class="wide"><b>x</b></div>'


def test_a_site_keeps_existing_files_and_an_interruption_leaves_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("course").mkdir()
    assert "course exists" in refusal(capsys, command.main, "--site", "course")
    assert "there is no folder" in refusal(capsys, command.main, "--site", "absent/course")

    def fails(lesson):
        raise InputError("no more")

    monkeypatch.setattr(site, "lesson_body", fails)
    with pytest.raises(InputError, match="no more"):
        write_site("new", Traces())
    assert [path.name for path in tmp_path.iterdir()] == ["course"] and Path.cwd() == tmp_path


@pytest.mark.slow
def test_the_site_and_every_page_are_small(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert shown_by(capsys, command.main, "--site", "course").startswith("wrote course: open course/index.html")
    sizes = {path.name: path.stat().st_size for path in Path("course").iterdir()}
    assert sum(sizes.values()) < 15 * MB and max(sizes.values()) < 4 * MB, sizes
    assert len(sizes) == 5 + 4 - 1 + 2 * len(lessons.FILES)
    check_links(Path("course"))
    assert "to the digit: True" in Path("course/lesson_9.html").read_text(encoding="utf-8")
