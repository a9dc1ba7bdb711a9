"""The handout has every operation, in a single file without other resources."""

import re
from html.parser import HTMLParser

from numpygpt import lesson as command
from numpygpt.study.formulas import FORMULAS
from numpygpt.study.lessons.handout import TITLES, handout
from numpygpt.study.trace.operation import examples
from tests.calls import output, refusal

REPEATED = {"residual", "freezing", "adamw"}  # block and AdamW already cover these exercises


class Open(HTMLParser):
    """Find unclosed tags and the texts of headings."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.open[-2:] == ["h2", "code"]:
            self.headings.append(data)


def test_the_handout_has_every_operation_with_formulas_and_shapes():
    page, text = Open(handout()), handout()
    assert page.headings == list(TITLES) and set(TITLES) == set(FORMULAS) - REPEATED
    assert examples().keys() - REPEATED <= set(TITLES)
    lines = sum(len(FORMULAS[name].forward_latex() + FORMULAS[name].backward_latex()) for name in TITLES)
    assert text.count("<math") == lines
    assert "<b>x</b> (N, D), <b>gain</b> (D), <b>bias</b> (D) → <b>y</b> (N, D)" in text


def test_the_handout_is_well_formed_and_loads_no_resource():
    page, text = Open(handout()), handout()
    assert page.open == [] and page.wrong == []
    assert not re.search(r"( src=| href=|url\(|@import|https?:)", text) and "@" not in text.split("</style>")[1]


def test_lesson_handout_writes_the_file_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert output(capsys, command.main, "--handout", "h.html").startswith("wrote h.html: ")
    assert (tmp_path / "h.html").read_text(encoding="utf-8") == handout()
    assert "h.html exists" in refusal(capsys, command.main, "--handout", "h.html")
    assert "there is no folder" in refusal(capsys, command.main, "--handout", "absent/h.html")
    assert "give one of them" in refusal(capsys, command.main, "1", "--handout", "other.html")
