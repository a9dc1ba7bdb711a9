"""An interrupted or killed run resumes with the bits of an uninterrupted run, or is refused."""

import gc
import json
import os
import shutil
import signal
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import kills
from bench.turns import fresh
from numpygpt import train
from numpygpt.checkpoints.huggingface import save_folder
from numpygpt.checkpoints.safetensors import read_safetensors, write_safetensors
from numpygpt.commands import train as run_of_train
from numpygpt.model.config import Config
from numpygpt.model.parameters import random_parameters
from numpygpt.system.errors import InputError, Note
from numpygpt.system.single_process import SingleProcess
from numpygpt.text.bpe import learn_bpe
from numpygpt.text.split import read_split, write_split
from numpygpt.training.fine_tune import fine_tune
from numpygpt.training.measures import accuracy
from numpygpt.training.resume import ResumeFile
from numpygpt.training.run_folder import reopen_run
from tests.calls import set_in
from tests.training.test_fine_tune import a_run

OPTIONS = "--model model --data messages.csv --epochs 2 --eval-every 3 --save-every 0 --trainable last_block".split()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a tiny model, 60 messages, a finished run `whole` with OPTIONS, and its log."""
    folder = tmp_path_factory.mktemp("resume")
    texts = [f"win {n} pounds now, call {n * 7}" for n in range(30)] + [f"see you at {n}, love" for n in range(30)]
    frame = pd.DataFrame({"Label": ["spam"] * 30 + ["ham"] * 30, "Text": texts})
    frame.to_csv(folder / "messages.csv", index=False)
    encoding = learn_bpe(texts, 300)
    config = Config(encoding.n_vocab, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    save_folder(folder / "model", config, random_parameters(config, 1), encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(run_of_train, "save_plot", lambda *_: False)
        outcome(*OPTIONS, "--out", "whole")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Copy `made` to the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_of_train, "save_plot", lambda *_: False)  # drawing would take most of the time
    return tmp_path


@pytest.fixture
def expected(made, here):
    """Return the files and the output of the run `whole`, as if it had been made here."""
    found = kills.outcome(Path("whole"), Path("whole.log"))
    return found | {"run.json": found["run.json"].replace(str(made).encode(), str(here).encode())}


def outcome(*arguments):
    """Return the run's files and its output."""
    folder = Path(arguments[-1])
    with open(folder.with_suffix(".log"), "w") as log, redirect_stdout(log):
        train.main([*arguments])
    return kills.outcome(folder, folder.with_suffix(".log"))


class Stopped(Exception):
    """Simulates the end of the process."""


def killed(ways, scratch):
    run_of_train.save_plot = lambda *_: False
    return kills.measure(ways, 5, scratch)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_runs_resume_to_the_results_of_uninterrupted_ones(here):
    way = [str(here / word) if (here / word).exists() else word for word in OPTIONS]
    met, _, wrong = fresh(killed, [way, [*way, "--trainable", "lora", "--accumulate", "3"]], here)
    assert met.total() >= 5 and wrong == []


def stopping_after(rows):
    seen = []

    def report(row):
        seen.append(row)
        if len(seen) == rows:
            raise Stopped

    return report


@pytest.mark.parametrize("accumulate, every", [(1, 0), (2, 0), (2, 1000)])
def test_fine_tuning_stopped_after_any_step_resumes_with_the_same_bits(tmp_path, accumulate, every):
    recipe = dict(epochs=2, lr=1e-3, accumulate=accumulate, eval_every=2, eval_batches=1, schedule="cosine")
    expected, loaders = a_run()
    history = fine_tune(expected, *loaders, **recipe)
    final = accuracy(expected, loaders[0], SingleProcess())
    for stop in range(1, len(history) + 1):
        path = tmp_path / f"{stop}"
        clf, loaders = a_run()
        with pytest.raises(Stopped):
            fine_tune(clf, *loaders, **recipe, report=stopping_after(stop), resume=ResumeFile(path, every))
        clf, loaders = a_run()
        found = fine_tune(clf, *loaders, **recipe, resume=ResumeFile(path, every))
        pd.testing.assert_frame_equal(found, history, check_exact=True)
        for name, array in expected.params.items():
            assert np.array_equal(clf.params[name], array), name
        assert accuracy(clf, loaders[0], SingleProcess()) == final, "the generator's state is restored, too"


def test_a_resume_file_of_other_settings_or_messages_is_refused(tmp_path):
    clf, loaders = a_run()
    fine_tune(clf, *loaders, epochs=1, resume=ResumeFile(tmp_path / "file"))
    for other, name in [({"epochs": 2}, "epochs = 1, not 2"), ({"epochs": 1, "weight_decay": 0.0}, "weight_decay")]:
        clf, loaders = a_run()
        with pytest.raises(InputError, match=f"that run has {name}"):
            fine_tune(clf, *loaders, **other, resume=ResumeFile(tmp_path / "file"))
    clf, loaders = a_run()
    loaders[0].numbers = loaders[0].numbers[::-1]
    with pytest.raises(InputError, match="that run has messages = "):
        fine_tune(clf, *loaders, epochs=1, resume=ResumeFile(tmp_path / "file"))


def test_the_state_is_saved_at_its_interval_and_after_every_epoch(tmp_path, monkeypatch):
    class Counted(ResumeFile):
        rows = ()

        def save(self, state, settings):
            self.rows += (len(state.rows),)
            super().save(state, settings)

    for every, expected in [(0, (1, 2, 3, 4, 5, 6, 7, 8)), (1000, (4, 8))]:
        clf, loaders = a_run()
        file = Counted(tmp_path / str(every), every)
        fine_tune(clf, *loaders, epochs=2, resume=file)
        assert file.rows == expected


@pytest.mark.parametrize("at", [1, 5, 7])
def test_ctrl_c_saves_the_state_and_says_how_to_resume(here, expected, monkeypatch, at):

    class Interrupted(run_of_train.Report):
        def __call__(self, row):
            super().__call__(row)
            if row["step"] == at:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="train --resume 'a run'"):
        patch.setattr(run_of_train, "Report", Interrupted)
        train.main([*OPTIONS, "--save-every", "1000", "--out", "a run"])
    assert Path("a run/resume.safetensors").exists()
    found = outcome("--resume", "a run")
    assert {name: found[name].replace(b'"save_every": 1000', b'"save_every": 0') for name in found} == expected


STOPS = ["write_split", "loaders", "fine_tune", "accuracy", "save_plot", "Classifier.save"]


def stopped_run(monkeypatch, where, options=OPTIONS):
    """Start the run `stopped` and stop it when it reaches `where`."""

    def stop(*_, **__):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(f"numpygpt.commands.train.{where}", stop)
        with pytest.raises(Stopped):
            train.main([*options, "--out", "stopped"])


@pytest.mark.parametrize("where", STOPS[1:])
def test_a_run_resumes_from_any_stage_with_its_own_messages(here, expected, monkeypatch, where):
    stopped_run(monkeypatch, where)
    os.remove("messages.csv")
    assert outcome("--resume", "stopped") == expected


def test_a_run_stopped_before_its_last_lines_is_completed(here, expected, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(Stopped))
        train.main([*OPTIONS, "--out", "stopped"])
    assert Path("stopped/run.json").exists() and Path("stopped/resume.safetensors").exists()
    Path("stopped/.resume.safetensors.0123.tmp").write_bytes(b"half")
    assert outcome("--resume", "stopped") == expected


def test_a_run_resumes_with_another_memory_limit_and_the_same_bits(here, expected, monkeypatch):
    stopped_run(monkeypatch, "accuracy")
    monkeypatch.setattr("numpygpt.system.rows.disk_folder", lambda: None)
    with pytest.warns(Note, match="neither in memory nor on disk"):
        found = outcome("--memory", "4kB", "--resume", "stopped")
    del found["run.json"], expected["run.json"]  # run.json names the memory limit
    assert found == expected


def test_a_run_of_a_version_without_recipes_resumes_unchanged(here, expected, monkeypatch):
    stopped_run(monkeypatch, "accuracy")
    set_in("stopped/settings.json", recipe=None)
    found = outcome("--resume", "stopped")
    for name in ("model.safetensors", "history.csv"):
        assert found[name] == expected[name]
    assert json.loads(found["run.json"])["recipe"] is None
    assert b"recipe " in expected["printed"] and b"recipe " not in found["printed"]


def refused(*arguments):
    with pytest.raises((InputError, SystemExit)) as error:
        train.main([str(argument) for argument in arguments])
    return str(error.value)


def test_a_run_that_cannot_resume_is_refused_and_left_unchanged(here, capsys, monkeypatch):
    assert "whole is finished: there is nothing to resume" in refused("--resume", "whole")
    for nothing in ("absent", "model", "messages.csv"):
        assert f"{nothing} holds no run to be resumed" in refused("--resume", nothing)

    stopped_run(monkeypatch, "accuracy")
    before = {path.name: path.read_bytes() for path in Path("stopped").iterdir()}
    for options, error in {
        "--epochs 3": "stopped has --epochs 2, not 3. Leave --epochs out",
        "--data sample": "stopped has --data messages.csv, not sample",
        "--no-causal": "stopped has --causal True, not False",
        "--recipe book": "stopped has --recipe small, not book",
    }.items():
        assert error in refused("--resume", "stopped", *options.split())
    refused("--resume", "stopped", "--out", "other")
    assert "not allowed with argument --resume" in capsys.readouterr().err

    with ExitStack() as held:
        reopen_run("stopped", held)
        assert "stopped is being trained by another process" in refused("--resume", "stopped")
    weights = {name: array * 2 for name, array in read_safetensors("model/model.safetensors").items()}
    gc.collect()  # unmaps the files of the refused runs
    write_safetensors("model/model.safetensors", weights)
    assert "the weights of model have changed" in refused("--resume", "stopped")
    assert {path.name: path.read_bytes() for path in Path("stopped").iterdir()} == before


@pytest.mark.parametrize("name", ["settings.json", "train.csv", "resume.safetensors"])
@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"\xff" + content[1:]])
def test_a_damaged_run_is_refused_in_one_line(here, monkeypatch, name, damage):
    stopped_run(monkeypatch, "accuracy")
    path = Path("stopped") / name
    path.write_bytes(damage(path.read_bytes()))
    assert name in refused("--resume", "stopped")


def test_an_incomplete_state_is_refused(tmp_path):
    clf, loaders = a_run()
    fine_tune(clf, *loaders, epochs=1, resume=ResumeFile(tmp_path / "file"))
    stored = {name: np.array(array) for name, array in read_safetensors(tmp_path / "file").items()}
    for name in stored:
        write_safetensors(tmp_path / "less", {other: array for other, array in stored.items() if other != name})
        clf, loaders = a_run()
        with pytest.raises(InputError, match="less.* Delete (it|the file) to start again"):
            fine_tune(clf, *loaders, epochs=1, resume=ResumeFile(tmp_path / "less"))


def test_resuming_accepts_equal_settings_and_those_that_change_no_result(here, expected, monkeypatch):
    stopped_run(monkeypatch, "loaders")
    found = outcome(*OPTIONS, "--save-every", "5", "--features-cache", "cache", "--resume", "stopped")
    same = {"model.safetensors", "history.csv", "printed"}
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert json.loads(found["run.json"])["features_cache"] == "cache"


def test_the_reported_seconds_include_all_processes(here, capsys, monkeypatch):
    stopped_run(monkeypatch, "accuracy")
    stored = {name: np.array(array) for name, array in read_safetensors("stopped/resume.safetensors").items()}
    progress = json.loads(stored["progress"].tobytes()) | {"seconds": 5000.0}
    stored["progress"] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    write_safetensors("stopped/resume.safetensors", stored)
    train.main(["--resume", "stopped"])
    assert 5000 < json.loads(Path("stopped/run.json").read_bytes())["seconds"] < 5100


def test_a_runs_sets_are_read_back_unchanged(tmp_path):
    texts = [
        "NA",
        "nan",
        "None",
        "007",
        "1e5",
        'a "quote"',
        "a,b",
        "a\nb",
        "a\r\nb",
        "a\rb",
        "\rx",
        " x ",
        "£ü\u2028",
        '"',
    ]
    sets = [pd.DataFrame({"Label": ["a b", "NA"] * 7, "Text": texts}) for _ in range(3)]
    write_split(tmp_path, sets, ["NA", "a b"])
    for found, part in zip(read_split(tmp_path, ["NA", "a b"]), sets):
        pd.testing.assert_frame_equal(found, part[["Text", "Label"]])
