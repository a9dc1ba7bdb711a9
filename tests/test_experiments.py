"""The table of experiments: its rows and arithmetic, resuming it, and a failed run."""

import csv
import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from numpygpt import train
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.commands.experiments import markdown
from numpygpt.experiments import main, numbers, other_model, row_numbers
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError
from numpygpt.text.bpe import learn_bpe
from numpygpt.training import experiments
from numpygpt.training.experiments import ROWS, Run, run_process, summaries

AS_IN_THE_BOOK = ["--trainable=last_block", "--epochs=5", "--pad=longest", "--position=last"]
AS_IN_THE_BOOK += ["--warmup=0.0", "--schedule=constant", "--clip=inf", "--label-smoothing=0.0"]


@pytest.fixture
def trained(monkeypatch):
    """Replace train by one that finishes at once, or fails on request. Return its list of (row and seed, arguments)."""

    class Trained(list):
        failing = {}

    ran = Trained()

    def run_process(command_line, log):
        *arguments, out = command_line[3:]
        folder = Path(out)
        folder.mkdir()  # like train, fails if the folder exists
        ran.append((folder.name, arguments))
        failure = ran.failing.get(folder.name)
        if failure == "interrupted":
            raise KeyboardInterrupt
        log.write_text(
            f"numpygpt\nresults  {folder}\n" + (f"error: {failure}\n" if failure else "Test accuracy: 75.00%\n")
        )
        if failure:
            return 2, 1
        seed = int(out.rsplit("-", 1)[1])
        accuracy = {"training": 0.9, "validation": 0.8, "test": (seed % 10) / 10}
        run = {"accuracy": accuracy, "trained_parameters": 1234, "seconds": 2.0 * seed}
        (folder / "run.json").write_text(json.dumps(run))
        return 0, seed * 10**6

    monkeypatch.setattr(experiments, "run_process", run_process)
    return ran


def names(ran):
    return [name for name, _ in ran]


def table(out):
    with open(out / "experiments.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_are_single_or_ranges():
    assert numbers("7, 1,3-5,4") == [1, 3, 4, 5, 7]
    assert row_numbers("1,19") == [1, 19]


@pytest.mark.parametrize("text", ["", "1,", "a", "3-1", "-1", "1-2-3", "1.5", "1-999999999"])
def test_an_invalid_list_of_numbers_is_refused(text):
    with pytest.raises(ArgumentTypeError, match="1,4-6"):
        numbers(text)


def test_an_unknown_row_is_refused():
    with pytest.raises(ArgumentTypeError, match="1 to 20, got 21"):
        row_numbers("1,20-25")


def test_a_model_no_row_needs_is_refused():
    assert [other_model(text) for text in ("gpt2-xl=a=b", "gpt2-large")] == [
        ("gpt2-xl", "a=b"),
        ("gpt2-large", "gpt2-large"),
    ]
    with pytest.raises(ArgumentTypeError, match="NAME=PATH.*gpt2-xl.*got 'gpt2=x'"):
        other_model("gpt2=x")


def test_the_books_nineteen_rows_and_one_more_have_valid_options():
    assert [row.number for row in ROWS] == list(range(1, 21))
    options = [vars(train.arguments([*AS_IN_THE_BOOK, *row.options.split()])) for row in ROWS]
    reference = options[0]
    for row, found in zip(ROWS, options):
        assert (found == reference) == (row.options == "")
        assert (found["model"], found["out"], found["seed"]) == (reference["model"], None, 123), (
            "the experiment's own to set"
        )


def test_every_row_runs_with_every_seed_and_the_shared_options(trained, tmp_path):
    main(
        [
            *"--model M --data D --rows 1-2 --seeds 4,6 --lr 0.001 --out".split(),
            str(tmp_path / "x"),
            *"-- --epochs 1".split(),
        ]
    )
    assert trained == [
        (
            f"row-{row:02}-seed-{seed}",
            ["--model", "M", "--data", "D", *AS_IN_THE_BOOK]
            + f"--lr 0.001 --epochs 1 {position}--seed {seed} --out".split(),
        )
        for seed in (4, 6)
        for row, position in [(1, ""), (2, "--position first ")]
    ]
    text = (tmp_path / "x" / "experiments.md").read_text()
    assert (
        "python -m numpygpt.experiments --model M --data D --rows 1-2 --seeds 4,6" in text
        and "shuffles them once more" in text
    )
    assert [(row["row"], row["seeds"]) for row in table(tmp_path / "x")] == [("1", "2"), ("2", "2")]


def test_rows_of_a_larger_model_are_skipped_with_a_reason_unless_it_is_given(trained, tmp_path, capsys):
    main(["--rows", "1,6,8-9", "--models", "gpt2-xl=XL", "--out", str(tmp_path)])
    assert [(name, arguments[1]) for name, arguments in trained] == [
        ("row-01-seed-123", "mini"),
        ("row-08-seed-123", "XL"),
        ("row-09-seed-123", "XL"),
    ]
    assert "- Row 6 is left out: it needs --models gpt2-medium" in capsys.readouterr().out
    assert [row["row"] for row in table(tmp_path)] == ["1", "8", "9"]


def test_an_interrupted_table_resumes_with_the_unfinished_run(trained, tmp_path):
    command = ["--rows", "1-3", "--out", str(tmp_path)]
    trained.failing = {"row-02-seed-123": "interrupted"}
    with pytest.raises(KeyboardInterrupt):
        main(command)
    assert [row["row"] for row in table(tmp_path)] == ["1"], "finished rows are already in the table"
    trained.failing = {}
    trained.clear()
    main(command)
    assert names(trained) == ["row-02-seed-123", "row-03-seed-123"]
    first = table(tmp_path)
    trained.clear()
    main(command)
    assert trained == [] and table(tmp_path) == first and len(first) == 3


@pytest.mark.parametrize("changed", [["--lr", "0.5"], ["--model", "other"], ["--", "--epochs", "9"]])
def test_finished_runs_of_other_settings_are_refused(trained, tmp_path, changed):
    main(["--rows", "1", "--out", str(tmp_path)])
    with pytest.raises(
        InputError, match="row-01-seed-123 was run with --model mini --data sample .*--seed 123. Choose another --out"
    ):
        main(["--rows", "1", "--out", str(tmp_path), *changed])


def test_a_damaged_run_of_the_table_is_named(trained, tmp_path):
    main(["--rows", "1", "--out", str(tmp_path)])
    (tmp_path / "row-01-seed-123" / "run.json").write_text("{")
    with pytest.raises(InputError, match="row-01-seed-123 is damaged .* Delete it"):
        main(["--rows", "1", "--out", str(tmp_path)])


def test_a_failed_run_prints_one_line_and_stops_no_other(trained, tmp_path, capsys):
    trained.failing = {"row-02-seed-4": "the loss became nan"}
    with pytest.raises(SystemExit) as exit:
        main(["--rows", "1-2", "--seeds", "4,5", "--out", str(tmp_path)])
    assert exit.value.code == 1
    assert names(trained) == ["row-01-seed-4", "row-02-seed-4", "row-01-seed-5", "row-02-seed-5"]
    lines = capsys.readouterr().out.splitlines()
    log = tmp_path / "row-02-seed-4.log"
    assert f"2 of 4: row 2, first token, seed 4: error: the loss became nan (see {log})" in lines
    assert f"- Row 2, seed 4 failed: error: the loss became nan (see {log})" in lines
    assert [(row["row"], row["seeds"]) for row in table(tmp_path)] == [("1", "2"), ("2", "1")]


def result(test, seconds=1.0, peak_bytes=None):
    return {
        "accuracy": {"training": 1.0, "validation": 0.5, "test": test},
        "trained_parameters": 1234567,
        "seconds": seconds,
        "peak_bytes": peak_bytes,
    }


def test_the_table_has_means_and_sample_deviations_of_the_finished_rows(tmp_path):
    runs = [Run(ROWS[row - 1], seed, tmp_path, ()) for seed in (1, 2, 3) for row in (4, 2, 5)]
    results = dict.fromkeys(runs)
    for run, test in zip((run for run in runs if run.row.number == 4), (0.90, 0.94, 0.98)):
        results[run] = result(test, seconds=test * 100, peak_bytes=int(test * 1e9))
    results[runs[1]] = result(0.5)
    two, four = summaries(results)
    assert (two["row"], two["seeds"], two["test_mean"], two["test_spread"], two["peak_mb"]) == (2, 1, 50, None, None)
    assert (four["row"], four["seeds"], four["test_mean"], four["test_spread"]) == (4, 3, 94, 4)
    assert (four["training_spread"], four["seconds"], four["peak_mb"], four["trained_parameters"]) == (
        0,
        94,
        980,
        1234567,
    )
    assert markdown([two, four]) == [
        "| row | what varies     | seeds | trained parameters |   training, % | validation, % |      test, % | seconds | peak MB |",  # noqa: E501
        "| --: | --------------- | ----: | -----------------: | ------------: | ------------: | -----------: | ------: | ------: |",  # noqa: E501
        "|   2 | first token     |     1 |          1,234,567 |        100.00 |         50.00 |        50.00 |     1.0 |         |",  # noqa: E501
        "|   4 | last two blocks |     3 |          1,234,567 | 100.00 ± 0.00 |  50.00 ± 0.00 | 94.00 ± 4.00 |    94.0 |     980 |",  # noqa: E501
    ]


def test_a_processs_status_output_and_peak_memory_are_recorded(tmp_path):
    """Start from a new process, because a child's peak includes its parent's memory, and pytest may hold PyTorch."""
    child = "print(len(b'x' * 400_000_000)); raise SystemExit(3)"
    parent = (
        "import sys; from numpygpt.training.experiments import run_process; "
        f"print(*run_process([sys.executable, '-c', {child!r}], 'log'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", parent],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    status, peak_bytes = run.stdout.split()
    assert (status, (tmp_path / "log").read_text()) == ("3", "400000000\n")
    assert peak_bytes == "None" or 4e8 < int(peak_bytes) < 5e8


def test_the_command_uses_less_memory_than_its_runs(tmp_path):
    """On Linux a new process's peak includes its parent's memory, so the command must not load NumPy."""
    status, _ = run_process(
        [sys.executable, "-c", "import sys, numpygpt.experiments; sys.exit('numpy' in sys.modules)"], tmp_path / "log"
    )
    assert status == 0, (tmp_path / "log").read_text()


def test_an_experiment_runs_with_a_real_model(tmp_path, capsys):
    texts = [f"win {n} pounds now" for n in range(30)] + [f"see you at {n}, love" for n in range(30)]
    encoding = learn_bpe(texts, 300)
    config = Config(encoding.n_vocab, n_positions=32, n_embd=8, n_layer=1, n_head=2)
    save_folder(tmp_path / "model", config, random_parameters(config, 1), encoding)
    (tmp_path / "data.tsv").write_text(
        "".join(f"{'spam' if n < 30 else 'ham'}\t{text}\n" for n, text in enumerate(texts))
    )
    main(
        [
            "--model",
            str(tmp_path / "model"),
            "--data",
            str(tmp_path / "data.tsv"),
            "--rows",
            "15",
            "--out",
            str(tmp_path / "out"),
            "--",
            "--epochs",
            "1",
        ]
    )
    (row,) = table(tmp_path / "out")
    run = json.loads((tmp_path / "out" / "row-15-seed-123" / "run.json").read_text())
    assert (run["accumulate"], run["batch_size"], run["padded_length"]) == (8, 1, None)
    assert float(row["test_mean"]) == round(100 * run["accuracy"]["test"], 2)
    assert "Test accuracy" in (tmp_path / "out" / "row-15-seed-123.log").read_text()
    assert "1 of 1: row 15" in capsys.readouterr().out
