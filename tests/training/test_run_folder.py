"""Run folders are numbered, and a changed run.json is refused."""

import json
from pathlib import Path

import pytest

from numpygpt.api.run import load_run
from numpygpt.system.errors import InputError
from numpygpt.training.run_folder import new_folder
from tests.calls import set_in, spoil


def test_runs_are_numbered_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_folder(None) == Path("runs/001")
    (tmp_path / "runs" / "002").write_text("")
    assert [new_folder(None).name for _ in range(2)] == ["003", "004"]
    with pytest.raises(InputError, match="runs/001 already exists. Choose another --out"):
        new_folder("runs/001")


VALUES = [None, True, 0, -1, 2.5, "x", "first", [], ["a", "b", "c"], {}, 10**400]


@pytest.mark.parametrize(
    "key",
    [
        "model",
        "weights",
        "seed",
        "labels",
        "position",
        "causal",
        "padded_length",
        "lora_scale",
        "config",
        "frozen_sha256",
        "sha256",
    ],
)
def test_any_changed_value_in_run_json_is_refused(here_with_run, key):
    whole = Path("run/run.json").read_bytes()
    assert load_run("run").labels == ["ham", "spam"]
    for value in VALUES:
        set_in("run/run.json", **{key: value})
        if json.loads(whole)[key] == value and type(json.loads(whole)[key]) is type(value):
            continue
        with pytest.raises((InputError, OSError)):  # OSError: a file name too long
            load_run("run")
        Path("run/run.json").write_bytes(whole)
    spoil(
        "run/run.json",
        lambda b: json.dumps({name: entry for name, entry in json.loads(b).items() if name != key}).encode(),
    )
    with pytest.raises(InputError, match=f"run.json is damaged .*{key}"):
        load_run("run")
