"""Several ranks give the results of a single process, and an error on one rank ends all.

mpiexec starts each program, with a time limit.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from numpygpt import train
from numpygpt.checkpoints.safetensors import read_safetensors
from numpygpt.system import blas
from numpygpt.system.errors import InputError
from numpygpt.system.single_process import LAUNCHERS, SingleProcess, grains
from numpygpt.training.launch import on_every_rank

ROOT = Path(__file__).parents[2]
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
HEAD = """
import json, os, signal, sys
sys.modules["matplotlib"] = None  # it would take most of the time
import numpy as np
from numpygpt import commands, evaluate, experiments, pretrain, train
import numpygpt.commands.train
from numpygpt.system import blas, command
from numpygpt.system.errors import InputError
from numpygpt.training import pretraining
from numpygpt.training.adamw import AdamW
from numpygpt.training.launch import on_every_rank

@on_every_rank
def main(argv, ranks):
"""
TRAIN = "--data three.csv --model model --epochs 2 --batch-size 5 --eval-every 4 --lr 0.01 --pad none"
PRETRAIN = (
    "text.txt --lines --layers 1 --width 8 --heads 2 --positions 16 --vocabulary 290 --batch-size 5 --steps 3 "
    "--eval-every 1 --warmup 2 --held-out 0.3"
)
RUNS = {
    "last_block": ("train", f"{TRAIN} --trainable last_block --features-cache features"),
    "from-the-cache": ("train", f"{TRAIN} --trainable last_block --features-cache features"),
    "all": ("train", f"{TRAIN} --trainable all --ignore-index 1 --accumulate 2 --label-weights balanced"),
    "exact": ("train", f"{TRAIN} --exact --trainable h.1.*,lora --rank 2 --label-weights balanced"),
    "pretrained": ("pretrain", PRETRAIN),
    "pretrained-exact": ("pretrain", f"{PRETRAIN} --exact"),
}


def program(count, body, *arguments, **settings):
    """Run `count` ranks of main(argv, ranks) for at most a minute, and return the completed process.

    With count 0 the program runs without MPI.
    """
    launcher = []
    if count:
        pytest.importorskip("mpi4py")
        if MPIEXEC is None:
            pytest.skip("without mpiexec")
        launcher = [MPIEXEC, "-n", str(count)]
    text = HEAD + textwrap.indent(textwrap.dedent(body), "    ") + "\ncommand.run(main)\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | settings
    environment = {name: value for name, value in environment.items() if value is not None}
    command = [*launcher, sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


SUMS = """
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((11, 7)).astype(np.float32)
    matrices = rng.standard_normal((11, 3, 2)).astype(np.float32)

    def mean(some):
        grads = {"matrix": matrices[some].mean(axis=0), "row": rows[some].mean(axis=0)}
        return float(rows[some].mean()), {name: grads[name] for name in sorted(grads, reverse=ranks.rank % 2)}

    def weighted(some):
        grads = {"row": np.average(rows[some], axis=0, weights=some + 1).astype(np.float32)}
        return float(grads["row"].mean()), grads

    for count, grain, of in [(11, None, mean), (11, 2, mean), (1, None, mean), (3, 2, mean), (11, None, weighted),
                             (11, 2, weighted)]:
        items = np.arange(count)[::-1]
        weights = items + 1 if of is weighted else None
        loss, grads = ranks.gradient(of, items, np.arange(count) ** 2, grain, weights)
        print(json.dumps([loss, *(float(x) for name in sorted(grads) for x in grads[name].ravel())]))
"""
SUMMED = 6  # lines that it prints
ALL_RUNS = f"""
    pretraining.PART = 32  # two windows of 16 tokens
    for name, (module, options) in {RUNS}.items():
        sys.modules["numpygpt." + module].main([*options.split(), "--out", f"{{ranks.size}}/{{name}}"])
    evaluate.main(f"{{ranks.size}}/exact three.csv --predictions {{ranks.size}}/exact/answers.csv".split())
"""


@pytest.fixture(scope="module")
def ran(made, tmp_path_factory):
    """Return {count: (folder of the RUNS, printed lines, sums)} for 1, 2 and 3 ranks, and for 0, without MPI."""
    results = {}
    for count in (3, 2, 1, 0):  # ranks first, so that without MPI the test skips at once
        folder = tmp_path_factory.mktemp(f"ranks-{count}")
        shutil.copytree(made, folder, dirs_exist_ok=True)
        run = program(count, f"    os.chdir({str(folder)!r})" + SUMS + ALL_RUNS)
        assert (run.returncode, run.stderr) == (0, "")
        lines = run.stdout.splitlines()
        results[count] = folder / str(max(1, count)), lines[SUMMED:], [json.loads(line) for line in lines[:SUMMED]]
    return results


def test_two_long_messages_of_a_batch_are_in_different_parts():
    assert grains([9, 9, 1, 1, 1], grain=3) == [[0, 2, 4], [1, 3]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_batchs_gradient_does_not_depend_on_the_number_of_ranks(ran, count):
    (_, _, expected), (_, _, found) = ran[0], ran[count]
    assert all(found[i] == expected[i] for i in (1, 3, 5)), "with grains, to the bit"
    for ours, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["last_block", "all", "pretrained"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_training_on_ranks_has_the_losses_and_weights_of_a_single_process(ran, count, name):
    alone, together = (ran[n][0] / name for n in (0, count))
    if name != "pretrained":
        history = [np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1) for folder in (alone, together)]
        np.testing.assert_allclose(history[1], history[0], rtol=1e-4)
    found = read_safetensors(together / "model.safetensors")
    for key, array in read_safetensors(alone / "model.safetensors").items():
        if not key.endswith("c_attn.bias"):  # the key's gradient is only rounding, which Adam turns into steps
            np.testing.assert_allclose(found[key], array, rtol=1e-3, atol=2e-4, err_msg=key)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ranks_read_their_cached_features_unchanged(ran, count):
    folder = ran[count][0]
    assert len(list((folder.parent / "features").iterdir())) == 1
    histories = [(folder / name / "history.csv").read_bytes() for name in ("last_block", "from-the-cache")]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("name", ["exact", "pretrained-exact"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_exact_gives_the_same_bits_with_any_number_of_ranks(ran, count, name):
    files = ["curve.csv"] if name == "pretrained-exact" else ["history.csv", "evaluation.json", "answers.csv"]
    for file in ["model.safetensors", *files]:
        assert (ran[count][0] / name / file).read_bytes() == (ran[0][0] / name / file).read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_only_rank_0_prints_and_writes(ran, count):
    def told(lines):
        return [line.partition(" | ")[0] for line in lines if "Ep " in line or "curacy" in line or "perplexity" in line]

    assert len(told(ran[0][1])) > 20 and told(ran[count][1]) == told(ran[0][1])
    for name in RUNS:
        files = [sorted(path.name for path in (ran[n][0] / name).iterdir()) for n in (0, count)]
        assert files[0] == files[1]


def test_an_exact_run_resumes_on_another_number_of_ranks_with_the_same_bits(ran, made, here):
    breaking = f"""
        def report(self, row):
            if row["step"] == 9:
                raise InputError("the disk is full")
        commands.train.Report.__call__ = report
        train.main({RUNS["exact"][1].split()} + ["--save-every", "0", "--out", "broken"])
    """
    run = program(2, breaking)
    assert (run.returncode, run.stderr) == (2, "error: the disk is full\n")
    train.main(["--resume", "broken"])
    assert Path("broken/model.safetensors").read_bytes() == (ran[0][0] / "exact/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "body, status, shown",
    [
        ('open("gone") if ranks.rank == 1 else ranks.gather(0)', 2, "error: gone: No such file or directory\n"),
        ('raise InputError("of all")', 2, "error: of all\n"),
        ('train.main(["--epochs", "0"])', 2, "error: argument --epochs: expected a whole number at least 1, got '0' *"),
        ('ranks.check_equal("size", lambda: ranks.rank)', 2, "error: the ranks differ in size. *"),
        ("ranks.gather(1 / (1 - ranks.rank))", 1, "Traceback *ZeroDivisionError: division by zero\n"),
    ],
)
def test_an_error_on_any_rank_ends_all_ranks_with_one_message(body, status, shown):
    run = program(2, body)
    start, _, end = shown.partition("*")
    assert run.returncode == status and run.stderr.startswith(start) and run.stderr.endswith(end)
    assert status == 1 or run.stderr.count("\n") == 1


def test_diverging_parameters_of_a_rank_are_an_error(here):
    body = f"""
        step = AdamW.step

        def drifting(self, grads):
            step(self, grads)
            self.params["head.bias"] += 1e-6 * ranks.rank

        AdamW.step = drifting
        train.main({TRAIN.split()} + ["--epochs", "20"])
    """
    run = program(2, body)
    assert run.returncode == 2 and run.stderr.startswith("error: the ranks differ in their parameters")


def test_a_launcher_of_another_mpi_is_an_error():
    run = program(1, 'print("alone")', OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="2")
    assert run.returncode == 2 and "different MPIs" in run.stderr and not run.stdout


def test_a_killed_rank_ends_all_ranks():
    body = "os.kill(os.getpid(), signal.SIGKILL) if ranks.rank == 1 else ranks.gather(0)"
    assert program(3, body).returncode != 0


def test_help_under_mpiexec_is_shown_once():
    run = program(2, 'train.main(["--help"])')
    assert (run.returncode, run.stderr, run.stdout.count("usage:")) == (0, "", 1)


def test_ranks_share_the_cores_unless_the_user_sets_threads():
    if not blas.describe().startswith("OpenBLAS"):
        pytest.skip("without OpenBLAS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    body = "print(*ranks.gather(blas.threads()))"
    assert program(2, body, OPENBLAS_NUM_THREADS=None).stdout.split() == [str(max(1, cores // 2))] * 2
    assert program(2, body, OPENBLAS_NUM_THREADS=str(cores)).stdout.split() == [str(cores)] * 2


def test_without_mpiexec_mpi_is_not_imported(monkeypatch):
    for name in [name for name in os.environ if name.startswith(LAUNCHERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    seen = []
    on_every_rank(lambda argv, ranks: seen.append(type(ranks)))()
    assert seen == [SingleProcess]


@pytest.mark.parametrize("variable", ["PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"])
def test_missing_mpi4py_under_mpiexec_is_one_line(monkeypatch, variable):
    monkeypatch.setenv(variable, "0")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match="pip install mpi4py mpich"):
        on_every_rank(lambda argv, ranks: None)()


def test_ranks_share_experiments_run_as_single_processes(here):
    options = "--rows 1,3 --model model --data two.csv --out table -- --epochs 1".split()
    run = program(2, f"experiments.main({options})")
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[0].startswith("1 of 2: row 1") and not any(line.startswith("2 of 2") for line in lines)
    assert [line.split(" | ")[0] for line in lines if line.startswith("|")][2:] == ["|   1", "|   3"]
    for row in ("01", "03"):
        log = Path(f"table/row-{row}-seed-123.log").read_text()
        assert log.startswith("numpygpt") and ", 1 thread\n" in log and "Test accuracy" in log
