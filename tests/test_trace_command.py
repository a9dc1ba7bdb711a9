"""The trace command: its page, its output, and bad input in one line."""

import shutil

import numpy as np
import pytest

import numpygpt
from numpygpt import trace
from tests.calls import contents, output, refusal


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a run folder."""
    folder = tmp_path_factory.mktemp("trace") / "run"
    numpygpt.Classifier(numpygpt.load("mini"), ["ham", "order", "spam"], "last_block").save(folder)
    return folder


def test_trace_writes_a_page_and_prints_its_path(folder, capsys):
    assert output(capsys, trace.main, "Call now", "--trainable", "last_block").startswith("trace.html: loss ")
    ((name, page),) = contents(folder).items()
    assert name == "trace.html" and page.startswith(b"<!doctype html>")


def test_a_run_is_traced_with_its_own_labels(capsys, finished):
    options = "--label order --trainable head --out p.html --run".split()
    shown = output(capsys, trace.main, "Call now", *options, finished)
    loss = float(shown.split("loss ")[1].split(",")[0])
    probability = numpygpt.load_run(finished).predict(["Call now"])["order"].iloc[0]
    assert np.isclose(loss, -np.log(probability), rtol=1e-4)


@pytest.mark.slow
def test_the_language_model_is_traced(folder):
    trace.main(["Call now to", "--language", "--trainable", "h.1.*"])
    assert "output_loss" in (folder / "trace.html").read_text()


def test_tracing_an_operation_prints_it_and_writes_no_file(folder, capsys):
    shown, listed = (output(capsys, trace.main, *options) for options in (["--op", "linear"], ["--op"]))
    assert "y = x @ weight" in shown and "layernorm  " in listed and "\x1b" not in shown + listed
    assert contents(folder) == {}


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
def test_trace_refuses_bad_input_in_one_line_and_leaves_no_file(folder, capsys, arguments, said):
    (folder / "there.html").write_text("mine")
    assert said in refusal(capsys, trace.main, *arguments)
    assert contents(folder) == {"there.html": b"mine"}


def test_a_damaged_run_is_refused_by_trace(folder, capsys, finished):
    (shutil.copytree(finished, folder / "damaged") / "run.json").write_text("{")
    assert "damaged" in refusal(capsys, trace.main, "Hi", "--run", "damaged")


def test_folded_is_refused_with_mean_pooling(folder, capsys, finished):
    options = "--folded --out p.html --run".split()
    assert refusal(capsys, trace.main, "Call now", *options, finished).startswith("folded: ")
    assert contents(folder) == {}
