"""A file is replaced completely or not at all."""

import os
import stat

import pytest

from numpygpt.system.files import replacing


def test_a_finished_write_replaces_the_file_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["weights"]


@pytest.mark.skipif(os.name != "posix", reason="directories are synced on POSIX only")
def test_a_file_is_on_disk_before_its_rename_and_its_folder_after(tmp_path, monkeypatch):
    calls, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    with replacing(tmp_path / "weights"):
        pass
    assert calls == [False, "replace", True]


@pytest.mark.parametrize("interruption", [OSError("No space left on device"), KeyboardInterrupt(), ValueError()])
def test_an_interrupted_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path, interruption):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with pytest.raises(type(interruption)):
        with replacing(path) as file:
            file.write(b"half")
            raise interruption
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_an_oserror_for_a_missing_folder_names_the_requested_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        with replacing(tmp_path / "absent" / "weights"):
            pass
    assert str(error.value).endswith(f"{str(tmp_path / 'absent' / 'weights')!r}")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_new_file_has_default_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "replaced"):
        pass
    plain, replaced = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "replaced"))
    assert replaced == plain
