"""The exercise command lists, writes and gives hints, and shows a solution only on request."""

import io

import pytest

from numpygpt import exercise, gradcheck
from numpygpt.study import exercises
from numpygpt.system.errors import InputError
from tests.calls import refusal
from tests.study.judging import in_this_process


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with in_this_process():
        yield tmp_path


def test_the_list_shows_each_exercise_and_whether_it_is_solved(folder, capsys):
    (folder / "linear.py").write_text(exercises.exercise("linear").solution_text())
    (folder / "softmax.py").write_text(exercises.exercise("softmax").text())
    exercise.main([])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [row.split()[0] for row in rows] == list(exercises.NAMES)
    assert [row[20:28].strip() for row in rows] == ["done", "begun"] + [""] * (len(rows) - 2)


def test_an_exercise_never_overwrites_a_file(folder, capsys):
    exercise.main(["cross-entropy"])
    assert "gradcheck cross_entropy.py" in capsys.readouterr().out
    path = folder / "cross_entropy.py"
    assert path.read_text() == exercises.exercise("cross_entropy").text()
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        exercise.main(["cross_entropy"])
    assert path.read_text() == "mine"


def test_a_mistyped_name_gets_a_suggestion():
    with pytest.raises(InputError, match="is it layernorm?"):
        exercise.main(["layernrom"])
    with pytest.raises(InputError, match="lists them"):
        exercise.main(["xyz"])


def test_the_requested_hint_is_shown(capsys):
    for argv, number in ([["--hint"], 1], [["--hint", "2"], 2], [["--hint", "3"], 3]):
        exercise.main(["gelu", *argv])
        out = " ".join(capsys.readouterr().out.split())
        found = [n for n in (1, 2, 3) if " ".join(exercises.exercise("gelu").hint(n).split()) in out]
        assert found == [number]


def test_a_hint_and_the_solution_are_not_both_shown(capsys):
    assert "exclude each other" in refusal(capsys, exercise.main, "gelu", "--hint", "--solution")


@pytest.mark.parametrize("answers, shown", [("yes\nyes\n", True), ("y\nno\n", False), ("no\n", False), ("", False)])
def test_the_solution_is_shown_only_after_two_questions(capsys, monkeypatch, answers, shown):
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    exercise.main(["layernorm", "--solution"])
    out = capsys.readouterr().out
    assert ("return (dy * xhat).sum(axis=0)" in out) == shown
    assert shown or out.endswith("not shown\n")


def test_a_check_ends_with_status_1_until_the_solution_is_correct(folder, capsys):
    exercise.main(["linear"])
    with pytest.raises(SystemExit) as exit:
        gradcheck.main(["linear.py"])
    assert exit.value.code == 1 and "nothing is written yet" in capsys.readouterr().out
    (folder / "linear.py").write_text(exercises.exercise("linear").solution_text())
    gradcheck.main(["linear.py"])
    assert "linear holds" in capsys.readouterr().out


def test_a_solved_exercise_names_the_next_one_and_the_number_solved(folder, capsys):
    for name in ("linear", "softmax", "gelu"):
        (folder / f"{name}.py").write_text(exercises.exercise(name).solution_text())
    (folder / "cross_entropy.py").write_text(exercises.exercise("cross_entropy").text())
    gradcheck.main(["linear.py"])
    assert capsys.readouterr().out.splitlines()[-1] == f"next: cross_entropy; 3 of {len(exercises.NAMES)} done"


def test_no_exercise_is_suggested_after_the_last(folder, monkeypatch, capsys):
    monkeypatch.setattr(exercises, "NAMES", ("linear",))
    (folder / "linear.py").write_text(exercises.exercise("linear").solution_text())
    gradcheck.main(["linear.py"])
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 done: all of them"


def test_checks_and_listings_show_neither_hints_nor_solutions(folder, capsys):
    exercise.main(["layernorm"])
    with pytest.raises(SystemExit):
        gradcheck.main(["layernorm.py"])
    exercise.main([])
    shown = capsys.readouterr().out + (folder / "layernorm.py").read_text()
    found = exercises.exercise("layernorm")
    assert not any(found.hint(n)[:40] in shown for n in (1, 2, 3))
    assert not any(line.strip() in shown for line in found.solution_lines().splitlines() if line.startswith("    "))


def test_arguments_come_from_the_command_line_or_the_file_itself(folder, capsys):
    text = "def double(x):\n    return 2 * x, lambda dy: 2 * dy\n"
    (folder / "mine.py").write_text(text)
    gradcheck.main(["mine.py:double", "x=(3,4)"])
    (folder / "mine.py").write_text("# gradcheck: x=(3,4)\n" + text)
    gradcheck.main(["mine.py"])
    assert capsys.readouterr().out.count("double holds") == 2


class Saves:
    """A replacement of sleep that changes the file at each call, and presses Ctrl-C after the last."""

    def __init__(self, path, texts):
        self.path, self.texts = path, iter(texts)

    def __call__(self, seconds):
        text = next(self.texts, KeyboardInterrupt)
        if text is KeyboardInterrupt:
            raise KeyboardInterrupt
        if text is None:
            self.path.unlink()
        else:
            self.path.write_text(text)


def test_watch_checks_at_every_save_until_ctrl_c(folder, capsys, monkeypatch):
    linear, path = exercises.exercise("linear"), folder / "linear.py"
    path.write_text(linear.text())
    saves = [linear.text(), None, "def linear(:\n", linear.solution_text()]
    monkeypatch.setattr("numpygpt.commands.gradcheck.sleep", Saves(path, saves))
    with pytest.raises(KeyboardInterrupt):
        gradcheck.main(["linear.py", "--watch"])
    out = capsys.readouterr().out
    order = [out.find(words) for words in ("nothing is written yet", "watching", "SyntaxError", "linear holds")]
    assert -1 not in order and order == sorted(order)
