"""The trace command: its page, its output, and bad input in one line."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import numpygpt


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "numpygpt.trace", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a run folder."""
    folder = tmp_path_factory.mktemp("trace") / "run"
    numpygpt.Classifier(numpygpt.load("mini"), ["ham", "order", "spam"], "last_block").save(folder)
    return folder


def test_trace_writes_a_page_and_prints_its_path(tmp_path):
    result = run(tmp_path, "Call now", "--trainable", "last_block")
    assert result.returncode == 0 and result.stdout.startswith("trace.html: loss ")
    assert (tmp_path / "trace.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.html"]


def test_a_run_is_traced_with_its_own_labels(tmp_path, finished):
    result = run(
        tmp_path, "Call now", "--label", "order", "--run", str(finished), "--trainable", "head", "--out", "p.html"
    )
    assert (result.returncode, result.stderr) == (0, "")
    clf = numpygpt.load_run(finished)
    loss = float(result.stdout.split("loss ")[1].split(",")[0])
    probability = clf.predict(["Call now"])["order"].iloc[0]
    assert np.isclose(loss, -np.log(probability), rtol=1e-4)


@pytest.mark.slow
def test_the_language_model_is_traced(tmp_path):
    result = run(tmp_path, "Call now to", "--language", "--trainable", "h.1.*")
    assert (result.returncode, result.stderr) == (0, "")
    assert "output_loss" in (tmp_path / "trace.html").read_text()


def test_tracing_an_operation_prints_it_and_writes_no_file(tmp_path):
    result = run(tmp_path, "--op", "linear")
    assert result.returncode == 0 and "y = x @ weight" in result.stdout and list(tmp_path.iterdir()) == []
    listed = run(tmp_path, "--op").stdout
    assert "layernorm  " in listed and "\x1b" not in result.stdout + listed


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([""], "empty"),
        (["Hi", "--label", "eggs"], "unknown label 'eggs'"),
        (["Hi", "--run", "nowhere"], "not a finished run"),
        (["Hi", "--model", "nothing"], "nothing"),
        (["Hi", "--out", "there.html"], "there.html exists"),
        (["Hi", "--out", "absent/trace.html"], "no folder absent"),
        (["Hi", "--trainable", "eggs"], "trainable: 'eggs'"),
        (["Hi", "--trainable", "lora"], "LoRA"),
        (["a", "--language"], "at least two tokens"),
        (["Hi", "--language", "--label", "spam"], "--language"),
        (["Hi", "--run", "nowhere", "--heads", "3"], "--run has its own model: omit --heads"),
        (["--op", "eggs"], "no such operation"),
        (["--op", "gelu", "hello"], "--op prints one operation: omit the text"),
        (["--op", "gelu", "--out", "a.html"], "omit --out"),
    ],
)
def test_trace_refuses_bad_input_in_one_line_and_leaves_no_file(tmp_path, arguments, said):
    (tmp_path / "there.html").write_text("mine")
    result = run(tmp_path, *arguments)
    assert result.returncode == 2 and result.stderr.startswith("error: ") and said in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"] and (
        tmp_path / "there.html"
    ).read_text() == "mine"


def test_a_damaged_run_is_refused_in_one_line_by_trace(tmp_path, finished):
    folder = shutil.copytree(finished, tmp_path / "damaged")
    (folder / "run.json").write_text("{")
    result = run(tmp_path, "Hi", "--run", str(folder))
    assert result.returncode == 2 and "damaged" in result.stderr and result.stderr.count("\n") == 1


def test_folded_is_refused_with_mean_pooling(tmp_path, finished):
    result = run(tmp_path, "Call now", "--run", str(finished), "--folded", "--out", "p.html")
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.startswith("error: folded: ")
    assert not (tmp_path / "p.html").exists()
