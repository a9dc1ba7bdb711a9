"""Memory-mapped files, freed memory and free memory."""

import subprocess
import sys

import numpy as np
import pytest

from numpygpt.checkpoints.safetensors import read_safetensors, write_safetensors
from numpygpt.system import memory
from numpygpt.system.memory import free_memory, release

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads a process's memory from Linux")


def resident_of_files():
    """Return the bytes of files that this process has in memory."""
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssFile:"))


@linux
def test_release_frees_a_mapped_arrays_memory_and_keeps_its_values(tmp_path):
    write_safetensors(tmp_path / "x.safetensors", {"x": np.arange(1 << 23, dtype=np.float32)})  # 32 MiB
    x = read_safetensors(tmp_path / "x.safetensors")["x"]
    total = x.sum()
    before = resident_of_files()
    release(x[1:, None].T)  # any view of x
    assert before - resident_of_files() > 30 << 20
    assert x.sum() == total


def test_release_keeps_the_values_of_an_ordinary_array():
    x = np.arange(5)
    release(x)
    assert x.tolist() == [0, 1, 2, 3, 4]


STEPS = """
import resource, sys
import numpy as np
from numpygpt.system.memory import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(3):
    arrays = [np.ones(1 << 22) for _ in range(4)]  # 32 MiB each
    del arrays
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[2] - faults[1])
"""


@linux
def test_a_second_step_reuses_the_memory_freed_by_the_first():
    pytest.importorskip("resource")
    if b"musl" in subprocess.run(["ldd", "--version"], capture_output=True).stderr:
        pytest.skip("musl's malloc has no such settings")
    run = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64  # 128 MiB in pages of 4 KiB would be 32,768


def test_free_memory_is_plausible():
    assert 10_000_000 < free_memory() < 1 << 45


@pytest.mark.parametrize("limit, used, free", [("3000", "1000", 2000), ("1000", "3000", 0), ("max", "1000", None)])
def test_free_memory_respects_a_containers_limit(tmp_path, monkeypatch, limit, used, free):
    monkeypatch.setattr(memory, "_LIMITS", ())
    of_the_machine = free_memory()
    (tmp_path / "limit").write_text(limit + "\n")
    (tmp_path / "used").write_text(used + "\n")
    monkeypatch.setattr(memory, "_LIMITS", [(tmp_path / "limit", tmp_path / "used"), (tmp_path / "absent", "")])
    assert free_memory() == free if free is not None else free_memory() > of_the_machine / 2
