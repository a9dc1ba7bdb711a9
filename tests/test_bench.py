"""The benchmarks' arithmetic and results file, and one run of every subject on a tiny model."""

import importlib
import os
import subprocess
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import (
    chapter,
    default,
    few_labels,
    forward,
    generate,
    language,
    machine,
    neighbour,
    operations,
    pretrain,
    pytorch,
    ranks,
    scaling,
    step,
    waits,
)
from bench.results import HEADER, Row, Section, write_section
from bench.turns import in_turns, worst_difference
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError
from numpygpt.system.single_process import SingleProcess
from numpygpt.text.bpe import learn_bpe

pytestmark = pytest.mark.slow  # these tests measure time

ROOT = Path(__file__).parents[1]
needs_torch = pytest.mark.skipif(not machine.installed("torch"), reason="without torch")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Return options for a tiny model and 80 messages."""
    folder = tmp_path_factory.mktemp("bench")
    texts = [f"win {n} pounds now, call {n * 7}" for n in range(40)] + [f"see you at {n}, love" for n in range(40)]
    lines = [f"{'spam' if n < 40 else 'ham'}\t{text}\n" for n, text in enumerate(texts)]
    (folder / "messages.tsv").write_text("".join(lines))
    encoding = learn_bpe(texts, 300)
    config = Config(encoding.n_vocab, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    save_folder(folder / "model", config, random_parameters(config, 1), encoding)
    return Namespace(model=str(folder / "model"), data=str(folder / "messages.tsv"), repetitions=2, quick=False)


def test_better_is_the_speedup_for_times_and_for_rates():
    seconds = Row("a step", "s", [2.0, 1.0, 3.0], [6.0])
    rate = Row("generation", "tokens/s", [60.0], [20.0, 30.0, 40.0], higher_is_better=True)
    assert (seconds.times_better(seconds.peer), rate.times_better(rate.peer), rate.times_better([])) == (3, 2, None)


def test_a_row_shows_median_extremes_and_ratio_of_its_figures():
    row = Row("chapter", "s", [84.2, 82.0, 83.14], [1260.4])
    assert row.cells() == ["chapter", "83.1 s (82–84.2)", "1,260 s", "15.2 ×", "–", "", "–", ""]
    row = Row("generation", "tokens/s", [60.0], [20.0], [40.0], limit=80.0, higher_is_better=True)
    assert row.cells()[-6:] == ["20 tokens/s", "3 ×", "40 tokens/s", "1.5 ×", "80 tokens/s", "75%"]
    assert Row("step", "s", [2.0], limit=1.5).share == 0.75


def test_a_section_replaces_only_its_predecessor(tmp_path):
    path = tmp_path / "RESULTS.md"

    def section(subject, number):
        return Section(subject, "About.", [Row("it", "s", [number], [])], ["A note."]).markdown("Made today.")

    write_section(path, section("step", 1.0))
    write_section(path, section("forward", 2.0))
    path.write_text(path.read_text() + "\n## Where the time goes\n\nWritten by hand.\n")
    before = path.read_text()
    assert before.startswith(HEADER + "\n## step\n\nAbout.\n\n|")
    write_section(path, section("forward", 3.0))
    assert path.read_text() == before.replace("2 s", "3 s")
    write_section(path, section("step", 4.0))
    assert path.read_text() == before.replace("2 s", "3 s").replace("1 s", "4 s")


def test_functions_run_in_turns_and_the_first_round_is_discarded(monkeypatch):
    monkeypatch.setattr("bench.turns.PAUSE", 0)
    calls = []
    functions = {name: lambda name=name: calls.append(name) or len(calls) for name in ("numpygpt", "PyTorch")}
    runs = in_turns(functions, 2, "test")
    assert calls == ["numpygpt", "PyTorch"] * 3
    assert {name: [value for _, value in runs[name]] for name in runs} == {"numpygpt": [3, 5], "PyTorch": [4, 6]}
    assert worst_difference(runs) == 1


@pytest.mark.parametrize("subject", [step, forward, generate, language, pretrain], ids=lambda module: module.__name__)
def test_a_subject_measures_every_row_and_computes_its_peers_results(subject, options, monkeypatch):
    monkeypatch.setattr("bench.turns.PAUSE", 0)
    monkeypatch.setattr("bench.pretrain.MODEL", options.model)
    monkeypatch.setattr("bench.forward.PRODUCTS", 1)
    monkeypatch.setattr("bench.generate.TOKENS", 10)
    section = subject.measure(options)
    peer = all(map(machine.installed, ("torch", "transformers") if subject is generate else ("torch",)))
    for row in section.rows:
        assert len(row.ours) == 2 and all(number > 0 for number in row.ours + row.peer)
        assert len(row.peer) == 2 * (peer and row.what != "`head`")
        assert len(row.fair) == 2 * (peer and subject is step)
        assert row.share > 0 if row.limit else "sgemm" in row.what
    if peer and subject is generate:
        assert "first 10 of 10 tokens" in section.notes[1]
    elif peer and subject is not forward:
        assert float(section.notes[1].rstrip(".").rsplit(" ", 1)[1]) < 1e-5


def run_here(command):
    """Run a command in this process, because a new one takes seconds to import everything. Return a peak of memory."""
    importlib.import_module(command[0]).main(list(map(str, command[1:])))
    return 1.0


@pytest.fixture
def tiny_default(options, monkeypatch):
    """Make the default run that of the tiny model."""
    monkeypatch.setattr("bench.turns.PAUSE", 0)
    monkeypatch.setattr("bench.default.MODEL", options.model)
    monkeypatch.setattr("bench.default.DATA", options.data)


@needs_torch
def test_the_default_run_has_the_same_losses_on_all_sides(options, tiny_default, monkeypatch):
    monkeypatch.setattr("bench.default.seconds_after", lambda word, command: run_here(command))
    section = default.measure(Namespace(repetitions=1))
    assert [(len(row.ours), len(row.peer), len(row.fair)) for row in section.rows] == [(1, 1, 1)] * 2
    # 56 messages for training: 21 steps, and one evaluation of both losses
    assert "over 23 losses of a run" in section.notes[1]
    assert float(section.notes[1].rstrip(".").rsplit(" ", 1)[1]) < 1e-5


def test_seconds_without_starting_begin_at_the_line_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines = "import time", "time.sleep(1)", "print('results', flush=True)", "time.sleep(0.2)"
    (tmp_path / "slow_start.py").write_text("\n".join(lines))
    assert 0.2 < default.seconds_after("results", ["slow_start"]) < 1
    with pytest.raises(InputError, match="status 0"):
        default.seconds_after("result of", ["slow_start"])


def test_everything_that_a_user_waits_for_is_measured(options, tiny_default, monkeypatch):

    def python(*words):
        with suppress(SystemExit):  # of --help
            return words[0] == "-m" and run_here(words[1:])

    monkeypatch.setattr(waits, "python", python)
    section = waits.measure(options)
    assert all(row.share > 0 for row in section.rows[2:]) and len(section.rows) == 9
    assert all(len(row.ours) == 2 for row in section.rows)
    assert all(bool(row.peer) == machine.installed("torch") for row in section.rows[-2:])
    for note in section.notes[1:]:
        assert float(note.rstrip(".").rsplit(" ", 1)[1]) < 1e-5


@pytest.mark.parametrize("way", [["--pad", "12"], ["--evaluate"]])
def test_scaling_measures_each_size(way, tmp_path, monkeypatch):
    commands = []

    def run(command, log):
        commands.append(command)
        return 2.0, 3e9

    monkeypatch.setattr(scaling, "run_module", run)
    out = tmp_path / "RESULTS.md"
    scaling.main(["--sizes", "10,2000", f"--out={out}", *way])
    assert "| 2,000    | 2.0     | 1.00         | 3.00" in out.read_text()
    assert f"## scaling, {' '.join(way).removeprefix('--evaluate') or 'evaluate'}\n" in out.read_text()
    assert commands[-1][0] == ("numpygpt.train" if "--pad" in way else "numpygpt.evaluate")


@needs_torch
@pytest.mark.parametrize("quick", [False, True])
def test_the_chapter_runs_on_both_sides_with_the_same_losses(quick, options, monkeypatch):
    monkeypatch.setattr("bench.chapter._run", run_here)
    monkeypatch.setattr("bench.chapter.QUICK_STEPS", 3)
    # the default recipe of a wide model, for a narrow one
    monkeypatch.setitem(chapter.COMMANDS, chapter.DEFAULT, ("--recipe", "gpt2", "--lr", "5e-5"))
    section = chapter.measure(Namespace(**vars(options) | {"quick": quick}))
    assert [(len(row.ours), len(row.peer), len(row.fair)) for row in section.rows[:3]] == [
        (1, 1, 1),
        (2, 1, 2),
        (2, 1, 0),
    ]
    assert all(row.limit > 0 for row in section.rows[:2])
    assert [row.unit for row in section.rows] == ["s"] * 3 + ["GB"] * 2
    assert float(section.notes[1].rstrip(".").rsplit(" ", 1)[1]) < 1e-5
    # 80 messages, 56 for training: 7 batches an epoch, 5 epochs;
    # one evaluation and 5 accuracies of 5 + 1 batches
    timed = "3 timed steps and 6" if quick else "7 timed steps and 12"
    assert f"{timed} timed evaluation batches, of 35 and 46" in section.notes[2]
    for note in section.notes[3:]:
        ours, theirs = note.split(": numpygpt ")[1].rstrip(".").split("; PyTorch ")
        assert ours == theirs


def test_the_chapter_is_measured_without_pytorch(options, monkeypatch):
    monkeypatch.setattr("bench.chapter._run", run_here)
    monkeypatch.setattr("bench.chapter.installed", lambda library: False)
    section = chapter.measure(Namespace(**vars(options) | {"repetitions": 1}))
    assert [(len(row.ours), row.peer) for row in section.rows] == [(1, [])] * 5 and len(section.notes) == 1


def test_the_parts_of_a_step_add_up_to_it(options, monkeypatch):
    monkeypatch.setattr("bench.operations.PRODUCTS", 1)
    monkeypatch.setattr("bench.operations.LEAST", 0)
    section = operations.measure(options)
    for kind in ("`last_block`", "`all`", "language"):
        rows = {row.what.removeprefix(kind)[2:]: row.ours for row in section.rows if row.what.startswith(kind)}
        whole, least = rows.pop("whole step"), rows.pop("products at sgemm's rate")
        assert {"AdamW", "all else"} < set(rows)
        assert 0 < least[0] < max(whole)
        assert all(min(numbers) >= 0 for numbers in rows.values())
        assert [sum(numbers) for numbers in zip(*rows.values())] == pytest.approx(whole)


def test_work_beside_a_neighbour_is_compared_with_the_same_work_alone(options, monkeypatch):
    monkeypatch.setattr("bench.neighbour.default_run", lambda: 2.0)
    monkeypatch.setattr("bench.neighbour.fresh", lambda function, *args: function(*args))
    monkeypatch.setattr("bench.chapter._run", run_here)
    section = neighbour.measure(Namespace(**vars(options) | {"repetitions": 1}))
    for alone, beside, ratio in zip(*[iter(section.rows)] * 3):
        assert beside.ours[0] / alone.ours[0] == pytest.approx(ratio.ours[0]) and ratio.unit == "×"


def test_empty_columns_are_omitted():
    lines = (
        Section("operations", "About.", [Row("it", "s", [1.0], []), Row("more", "s", [2.0], [])])
        .markdown("Made.")
        .splitlines()
    )
    assert [line for line in lines if line.startswith("|")] == [
        "|      | numpygpt |",
        "|------|----------|",
        "| it   | 1 s      |",
        "| more | 2 s      |",
    ]


def test_peak_memory_counts_only_the_work_here_or_in_a_child():
    hold = "bytearray(bytes([1]) * 1_000_000 * {})"
    run = "import subprocess, sys; subprocess.run([sys.executable, '-c', %r])"
    works = [hold.format(1), hold.format(100), run % hold.format(1), run % hold.format(200)]
    # A process starts with its parent's peak. pytest's may be large, so a small shell starts the process.
    python = [
        "sh",
        "-c",
        '"$@"; exit $?',
        "sh",
        sys.executable,
        "-c",
        "import sys; from bench.memory import peak; print(peak(exec, sys.argv[1]))",
    ]
    peaks = [float(subprocess.check_output([*python, work], cwd=ROOT)) for work in works]
    small, large, small_child, large_child = peaks
    assert large - small == pytest.approx(0.2, rel=0.1)  # the bytes and their copy in the array
    assert large_child - small_child > 0.2


def test_memory_of_a_step_with_all_layers_is_measured(options):
    """From a fresh process, as the command is: a child's peak counts what its parent held,
    and this one may hold PyTorch."""
    code = f"""
from argparse import Namespace
from contextlib import suppress
from bench import memory
memory.installed = lambda library: False
section = memory.measure(Namespace(**{vars(options) | {"repetitions": 1}!r}))
assert all(0.01 < row.ours[0] < 1 and not row.peer for row in section.rows), section
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_the_command_drops_blas_settings_and_writes_a_section_without_local_paths(options, tmp_path):
    out = tmp_path / "RESULTS.md"
    command = [sys.executable, "-m", "bench", "forward", "--model", options.model, "--repetitions", "1", f"--out={out}"]
    finished = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OPENBLAS_L2_SIZE": "512"}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert "OPENBLAS_L2_SIZE" in finished.stderr
    assert "`python -m bench forward --model model --repetitions 1 --out=RESULTS.md`" in out.read_text()
    assert str(tmp_path.parent) not in out.read_text()


@pytest.mark.parametrize(
    ("words", "message"), [(["stap"], "no such subject"), (["chapter", "--data", "nowhere.tsv"], "nowhere.tsv")]
)
def test_an_unknown_subject_is_refused_before_any_measurement(words, message):
    clean = {name: value for name, value in os.environ.items() if name not in machine.OVERRIDES}
    finished = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, env=clean, capture_output=True, text=True
    )
    assert finished.returncode == 2 and message in finished.stderr.splitlines()[-1]


def test_few_labels_measures_every_learner_on_the_same_balanced_draws(tmp_path, monkeypatch):
    frame = pd.DataFrame({"Label": ["ham", "spam"] * 40, "Text": [f"message {n}" for n in range(80)]})
    drawn = []

    def always_ham(training, texts, seed):
        drawn.append((seed, training["Text"].tolist()))
        assert training["Label"].value_counts().to_dict() == {"ham": len(training) // 2, "spam": len(training) // 2}
        return np.array(["ham"] * len(texts))

    learners = {"one": always_ham, "the other": always_ham}
    found = few_labels.measure(frame, frame[:10], learners, sizes=(4, 20), seeds=(1, 2))
    assert found == {name: [[0.5, 0.5], [0.5, 0.5]] for name in learners}
    assert [len(texts) for _, texts in drawn] == [4] * 4 + [20] * 4
    assert drawn[:2] == drawn[2:4] and drawn[0] != drawn[1]
    text = few_labels.markdown(found, (4, 20), 10, "a command")
    assert "| the other" in text and "50.0 (50.0–50.0)" in text and "`a command`" in text
    few_labels.draw_plot(found, (4, 20), tmp_path / "plot.png")
    assert not machine.installed("matplotlib") or (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "command",
    ["few_labels nowhere", "label_errors nowhere", "first_60_steps nowhere", "pytorch book nowhere nowhere out"]
    + ["scaling --sizes 9 --pad foo"],
)
def test_a_missing_file_ends_a_command_in_one_line(command, tmp_path):
    name, *words = command.split()
    words = [sys.executable, "-m", f"bench.{name}", *words]
    clean = os.environ | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert finished.returncode == 2 and len(finished.stderr.splitlines()) == 1, finished.stderr
    assert finished.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("module", "words"),
    [(few_labels, ["file"]), (pytorch, ["book", "mini", "file", "out"])],
    ids=lambda module: getattr(module, "__name__", ""),
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(module, words, monkeypatch):
    monkeypatch.setattr(machine, "installed", lambda name: False)
    with pytest.raises(InputError, match="pip install (scikit-learn|torch)"):
        module.main(words)


def test_few_labels_learners_distinguish_two_labels():
    texts = [f"win {n} pounds now, call" for n in range(10)] + [f"see you at {n}, love" for n in range(10)]
    training = pd.DataFrame({"Label": ["spam"] * 10 + ["ham"] * 10, "Text": texts})
    for name, learner in few_labels.LEARNERS.items():
        if machine.installed("sklearn") or name in ("mini, fine-tuned", "the same from random weights"):
            found = list(learner(training, ["win 7 pounds now, call", "see you at 7, love"], 123))
            assert set(found) <= {"ham", "spam"} if "random" in name else found == ["spam", "ham"], name


def test_ranks_measures_both_sides_and_computes_many_machines_from_them(monkeypatch):
    monkeypatch.setattr(ranks, "TOKENS", 6)
    config = Config(vocab_size=20, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    found = ranks.side(config, SingleProcess())
    assert len(found) == 9 and all(number > 0 for numbers in found.values() for number in numbers)
    measured, _ = ranks.tables(found, found)
    assert measured.count("1 ×") == len(found) - 2  # an exchange exists on one side only


def test_the_time_on_many_machines_follows_its_formula():
    ours = {"all: gradient": [2.0], "all: AdamW": [0.5]}
    theirs = {"all: of that, exchange": [0.25]}
    grown = 1_557_611_200 / 124_439_808
    compute = 2.0 * 128 / 8 * 48 * 1600**2 / (12 * 768**2)
    assert ranks.estimate(ours, theirs, 1, 10) == pytest.approx(compute + 0.5 * grown)
    wire = 1.5 * 4 * 1_557_611_200 / 1.25e9
    assert ranks.estimate(ours, theirs, 4, 10) == pytest.approx(compute / 4 + 0.75 * grown + wire)
