"""The evaluate command on the run's own sets and other files. Bad input ends in one line."""

import gzip
import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numpygpt import classify, evaluate, train
from numpygpt.api.run import load_run
from numpygpt.system.errors import InputError, Note
from tests.calls import contents, output, python, refusal, spoil
from tests.tiny import written


@pytest.mark.parametrize("options", ["", "--pad longest", "--trainable lora --rank 2 --pad none"])
def test_evaluate_reproduces_trainings_test_figures(here, capsys, options):
    train.main(f"--model model --data three.csv --epochs 2 --lr 0.02 --out new {options}".split())
    shown = output(capsys, evaluate.main, "new")
    kept = json.loads(Path("new/evaluation.json").read_text())
    test = pd.read_csv("new/test.csv")
    assert kept["messages"] == len(test) and f"{len(test)} messages of new/test.csv, classified by new\n" in shown
    clf = load_run("new")
    again = clf.evaluate(test["Text"], [clf.labels[number] for number in test["Label"]]).to_dict()
    for figure in ("accuracy", "interval", "labels", "macro", "confusion"):
        assert kept[figure] == again[figure]
    assert kept["log_loss"] == pytest.approx(again["log_loss"], rel=1e-4)
    assert re.search(rf"^accuracy: +{kept['accuracy']:.2%} ", shown, re.MULTILINE)
    assert re.search(rf"^naive Bayes on word counts: +{kept['naive_bayes']['accuracy']:.2%} ", shown, re.MULTILINE)


def test_other_files_are_read_like_training_files_and_the_runs_sets_by_label_numbers(here, capsys):
    expected = output(capsys, evaluate.main, "run", "two.csv").split("\n", 1)[1]
    assert "ham" in expected and " 30\n" in expected
    frame = pd.read_csv("two.csv").rename(columns={"Label": "kind", "Text": "body"})
    frame.to_csv("other.tsv", sep="\t", index=False)
    shown = output(capsys, evaluate.main, "run", "other.tsv", "--text-column", "body", "--label-column", "kind")
    assert shown.split("\n", 1)[1] == expected
    assert output(capsys, evaluate.main, "run", "sample").startswith("2,400 messages of ")
    assert output(capsys, evaluate.main, "run", "run/train.csv").startswith("42 messages of run/train.csv")
    frame[frame["kind"] == "ham"].to_csv("ham.tsv", sep="\t", index=False, header=False, columns=["kind", "body"])
    assert "30 messages of ham.tsv" in output(capsys, evaluate.main, "run", "ham.tsv"), (
        "a file with one label is accepted"
    )


def test_quotes_in_a_tsv_are_read_as_in_the_runs_training(here, capsys):
    """With --recipe book, a message that starts with a quote includes all lines up to the next quote."""
    rows = [f"{label}\t{text}" for label in ("ham", "spam") for text in written(label, 30)]
    rows[3:6] = ['ham\t"See you', "ham\tsoon", 'ham\tat home"']
    Path("quotes.tsv").write_text("\n".join(rows) + "\n")
    for recipe, count in (("--recipe book", 58), ("", 60)):
        folder = f"of {count}"
        train.main(f"--model model --data quotes.tsv --epochs 1 {recipe} --out".split() + [folder])
        assert output(capsys, evaluate.main, folder, "quotes.tsv").startswith(f"{count} messages of quotes.tsv")


def test_saved_predictions_equal_classifys(here, capsys):
    shown = output(capsys, evaluate.main, "run", "two.csv", "--predictions", "a.csv")
    assert shown.endswith("\n\nevery answer: a.csv\n")
    answers, data = pd.read_csv("a.csv"), pd.read_csv("two.csv")
    assert list(answers.columns) == ["text", "label", "prediction", "P(ham)", "P(spam)", "unseen"]
    np.testing.assert_allclose(answers["unseen"], load_run("run").unseen(data["Text"]), atol=1e-6)
    assert answers["text"].tolist() == data["Text"].tolist() and answers["label"].tolist() == data["Label"].tolist()
    said = [line.split("\t") for line in output(capsys, classify.main, "run", *data["Text"]).splitlines()]
    assert answers["prediction"].tolist() == [label for label, *_ in said]
    sure = answers[["P(ham)", "P(spam)"]].max(axis=1)
    np.testing.assert_allclose(sure, [float(probability) for _, probability, *_ in said], atol=6e-5)
    accuracy = (answers["prediction"] == answers["label"]).mean()
    assert re.search(rf"^accuracy: +{accuracy:.2%} ", shown, re.MULTILINE)


def test_predictions_of_an_older_run_have_no_column_of_unseen_tokens(here, capsys):
    clf = load_run("run")
    clf.seen_tokens = None
    clf.save("old")
    output(capsys, evaluate.main, "old", "two.csv", "--predictions", "a.csv")
    assert list(pd.read_csv("a.csv").columns) == ["text", "label", "prediction", "P(ham)", "P(spam)"]


def test_a_run_without_its_training_set_is_evaluated_without_naive_bayes(here, capsys):
    with_it = output(capsys, evaluate.main, "run")
    os.remove("run/train.csv")
    without = output(capsys, evaluate.main, "run")
    assert re.sub("naive Bayes.*\n", "", with_it) == without != with_it


REFUSED = {
    "no run": (lambda: None, "model", "model: a model without a classifier.s head"),
    "no test set": (lambda: os.remove("run/test.csv"), "run", "run has no test.csv. Name a file of labelled messages"),
    "an empty test set": (lambda: spoil("run/test.csv", lambda b: b""), "run", "run/test.csv: the file is empty"),
    "a test set of no messages": (
        lambda: spoil("run/test.csv", lambda b: b"Label,Text\n"),
        "run",
        "run/test.csv: there are no messages",
    ),
    "another test set": (
        lambda: spoil("run/test.csv", lambda b: b"Label,Text\nham,hi\n"),
        "run",
        "run/test.csv: label 'ham' is not one of 0 to 1",
    ),
    "another training set": (
        lambda: spoil("run/train.csv", lambda b: b"Label,Text\n7,hi\n"),
        "run",
        "run/train.csv: label '7' is not one of 0 to 1",
    ),
    "no such file": (lambda: None, "run absent.csv", "absent.csv: cannot read the messages"),
    "a folder": (lambda: None, "run model", "model: cannot read the messages"),
    "unknown labels": (
        lambda: spoil("two.csv", lambda b: b + b"eggs,hi\nbacon,ho\n"),
        "run two.csv",
        "two.csv: unknown labels 'bacon', 'eggs': this classifier knows ham, spam",
    ),
    "a wrong column": (lambda: None, "run two.csv --text-column body", "two.csv: no columns have the name 'body'"),
    "columns without a usual name": (
        lambda: spoil("two.csv", lambda b: b.replace(b"Label", b"kind")),
        "run two.csv",
        "two.csv: cannot tell which column is the label",
    ),
    "an error in the last line": (
        lambda: spoil("two.csv", lambda b: b + b"ham\n"),
        "run two.csv",
        "two.csv, line 62: expected 2 fields, found 1",
    ),
    "predictions in the place of the messages": (
        lambda: None,
        "run two.csv --predictions ./two.csv",
        "two.csv: --predictions would overwrite the messages",
    ),
    "predictions without a name": (lambda: None, "run --predictions=", ". is a folder; name a file"),
    "no folder for the predictions": (lambda: None, "run --predictions absent/a.csv", "there is no folder absent"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_evaluate_refuses_bad_input_in_one_line_and_leaves_no_file(here, capsys, what):
    damage, arguments, expected = REFUSED[what]
    damage()
    before = contents(here)
    if "--predictions" not in arguments:
        arguments += " --predictions a.csv"
    error = refusal(capsys, evaluate.main, *arguments.split())
    assert re.search(expected, error), error
    assert contents(here) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_which_cannot_be_read_twice_is_refused(made):
    process = python("-m", "numpygpt.evaluate", made / "run", "/dev/stdin", stdin=-1)
    _, err = process.communicate(b"Label,Text\nham,hi\n")
    assert process.returncode == 2 and re.fullmatch(b"error: /dev/stdin is a pipe.*read twice.*\n", err)


def test_train_and_evaluate_read_common_file_formats_with_the_same_options(here, capsys):
    """The files are compressed, with semicolons, in Windows-1252, with the text first and no header; and JSON."""
    messages = pd.read_csv("two.csv")
    body = "".join(f"“{text}”;{label}\n" for text, label in zip(messages["Text"], messages["Label"]))
    Path("a.dat").write_bytes(gzip.compress(body.encode("windows-1252")))
    with pytest.warns(Note) as said:
        train.main("--model model --data a.dat --trainable head --epochs 1 --out new".split())
    notes = [str(note.message) for note in said if note.category is Note]
    assert [note.split(" ", 1)[1][:30] for note in notes] == [
        "is not UTF-8 (line 1). It is r",
        "no names of columns in line 1.",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        options = "--text-column 1 --label-column 2 --no-header --encoding windows-1252".split()
        shown = output(capsys, evaluate.main, "new", "a.dat", *options)
        messages["Text"] = [f"“{text}”" for text in messages["Text"]]
        messages.to_json("a.json", orient="records")
        assert output(capsys, evaluate.main, "new", "a.json").replace("a.json", "a.dat") == shown
    assert f"{len(messages)} messages of a.dat" in shown


def test_an_empty_name_is_not_the_runs_test_set(here):
    with pytest.raises(InputError, match="expected the name of a file or folder, got ''"):
        evaluate.main(["run", ""])
