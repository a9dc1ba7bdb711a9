"""The train command: complete runs with a tiny model. Bad input ends in one line."""

import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numpygpt import classify, evaluate, train
from numpygpt.commands.train import Report, apply_recipe
from numpygpt.model.config import SIZES, Config
from numpygpt.study import exercises
from numpygpt.training.plots import plot, save_plot
from tests.calls import contents, output, python, refusal, set_in, spoil
from tests.tiny import CONFIG, save_model, written

OPTIONS = [
    "",
    "--pad none",
    "--pad end --position mean --warmup 0.3 --schedule cosine --clip 0.5 --label-smoothing 0.2",
    "--recipe book",
    "--pad 6 --position mean",
    "--pad context --position first --no-causal",
    "--trainable head --accumulate 2",
    "--trainable all --weights random",
    "--trainable lora --rank 2 --alpha 4",
    "--trainable h.0.*,lora --pad none --position mean",
    "--trainable head,h.1.mlp.* --weights pytorch",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_classify_reproduces_trainings_test_accuracy(here, capsys, options):
    shown = output(
        capsys, train.main, *"--model model --data three.csv --out new --epochs 2 --lr 0.02".split(), *options.split()
    )
    test = pd.read_csv("new/test.csv", keep_default_na=False)
    answers = [line.split("\t") for line in output(capsys, classify.main, "new", *test["Text"]).splitlines()]
    assert [text for _, _, text in answers] == test["Text"].tolist()
    assert all(1 / 3 < float(probability) <= 1 for _, probability, _ in answers)
    right = [label == ["ham", "order", "spam"][number] for (label, _, _), number in zip(answers, test["Label"])]
    assert f"\nTest accuracy: {np.mean(right):.2%}\n" in shown


RECIPES = {
    "book": {"trainable": "last_block", "epochs": 5, "pad": "longest", "position": "last", "schedule": "constant"},
    "gpt2": {"trainable": "last_block", "epochs": 5, "pad": "none", "position": "last", "schedule": "constant"},
    "small": {"trainable": "last_two_blocks", "epochs": 3, "pad": "none", "position": "mean", "schedule": "cosine"},
}
SMOOTHING = {"book": 0, "gpt2": 0, "small": 0.1}


def settings(config, *options):
    args = train.arguments(options)
    apply_recipe(args, config)
    return vars(args)


@pytest.mark.parametrize("config", [CONFIG, SIZES["gpt2"]])
@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_applies_to_every_model_except_for_explicit_options(name, config):
    found = settings(config, "--recipe", name)
    expected = RECIPES[name] | {"warmup": 0, "clip": np.inf, "label_smoothing": SMOOTHING[name], "recipe": name}
    expected |= {"batch_size": 8, "weight_decay": 0.1, "accumulate": 1}
    assert {option: found[option] for option in expected} == expected
    assert settings(config, "--recipe", name, "--pad", "7") == found | {"pad": "7"}


def test_without_a_recipe_the_models_width_selects_it():
    for width, name in {8: "small", 767: "small", 768: "gpt2", 1600: "gpt2"}.items():
        config = Config(n_embd=width, n_head=1)
        assert settings(config) == settings(config, "--recipe", name)


@pytest.mark.parametrize(
    "width, options, recipe, others",
    [
        (8, "", "small, the default for a width of 8, which is below GPT-2's 768", "classified at position: mean"),
        (768, "", "gpt2, the default for a width of 768, which is at least GPT-2's 768", "learning last_block: "),
        (
            8,
            "--recipe gpt2",
            "gpt2, not small, the default for a width of 8, which is below GPT-2's 768",
            "at rate 0.001",
        ),
        (768, "--recipe book", "book, not gpt2, the default for a width of 768", "at rate 5e-05"),
    ],
)
def test_a_run_prints_its_recipe_and_the_reason(here, capsys, width, options, recipe, others):
    save_model("wide", replace(CONFIG, n_embd=width, n_layer=1))
    shown = output(capsys, train.main, *"--model wide --data two.csv --epochs 1 --out new".split(), *options.split())
    assert re.search(f"^recipe   {recipe}.*; but .*epochs 1", shown, re.MULTILINE), shown
    assert others in shown


def test_a_run_learns_and_writes_all_documented_files(here, capsys):
    before = contents(here / "model")
    options = "--trainable all --pad none --position mean --lr 0.02 --epochs 9 --eval-every 10 --out a/new"
    shown = output(capsys, train.main, "--model", "model", "--data", "three.csv", *options.split())
    assert "62 + 9 + 19 messages to train, validate and test; labels ham, order, spam" in shown
    final = re.findall(r"^(\w+) accuracy: ([\d.]+)%$", shown, re.MULTILINE)
    assert [name for name, _ in final] == ["Training", "Validation", "Test"]
    assert all(float(share) > 80 for _, share in final)
    assert {"run.json", "model.safetensors", "history.csv", "train.csv", "validation.csv", "test.csv"} <= set(
        os.listdir("a/new")
    )
    history = pd.read_csv("a/new/history.csv")
    assert history["step"].tolist() == [
        step for epoch in range(9) for step in [*range(7 * epoch, 7 * epoch + 7), 7 * epoch + 6]
    ]
    evaluated = history.dropna(subset=["train_loss"])
    assert evaluated["step"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert re.findall(r"Step (\d+)\): Train loss ([\d.]+)", shown) == [
        (f"{step:06d}", f"{loss:.3f}") for step, loss in zip(evaluated["step"], evaluated["train_loss"])
    ]
    assert evaluated["train_loss"].iloc[-1] < evaluated["train_loss"].iloc[0]
    assert len(re.findall(r"^Training accuracy: .* \| Validation accuracy", shown, re.MULTILINE)) == 9
    assert contents(here / "model") == before


def test_a_run_ends_with_evaluates_report_and_the_next_commands(here, capsys):
    shown = output(capsys, train.main, *"--model model --data three.csv --epochs 3 --lr 0.02 --out new".split())
    evaluated = output(capsys, evaluate.main, "new")
    summary = evaluated.split("\n\nnumber of messages with each label")[0].split("\n\n", 1)[1]
    assert re.match("accuracy: .*\nnaive Bayes .*\n\n.*\nham .*\norder .*\nspam .*\nmacro average", summary)
    end = r"[\d.]+ s\. .*\nNow try: python -m numpygpt.evaluate new\n +python -m numpygpt.classify new .*\n"
    results = r"\n\nTraining accuracy: .*\nValidation accuracy: .*\nTest accuracy: .*\n\nOn the 19 test messages:\n"
    assert re.search(f"{results}{re.escape(summary)}\n\n{end}$", shown)


def test_a_run_saves_its_curves_if_matplotlib_is_installed(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not save_plot(tmp_path / "curves.png", plot, None) and not (tmp_path / "curves.png").exists()
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert (made / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_features_cache_does_not_change_a_run(here):
    arguments = ["--model", "model", "--data", "two.csv", "--epochs", "1", "--trainable", "last_block"]
    train.main([*arguments, "--out", "plain"])
    for out in ("cached", "from_cache"):
        train.main([*arguments, "--features-cache", "cache", "--out", out])
    assert len(os.listdir("cache")) == 1
    for name in ("model.safetensors", "history.csv"):
        assert (
            (here / "plain" / name).read_bytes()
            == (here / "cached" / name).read_bytes()
            == (here / "from_cache" / name).read_bytes()
        )


def test_train_with_solved_exercises_has_the_shipped_losses(here, capsys):
    names = ["linear", "layernorm", "gelu", "attention", "query_attention", "cross_entropy"]
    for name in names:
        Path(f"{name}.py").write_text(exercises.exercise(name).solution_text())
    arguments = ["--model", "model", "--data", "two.csv", "--epochs", "1", "--pad", "end", "--position", "last"]
    train.main([*arguments, "--out", "shipped"])
    shown = output(capsys, train.main, *arguments, "--out", "own", "--ops", *(f"{name}.py" for name in names))
    assert f"ops      yours: {', '.join(names)}\n" in shown
    for name in ("history.csv", "model.safetensors"):
        assert (here / "shipped" / name).read_bytes() == (here / "own" / name).read_bytes()


@pytest.mark.parametrize("recipe, sets", [("small", "1248 + 240 + 912"), ("book", "1680 + 240 + 480")])
def test_the_bundled_sample_has_its_own_split_except_in_the_books_recipe(here, capsys, recipe, sets):
    options = f"--model model --data sample --trainable head --epochs 1 --pad none --recipe {recipe}"
    shown = output(capsys, train.main, *options.split())
    assert f"sample: {sets} messages to train, validate and test; labels ham, spam" in shown
    assert "results  runs" in shown


def test_ctrl_c_keeps_the_history_and_leaves_no_finished_run(made, tmp_path, capsys):
    history = tmp_path / "run" / "history.csv"
    arguments = ["--model", made / "model", "--data", made / "two.csv", "--out", tmp_path / "run", "--epochs", 10**6]
    process = python("-m", "numpygpt.train", *arguments)
    while not (history.exists() and history.read_bytes().count(b"\n") > 20):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    again = f"python -m numpygpt.train --resume {tmp_path / 'run'}"
    assert (process.returncode, err.decode()) == (130, f"\ninterrupted; to resume: {again}\n")
    assert pd.read_csv(history)["loss"].iloc[:20].notna().sum() >= 16
    assert (tmp_path / "run" / "resume.safetensors").exists()
    assert "not a finished run" in refusal(capsys, classify.main, tmp_path / "run", "text")


# Bad input is refused before the run folder is made


REFUSED_BY_TRAIN = {
    "a missing model": (lambda: None, "--model absent", "absent: no such folder or file"),
    "a model without weights": (lambda: os.remove("model/model.safetensors"), "", "model: "),
    "a model without a tokenizer": (
        lambda: os.remove("model/merges.txt"),
        "",
        "model: the folder has vocab.json but no me",
    ),
    "truncated weights": (
        lambda: spoil("model/model.safetensors", lambda b: b[:-1]),
        "",
        "model.safetensors: .*truncated",
    ),
    "a lying header": (
        lambda: spoil("model/model.safetensors", lambda b: b"\xff" * 8 + b[8:]),
        "",
        "model.safetensors: truncated, or not",
    ),
    "a config that does not fit": (lambda: set_in("model/config.json", n_embd=12), "", "model.safetensors: "),
    "a config with fewer blocks": (
        lambda: set_in("model/config.json", n_layer=1),
        "",
        "model.safetensors: n_layer is 1 in the configuration, but 2",
    ),
    "a config of another model": (
        lambda: set_in("model/config.json", activation_function="relu"),
        "",
        "config.json: activation_function",
    ),
    "missing messages": (lambda: None, "--data absent.csv", "absent.csv: cannot read the messages"),
    "a folder of messages": (lambda: None, "--data model", "model: cannot read the messages"),
    "an empty file": (lambda: spoil("two.csv", lambda b: b""), "", "two.csv: the file is empty"),
    "a header alone": (lambda: spoil("two.csv", lambda b: b"Label,Text\n"), "", "two.csv: there are no messages"),
    "one class": (
        lambda: spoil("two.csv", lambda b: b"Label,Text\nham,a\nham,b\n"),
        "",
        "two.csv: every message has the label 'ham'",
    ),
    "not UTF-8": (lambda: spoil("two.csv", lambda b: b + b"ham,\xe9\n"), "", "two.csv, line 62: not UTF-8"),
    "a message without text": (
        lambda: spoil("two.csv", lambda b: b + b"ham, \n"),
        "",
        "two.csv, line 62: the message has no text",
    ),
    "a message without label": (
        lambda: spoil("two.csv", lambda b: b + b",text\n"),
        "",
        "two.csv, line 62: the label is missing",
    ),
    "too few messages": (
        lambda: spoil("two.csv", lambda b: b"Label,Text\nham,a\nspam,b\n"),
        "",
        "2 messages make sets of",
    ),
    "an unknown text column": (lambda: None, "--text-column body", "two.csv: no columns have the name 'body'"),
    "an unknown label column": (lambda: None, "--label-column kind", "two.csv: no columns have the name 'kind'"),
    "a pattern that fits nothing": (lambda: None, "--trainable h.2.*", "trainable: 'h.2.*' is neither"),
    "nothing trainable": (lambda: None, "--trainable=", "trainable: '' is neither"),
    "padding of a nonsense length": (lambda: None, "--pad short", "cannot pad to 'short'"),
    "a schedule of a nonsense name": (lambda: None, "--schedule up", "--schedule: invalid choice: 'up'"),
    "a warm-up longer than the training": (lambda: None, "--warmup 1.1", "--warmup: expected a number at least 0"),
    "a clip of nothing": (lambda: None, "--clip 0", "--clip: expected a number above 0"),
    "padding to nothing": (lambda: None, "--pad 0", "cannot pad to '0'"),
    "padding beyond the positions": (lambda: None, "--pad 25", "cannot pad to '25': .* 1 to 24"),
    "a batch too large": (lambda: None, "--batch-size 43", "42 training messages do not fill one batch of 43"),
    "no messages to a batch": (lambda: None, "--batch-size 0", "--batch-size: expected a whole number at least 1"),
    "a negative number": (lambda: None, "--epochs -1", "--epochs: expected a whole number at least 1, got '-1'"),
    "a rate that is no number": (lambda: None, "--lr nan", "--lr: expected a number above 0"),
    "a rank of zero": (lambda: None, "--trainable lora --rank 0", "--rank: expected a whole number"),
    "a rank without LoRA": (lambda: None, "--rank 8", "only --trainable lora has low-rank additions: omit --rank"),
    "a smoothing above 1": (lambda: None, "--label-smoothing 1.1", "--label-smoothing: expected a number at least 0"),
    "an endless alpha": (lambda: None, "--trainable lora --alpha inf", "--alpha: expected a number above 0"),
    "no place for an end": (
        lambda: save_model("model", replace(CONFIG, n_positions=1)),
        "--pad end",
        "cannot pad to 'end': <.endoftext.> would take the model's only position; use 'none'",
    ),
    "a seed too large": (lambda: None, f"--seed {2**63}", "--seed: expected a whole number"),
    "an operation's file that is absent": (lambda: None, "--ops gelu.py", "gelu.py: no such file"),
    "an operation's file that does not run": (
        lambda: Path("gelu.py").write_text("def gelu(x:"),
        "--ops gelu.py",
        "gelu.py, line 1: SyntaxError",
    ),
    "an operation's file that is no Python": (
        lambda: Path("a.csv").write_text("label,text\nham,see you at six\n"),
        "--ops a.csv",
        "a.csv, line 2: SyntaxError",
    ),
    "a folder in the place of an operation's file": (lambda: None, "--ops .", "a folder; name a Python file in it"),
    "no operation": (
        lambda: Path("block.py").write_text("def block(x): pass"),
        "--ops block.py",
        "no operation 'block' to replace",
    ),
    "an unknown position": (lambda: None, "--position middle", "--position: invalid choice"),
    "an unknown option": (lambda: None, "--speed 2", "unrecognized arguments: --speed 2"),
}


@pytest.mark.parametrize("what", REFUSED_BY_TRAIN)
def test_train_refuses_bad_input_in_one_line_and_leaves_no_run_folder(here, capsys, what):
    damage, options, expected = REFUSED_BY_TRAIN[what]
    damage()
    before = contents(here)
    error = refusal(capsys, train.main, "--model", "model", "--data", "two.csv", *options.split())
    assert re.search(expected, error), error
    assert contents(here) == before and not Path("runs").exists()


def test_train_never_changes_an_existing_folder(here, capsys):
    before = contents(here)
    assert "run already exists. Choose another --out" in refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--out", "run"
    )
    assert "Not a directory" in refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--out", "two.csv/run"
    )
    assert contents(here) == before


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_of_nan_ends_the_run_and_keeps_the_history(here, capsys):
    error = refusal(
        capsys, train.main, "--model", "model", "--data", "two.csv", "--lr", "1e3", "--trainable", "all", "--out", "new"
    )
    assert re.search(r"the loss became (nan|inf) at step \d+\. Lower the learning rate \(now 1000\)", error)
    assert Path("new/history.csv").exists() and not Path("new/run.json").exists()


def test_an_evaluation_of_only_ignored_messages_is_marked_and_nan_never_shown(here, capsys):
    options = "--batch-size 1 --ignore-index 0 --eval-batches 1 --eval-every 1 --epochs 1 --lr 1e-3"
    shown = output(capsys, train.main, "--model", "model", "--data", "two.csv", "--out", "new", *options.split())
    none = "none (all messages are ignored)"
    assert f"Train loss {none}" in shown and re.search(r"Train loss \d\.\d{3}", shown) and "nan" not in shown


def test_the_help_names_the_default_of_each_recipe(capsys):
    with pytest.raises(SystemExit):
        train.arguments(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "mean of a message's rows, and smooths the labels (--recipe small). From GPT-2's width of 768 on" in shown
    assert "(default: 5 with --recipe book or gpt2; 3 with --recipe small)" in shown
    assert "(default: longest with --recipe book; none with --recipe small or gpt2)" in shown
    assert "(default: gpt2 for a model of GPT-2's widths, 768 and up; small for a narrower model)" in shown


# Selection of messages


def write_labels(path, **counts):
    rows = [f"{label},{text}" for label, count in counts.items() for text in written(label, count)]
    Path(path).write_text("\n".join(["label,text", *rows]) + "\n")


def test_messages_dropped_by_balancing_are_reported_before_after_and_on_resuming(here, capsys, monkeypatch):
    write_labels("uneven.csv", ham=60, spam=20)
    options = "--model model --data uneven.csv --trainable head --epochs 1 --lr 0.02 --out".split()
    shown = output(capsys, train.main, *options, "new")
    used = "         40 of 80 messages are used: 20 of each label, because 'spam' has only 20\n"
    assert f"28 + 4 + 8 messages to train, validate and test; labels ham, spam\n{used}" in shown
    warning = re.search(
        r"\n(These messages are balanced, but the file is not\. .* of the file\))\n\n[\d.]+ s\. ", shown
    )
    assert re.search(r"'(ham|spam)' has (75.0|25.0)% of the file", warning[1])
    monkeypatch.setattr(Report, "__call__", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train.main([*options, "stopped"])
    monkeypatch.undo()
    monkeypatch.chdir(here)
    again = output(capsys, train.main, "--resume", "stopped")
    assert used in again and warning[1] in again


@pytest.mark.parametrize("options, sizes, used", [("none", "56 + 8 + 16", ""), ("30", "35 + 5 + 10", "50 of 80")])
def test_balance_can_use_all_or_a_number_of_messages_per_label(here, capsys, options, sizes, used):
    write_labels("uneven.csv", ham=60, spam=20)
    options = f"--balance {options} --label-weights balanced --trainable head --epochs 1 --out new".split()
    shown = output(capsys, train.main, "--model", "model", "--data", "uneven.csv", *options)
    assert f"{sizes} messages to train" in shown
    assert (f"{used} messages are used: at most 30 of each label\n" in shown) == bool(used)
    assert ("are balanced, but" in shown) == bool(used)
    assert set(pd.read_csv("new/validation.csv")["Label"]) == {0, 1}


def test_balancing_that_drops_no_message_is_not_reported(here, capsys):
    shown = output(capsys, train.main, *"--model model --data two.csv --trainable head --epochs 1 --out new".split())
    assert "are used" not in shown and "balanced" not in shown


def test_a_label_missing_from_the_validation_set_is_refused(here, capsys):
    write_labels("rare.csv", ham=60, spam=60, order=4)
    error = refusal(capsys, train.main, *"--model model --data rare.csv".split())
    assert "12 of 124 messages are used: 4 of each label, because 'order' has only 4. the validation set has" in error
    for wrong in ("2", "few", "0.5"):
        error = refusal(capsys, train.main, "--balance", wrong)
        assert f"--balance: expected a whole number at least 3, got '{wrong}', or smallest or none" in error
