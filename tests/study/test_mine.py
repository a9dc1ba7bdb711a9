"""The learner's functions are found in notebooks and files, and only correct ones are used."""

import json
import os

import pytest

from numpygpt.study import exercises, lessons
from numpygpt.study.lessons import notebook
from numpygpt.study.lessons.mine import TRAINING, mine
from numpygpt.study.own_files import operations_in
from numpygpt.system.errors import InputError


def write(folder, number, key=True):
    """Write a lesson's notebook as a learner leaves it."""
    (folder / f"lesson_{number}.ipynb").write_text(notebook.text(lessons.lesson(number), key), encoding="utf-8")


def later(path, seconds):
    """Give a file a later time than the files before it have."""
    os.utime(path, (seconds, seconds))


def test_functions_of_all_solved_lessons_are_found_and_run(tmp_path):
    for number in range(1, 8):
        write(tmp_path, number)
    found = mine(folder=tmp_path)
    assert {*found, "attention"} == {*TRAINING} and str(found).count("holds") == len(TRAINING)
    assert all(found[name].__module__ == name for name in found), "a shipped function in the place of the learner's"


def test_wrong_empty_and_failing_functions_are_skipped_with_the_reason(tmp_path):
    linear = exercises.exercise("linear").solution_text()
    (tmp_path / "linear.py").write_text(linear.replace("x.T @ dy", "x.T @ dy / 2"))
    (tmp_path / "gelu.py").write_text("import nothing_of_this_name\n\n\ndef gelu(x):\n    pass\n")
    write(tmp_path, 4, key=False)
    found = mine(folder=tmp_path)
    assert found == {}
    rows = {name: (file, what) for name, file, what in found.rows}
    assert rows["linear"] == ("linear.py", "does not hold: the shipped one is used")
    assert "does not run: ModuleNotFoundError" in rows["gelu"][1] and "shipped" in rows["layernorm"][1]


def test_the_attention_of_lesson_6_is_used_until_lesson_7_is_written(tmp_path):
    write(tmp_path, 6)
    write(tmp_path, 7, key=False)
    assert list(mine(folder=tmp_path)) == ["attention"]
    write(tmp_path, 7)
    found = mine(folder=tmp_path)
    assert list(found) == ["causal_attention"] and "causal_attention is used" in str(found)


def test_the_newest_version_of_a_function_is_used(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "linear.py").write_text(exercises.exercise("linear").text())
    later(tmp_path / "lesson_1.ipynb", 1000)
    later(tmp_path / "linear.py", 2000)
    assert list(mine(folder=tmp_path)) == []
    later(tmp_path / "lesson_1.ipynb", 3000)
    assert list(mine(folder=tmp_path)) == ["linear"]


def test_a_check_in_a_functions_cell_is_not_run_again(tmp_path):
    text = exercises.exercise("gelu").solution_text() + "\nprint('again')\nraise_if_run()\n"
    cells = [{"cell_type": "code", "source": text.splitlines(keepends=True)}, {"cell_type": "markdown", "source": []}]
    (tmp_path / "lesson_3.ipynb").write_text(json.dumps({"cells": cells}))
    assert list(mine(folder=tmp_path)) == ["gelu"]


def test_a_folder_without_functions_is_refused_with_the_searched_files(tmp_path):
    assert mine(folder=tmp_path) == {} and "lesson_1.ipynb" in str(mine(folder=tmp_path))
    (tmp_path / "lesson_1.ipynb").write_text("{}")
    with pytest.raises(InputError, match="lesson_1.ipynb: not a notebook"):
        mine(folder=tmp_path)


def test_an_edit_in_the_second_of_the_last_run_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    file = tmp_path / "gelu.py"
    for number in "12":
        file.write_text(f"def gelu(x):\n    return {number}\n")
        later(file, 1)
        assert operations_in([file])["gelu"](0) == int(number)
    assert list(tmp_path.iterdir()) == [file], "compiled code beside it"
