"""The cache folder of downloads: its place, and the error if it is invalid."""

import sys
from pathlib import Path

import pytest

from numpygpt.checkpoints import published as models
from numpygpt.system import cache
from numpygpt.system.errors import InputError
from numpygpt.text import sms
from tests.downloading import one_line


def test_an_invalid_cache_folder_is_named(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMPYGPT_HOME", str(tmp_path / "file"))
    for fetch in (sms.fetch_sms, lambda: models.fetch_model("gpt2")):
        with pytest.raises(InputError, match="set NUMPYGPT_HOME") as raised:
            fetch()
        assert str(tmp_path / "file") in one_line(raised)


@pytest.mark.parametrize(
    "platform, variables, expected",
    [
        ("linux", {}, "HOME/.cache/numpygpt"),
        ("linux", {"XDG_CACHE_HOME": "HOME/xdg"}, "HOME/xdg/numpygpt"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "HOME/.cache/numpygpt"),
        ("darwin", {"XDG_CACHE_HOME": "HOME/xdg"}, "HOME/Library/Caches/numpygpt"),
        ("win32", {"LOCALAPPDATA": "HOME/local"}, "HOME/local/numpygpt"),
        ("win32", {}, "HOME/AppData/Local/numpygpt"),
        ("linux", {"NUMPYGPT_HOME": "HOME/mine", "XDG_CACHE_HOME": "HOME/xdg"}, "HOME/mine"),
        ("linux", {"NUMPYGPT_HOME": "~/mine"}, "HOME/mine"),
    ],
)
def test_the_cache_is_in_the_platforms_cache_folder(monkeypatch, tmp_path, platform, variables, expected):
    for name in ("NUMPYGPT_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("HOME", str(tmp_path)))
    assert cache.cache_folder() == Path(expected.replace("HOME", str(tmp_path)))
