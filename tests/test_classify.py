"""The classify command: messages from the command line and from standard input."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from numpygpt import classify, train
from numpygpt.api.run import load_run
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.load import load_checkpoint
from numpygpt.text.batches import BATCH
from tests.calls import output, python, refusal, set_in, spoil


def test_the_first_position_of_a_causal_model_depends_on_the_first_token_only(here, capsys):
    train.main("--model model --data two.csv --position first --epochs 1 --out new".split())
    answers = output(capsys, classify.main, "new", "win a prize", "win", "home win").splitlines()
    assert answers[0].split("\t")[:2] == answers[1].split("\t")[:2] != answers[2].split("\t")[:2]


def test_each_line_of_standard_input_is_a_message(made, capsys):
    texts = [f"win {n} £ prize" for n in range(2 * BATCH + 1)]
    process = python("-m", "numpygpt.classify", made / "run", stdin=subprocess.PIPE)
    out, err = process.communicate("\r\n".join(texts).encode())
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == output(capsys, classify.main, made / "run", *texts)
    assert [line.split("\t")[2] for line in out.decode().splitlines()] == texts


def test_a_message_of_mostly_unseen_tokens_gets_a_remark_with_unchanged_probabilities(here, capsys):
    train.main("--model model --data two.csv --epochs 1 --out new".split())
    clf = load_run("new")
    texts = ["win a prize", "你好 win", "你好", "\U0001f600"]
    marked = output(capsys, classify.main, "new", *texts).splitlines()
    shares = clf.unseen(texts)
    assert 0 <= shares[0] < 0.5 and shares[2] == 1
    for line, share in zip(marked, shares):
        mark = [f"{share:.0%} of its tokens occur in no training message"] * int(share >= 0.5)
        assert line.split("\t")[3:] == mark
    clf.seen_tokens = None  # like a run folder of an older version
    clf.save("old")
    assert output(capsys, classify.main, "old", *texts).splitlines() == [
        "\t".join(line.split("\t")[:3]) for line in marked
    ]


@pytest.mark.parametrize("options, blank", [([], []), (["--keep-empty"], [""])])
def test_blank_lines_of_standard_input_are_skipped_or_keep_their_place(made, capsys, options, blank):
    texts = ["win", "", " \t", *["home"] * 40, ""]
    process = python("-m", "numpygpt.classify", made / "run", *options, stdin=subprocess.PIPE)
    out, err = process.communicate("\n".join([*texts, ""]).encode())
    assert (process.returncode, err) == (0, b"")
    win, home = output(capsys, classify.main, made / "run", "win", "home").splitlines()
    assert out.decode().split("\n") == [win, *blank * 2, *[home] * 40, *blank, ""]


def test_standard_input_is_read_in_the_given_encoding(made, capsys):
    expected = output(capsys, classify.main, made / "run", "win £ prize", "home")
    for encoding, named in [("utf-16", "utf-16"), ("latin-1", "latin-1"), ("utf-8-sig", "utf-8")]:
        process = python("-m", "numpygpt.classify", made / "run", "--encoding", named, stdin=subprocess.PIPE)
        out, err = process.communicate("win £ prize\nhome\n".encode(encoding))
        assert (out.decode(), err) == (expected, b"")
    assert "expected an encoding such as" in refusal(capsys, classify.main, made / "run", "hi", "--encoding", "base64")


def test_any_message_prints_one_line(made, capsys):
    assert output(capsys, classify.main, made / "run", "a\tb\nc\r\n  d\u2028", "-5").count("\n") == 2


@pytest.mark.parametrize(
    "content, error",
    [(b"good\n\n\xff\n", "line 3: not UTF-8; .*--encoding"), (b"", "has no text"), (b"\n \r\n", "has no text")],
)
def test_bad_standard_input_is_one_line_and_status_2(made, content, error):
    process = python("-m", "numpygpt.classify", made / "run", stdin=subprocess.PIPE)
    _, err = process.communicate(content)
    assert process.returncode == 2
    assert re.fullmatch(f"error: standard input.* {error}.*\n", err.decode())


@pytest.mark.parametrize("order", ["RUN --explain win free", "--explain RUN win free", "RUN win free --explain"])
def test_classify_explains_each_message_under_its_label(made, capsys, order):
    plain = output(capsys, classify.main, made / "run", "win", "free").splitlines()
    parts = output(capsys, classify.main, *order.replace("RUN", f"{made}/run").split()).rstrip("\n").split("\n\n")
    assert [parts[0], parts[3]] == plain
    clf = load_run(made / "run")
    for text, table, sums in [("win", *parts[1:3]), ("free", *parts[4:6])]:
        found = clf.explain(text)
        tokens = [line.split()[-1] for line in table.splitlines()[2:]]
        assert tokens[:-1] == found.tokens and f"{found.integrated.sum():+.3f}" in table.splitlines()[-1]
        assert sums.startswith("margin ") and f"{found.baseline_margin:+.3f}  padding for every token" in sums
    assert "zero for every token" in output(
        capsys, classify.main, made / "run", "win", "--explain", "--baseline", "zero"
    )


@pytest.mark.parametrize("terminal, no_color, shaded", [(True, "", True), (True, "1", False), (False, "", False)])
def test_explanations_are_shaded_only_in_a_terminal_that_wants_colour(
    made, capsys, monkeypatch, terminal, no_color, shaded
):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\x1b[30;48;5;" in output(capsys, classify.main, made / "run", "win a prize", "--explain")) == shaded


def test_a_closed_pipe_is_not_an_error(made, tmp_path):
    (tmp_path / "messages").write_text("win a prize\n" * 20_000)
    with open(tmp_path / "messages") as file:
        process = python("-m", "numpygpt.classify", made / "run", stdin=file)
        assert process.stdout.readline().endswith(b"win a prize\n")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_two_dashes_can_be_a_message(made, capsys):
    expected = output(capsys, classify.main, made / "run", "-", "hello").splitlines()[1:]
    shown = output(capsys, classify.main, made / "run", "--", "hello", "--").splitlines()
    assert shown[:1] == expected and shown[1].split("\t")[2] == "--"
    assert output(capsys, classify.main, made / "run", "--", "--").splitlines() == shown[1:]


@pytest.mark.parametrize("texts, number", [([""], 1), (["fine", " \n"], 2), (["fine"] * 40 + [""], 41)])
def test_a_message_without_text_is_refused_with_its_number(made, capsys, texts, number):
    assert f"message {number}: there is no text" in refusal(capsys, classify.main, made / "run", *texts)


# Bad input: a damaged run, or one whose model has changed, gives no answer


def change_weights():
    config, params, encoding = load_checkpoint("model")
    params = {name: array.copy() for name, array in params.items()}  # the copies release the file
    params["h.0.ln_1.bias"] += np.float32(1e-6)
    save_folder("model", config, params, encoding)


REFUSED_BY_CLASSIFY = {
    "no folder": (lambda: None, "absent", "absent: not a finished run"),
    "a file": (lambda: None, "two.csv", "two.csv: not a finished run"),
    "another folder": (lambda: None, "model", "model: a model without a classifier.s head"),
    "an unfinished run": (lambda: os.remove("run/run.json"), "run", "run: not a finished run"),
    "no trained weights": (lambda: os.remove("run/model.safetensors"), "run", "No such file.*run/model.safetensors"),
    "truncated weights": (
        lambda: spoil("run/model.safetensors", lambda b: b[:-4]),
        "run",
        "run/model.safetensors: .*truncated",
    ),
    "a flipped bit": (
        lambda: spoil("run/model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
        "run",
        "run: .*changed since the training",
    ),
    "another model's weights": (
        lambda: os.replace("model/model.safetensors", "run/model.safetensors"),
        "run",
        "changed since the training",
    ),
    "a truncated run.json": (lambda: spoil("run/run.json", lambda b: b[:99]), "run", "run.json is damaged .*Train"),
    "an empty run.json": (lambda: spoil("run/run.json", lambda b: b""), "run", "run.json is damaged"),
    "not a JSON object": (lambda: spoil("run/run.json", lambda b: b"[1]"), "run", "run.json is damaged"),
    "JSON too deep": (lambda: spoil("run/run.json", lambda b: b"[" * 10**5), "run", "run.json is damaged"),
    "bytes that are no text": (lambda: spoil("run/run.json", lambda b: b"\xff\xfe" + b), "run", "run.json is damaged"),
    "the base model gone": (
        lambda: os.rename("model", "moved"),
        "run",
        'run needs the model .*no such folder.* correct "model" in run/run.json',
    ),
    "the base model damaged": (
        lambda: os.remove("model/vocab.json"),
        "run",
        "run needs the model that it was trained from. .*model: ",
    ),
    "the base weights changed": (change_weights, "run", "run: the weights of .*model have changed"),
    "the base heads changed": (
        lambda: set_in("model/config.json", n_head=4),
        "run",
        "run needs the model .*: the number of heads is 4, not 2",
    ),
}


@pytest.mark.parametrize("what", REFUSED_BY_CLASSIFY)
def test_classify_refuses_a_changed_run(here_with_run, capsys, what):
    damage, folder, expected = REFUSED_BY_CLASSIFY[what]
    damage()
    error = refusal(capsys, classify.main, folder, "text")
    assert re.search(expected, error), error


def test_a_run_with_a_moved_model_works_with_its_new_path(here_with_run, capsys):
    expected = output(capsys, classify.main, "run", "win a prize")
    os.rename("model", "moved")
    refusal(capsys, classify.main, "run", "win a prize")
    set_in("run/run.json", model="moved")
    assert output(capsys, classify.main, "run", "win a prize") == expected


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["hi", "--baseline", "zero"], "--baseline needs --explain"),
        (["hi", "--keep-empty"], "are for standard input"),
        (["hi", "--encoding", "utf-16"], "are for standard input"),
    ],
)
def test_an_option_without_effect_is_refused(made, capsys, arguments, message):
    assert message in refusal(capsys, classify.main, made / "run", *arguments)


def test_because_without_training_messages_is_refused(here, capsys):
    train.main("--model model --data two.csv --epochs 1 --out new".split())
    (here / "new" / "train.csv").unlink()
    assert "new has no train.csv, so --because" in refusal(capsys, classify.main, "new", "hi", "--because")
