"""`parallel` gives a plain loop's results and errors on all cores, and restores the BLAS threads."""

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

import numpygpt
from numpygpt.system import blas
from numpygpt.system.errors import InputError

LONG = 60  # seconds until a wait counts as endless


@pytest.fixture
def set_to(monkeypatch):
    """Simulate a BLAS with two threads. Return the list of thread numbers it is set to."""
    now = [2]
    functions = {"openblas_set_num_threads": now.append, "openblas_get_num_threads": lambda: now[-1]}
    monkeypatch.setattr(blas, "_function", lambda name, restype: functions.get(name))
    return now


@pytest.fixture
def unknown_library(monkeypatch):
    """Simulate an unknown BLAS on two cores."""
    monkeypatch.setattr(blas, "_SPELLINGS", ())
    monkeypatch.setattr(blas, "_cores", lambda: 2)
    for name in blas._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    blas._function.cache_clear()
    yield
    blas._function.cache_clear()


def at_once(count):
    """Return a function that returns its argument once `count` threads have called it."""
    barrier = threading.Barrier(count, timeout=LONG)

    def meet(item):
        barrier.wait()
        return item

    return meet


openblas = pytest.mark.skipif(
    not list(Path(np.__file__).parents[1].glob("numpy.libs/*openblas*")), reason="needs a NumPy with its own OpenBLAS"
)


@openblas
def test_describe_names_openblas_its_kernel_and_its_threads():
    count = blas.threads()
    assert (
        blas.describe()
        == f"{re.match('OpenBLAS [A-Z][A-Za-z0-9]+', blas.describe())[0]}, {count} thread{'s' * (count > 1)}"
    )
    script = "from numpygpt.system import blas; print(blas.threads(), blas.describe())"
    one = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert re.fullmatch(r"1 OpenBLAS \w+, 1 thread\n", one.stdout)


@openblas
def test_parallel_gives_openblas_one_thread_per_worker_and_restores_its_number():
    read = blas._function("openblas_get_num_threads", blas.ctypes.c_int)
    before = read()
    if before == 1:
        pytest.skip("it has one thread only")
    assert blas.parallel(lambda _: read(), range(4)) == [1, 1, 1, 1]
    assert read() == before


def test_parallel_uses_all_cores_with_a_library_whose_threads_cannot_be_set(unknown_library):
    name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert blas.describe() == f"{name} with its own threads, 2 threads for the rest"
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]


def test_a_library_whose_threads_cannot_be_set_follows_the_environment(unknown_library, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert blas.threads() == 1
    blas.one_thread_for_exact()
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(InputError, match="--exact: the threads of NumPy's .* cannot be set from here"):
        blas.one_thread_for_exact()


@pytest.mark.parametrize(
    "name, variables, promised",
    [
        ("accelerate", {"OMP_NUM_THREADS": "1"}, False),  # it reads VECLIB_MAXIMUM_THREADS only
        ("accelerate", {"VECLIB_MAXIMUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, True),
        ("openblas", {"VECLIB_MAXIMUM_THREADS": "1"}, False),
        ("openblas", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "4"}, False),
        ("openblas", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, True),
    ],
)
def test_exact_trusts_only_environment_variables_that_the_library_reads_and_that_agree(
    unknown_library, monkeypatch, name, variables, promised
):
    monkeypatch.setattr(blas, "_name", lambda: name)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if promised:
        blas.one_thread_for_exact()
    else:
        needed = "VECLIB_MAXIMUM_THREADS=1" if name == "accelerate" else "OMP_NUM_THREADS=1"
        with pytest.raises(InputError, match=f"--exact: .*{needed}"):
            blas.one_thread_for_exact()


def test_mkls_threads_are_read_and_set(monkeypatch):
    now = [4]
    functions = {"MKL_Set_Num_Threads": now.append, "MKL_Get_Max_Threads": lambda: now[-1]}
    monkeypatch.setattr(blas, "_function", lambda name, restype: functions.get(name))
    assert blas.describe() == "MKL, 4 threads"
    blas.set_threads(3)
    assert blas.threads() == now[-1] == 3


def test_openblas_is_found_through_numpys_extension_module(monkeypatch):
    if "OpenBLAS" not in blas.describe() or sys.platform == "win32":
        pytest.skip("another library, or another way to it")
    monkeypatch.setattr(blas, "_FOLDERS", ())
    blas._function.cache_clear()
    assert blas._library() == "OpenBLAS"
    blas._function.cache_clear()


SOURCES = [path for path in Path(numpygpt.__file__).parent.rglob("*.py") if "ctypes" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_ctypes_never_gets_an_arrays_memory(path):
    assert path.parent.name == "system", "only system/ may call libraries"
    text = path.read_text("utf-8")
    for word in (
        "c_void_p",
        "POINTER",
        "byref",
        "pointer(",
        "addressof",
        "from_buffer",
        "memmove",
        "data_as",
        ".ctypes",
    ):
        assert word not in text, word


@pytest.mark.parametrize("count", [0, 1, 7])
def test_parallel_returns_results_in_the_order_of_the_items(set_to, count):
    assert blas.parallel(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_parallel_runs_two_items_at_once_with_one_blas_thread_each(set_to):
    together = at_once(2)
    assert blas.parallel(lambda item: together(item) and set_to[-1], "ab") == [1, 1]
    assert set_to[0] == set_to[-1] == 2 and set(set_to) == {1, 2}


def test_parallel_raises_the_first_items_error_and_restores_the_threads(set_to):
    together, seen = at_once(2), []

    def fail(n):
        seen.append(n)
        together(n)
        raise KeyError(n)

    with pytest.raises(KeyError, match="0"):
        blas.parallel(fail, range(9))
    assert sorted(seen) == [0, 1], "no item starts after an error"
    assert set_to[-1] == 2
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]


def test_a_nested_parallel_is_a_plain_loop(set_to):
    together = at_once(2)

    def outer(n):
        together(n)  # both workers are busy
        assert blas.threads() == 1
        return set(blas.parallel(lambda _: threading.get_ident(), range(5))) == {threading.get_ident()}

    assert blas.parallel(outer, range(2)) == [True, True]
    assert set_to[-1] == 2


def test_two_calling_threads_do_not_block_each_other_and_the_last_restores_the_blas_threads(set_to):
    inside, other_has_ended = threading.Semaphore(0), threading.Event()

    def work(item):
        inside.release()
        assert other_has_ended.wait(LONG)
        return item

    results = []
    first = threading.Thread(target=lambda: results.extend(blas.parallel(work, range(2))))
    first.start()
    for _ in range(2):
        assert inside.acquire(timeout=LONG)
    assert set_to[-1] == 1 and blas.threads() == 2, "another thread's work does not limit this one"
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]
    with pytest.raises(ZeroDivisionError):
        blas.parallel(lambda n: 1 / n, [0, 1])
    assert set_to == [2, 1], "the first thread is still working"
    other_has_ended.set()
    first.join(LONG)
    assert results == [0, 1] and set_to == [2, 1, 2]


def test_parallel_keeps_a_number_of_threads_set_meanwhile(set_to):
    together = at_once(2)
    blas.parallel(lambda n: (together(n), set_to.append(3)), range(2))
    assert set_to[-1] == 3


@pytest.fixture
def interrupted(monkeypatch):
    """Return interrupted(where, then, ended), which starts two items, the caller's and the helper's, and sends Ctrl-C.

    where   "working": while the caller works on its item; "waiting": while it waits for the helper
    then    called when `parallel` waits again
    ended   receives the items that end
    """

    def interrupt(where, then, ended):
        both, caller = threading.Barrier(2), threading.get_ident()
        waits = iter([then if where == "working" else _ctrl_c, then])
        monkeypatch.setattr(blas, "wait", lambda helpers: next(waits)(helpers))

        def work(n):
            both.wait(LONG)
            if threading.get_ident() == caller:
                if where == "working":
                    _ctrl_c()
            else:
                assert interrupt.go_on.wait(LONG)
            ended.append(n)

        with pytest.raises(KeyboardInterrupt):
            blas.parallel(work, range(99 if where == "working" else 2))

    interrupt.go_on = threading.Event()
    return interrupt


def _ctrl_c(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where, ends", [("working", 1), ("waiting", 2)])
def test_ctrl_c_waits_for_running_items_and_starts_no_other(where, ends, set_to, interrupted):
    ended = []
    interrupted(where, lambda helpers: (interrupted.go_on.set(), wait(helpers)), ended)
    assert len(ended) == ends
    assert set_to == [2, 1, 2]


@pytest.mark.parametrize("where", ["working", "waiting"])
def test_after_a_second_ctrl_c_the_threads_are_restored_when_the_helper_ends(where, set_to, interrupted):
    interrupted(where, _ctrl_c, [])
    assert set_to == [2, 1] and blas.threads() == 2
    interrupted.go_on.set()
    blas._of_thread.pool.shutdown()  # waits
    blas._of_thread.size = 0
    assert set_to == [2, 1, 2]


FORK = """
import multiprocessing, os, threading, warnings
import numpy as np
from numpygpt.system import blas

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork beside threads
blas._cores = lambda: 2
if blas.threads() == 1:  # make parallel use two threads on one core, and under OPENBLAS_NUM_THREADS=1
    blas._SPELLINGS = ()
    blas._function.cache_clear()
    for name in blas._VARIABLES:
        os.environ.pop(name, None)
x = np.ones((300, 300), np.float32)
work = lambda n: float((n * x @ x)[0, 0])
count = blas.threads()

def child(queue):
    queue.put((blas.threads(), blas.parallel(work, range(4)), float((x @ x)[0, 0])))

def ask():
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=child, args=(queue,))
    process.start()
    answer = queue.get()
    process.join()
    assert answer == (count, [0, 300, 600, 900], 300), answer

assert blas.parallel(work, range(4)) == [0, 300, 600, 900]
ask()
blas.parallel(lambda n: ask(), range(2))  # a worker's child is not a worker
both = threading.Barrier(3)
working = threading.Thread(target=lambda: blas.parallel(lambda n: (both.wait(), both.wait()), range(2)))
working.start()
both.wait()
ask()  # fork while the process is working
both.wait()
working.join()
assert blas.threads() == count and blas.parallel(work, range(4)) == [0, 300, 600, 900]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parallel_works_in_a_forked_child():
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=LONG)
    assert (run.stdout, run.stderr) == ("done\n", "")


def test_one_thread_limits_blas_and_restores_its_threads(set_to):
    with blas.one_thread():
        assert set_to[-1] == 1 and blas.threads() == 2
        with blas.one_thread():
            assert set_to[-1] == 1
        assert set_to[-1] == 1
    assert set_to[-1] == 2
