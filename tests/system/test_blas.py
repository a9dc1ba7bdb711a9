"""Work on all cores: the results and errors of a plain loop, and the BLAS left with the threads that it had."""

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

LONG = 60  # seconds until what waits for ever has failed


@pytest.fixture
def set_to(monkeypatch):
    """A BLAS that has two threads; the list of the numbers of threads that it was set to since."""
    now = [2]
    functions = {"openblas_set_num_threads": now.append, "openblas_get_num_threads": lambda: now[-1]}
    monkeypatch.setattr(blas, "_function", lambda name, restype: functions.get(name))
    return now


@pytest.fixture
def unknown_library(monkeypatch):
    """A BLAS of which nothing is known, on two cores."""
    monkeypatch.setattr(blas, "_SPELLINGS", ())
    monkeypatch.setattr(blas, "_cores", lambda: 2)
    for name in blas._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    blas._function.cache_clear()
    yield
    blas._function.cache_clear()


def at_once(count):
    """A function that returns its argument once `count` threads are in it."""
    barrier = threading.Barrier(count, timeout=LONG)

    def meet(item):
        barrier.wait()
        return item

    return meet


openblas = pytest.mark.skipif(
    not list(Path(np.__file__).parents[1].glob("numpy.libs/*openblas*")), reason="needs a NumPy with its own OpenBLAS"
)


@openblas
def test_the_openblas_of_numpys_wheel_is_named_with_its_kernel_and_its_threads():
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
def test_the_openblas_of_numpys_wheel_multiplies_with_one_thread_for_each_worker_and_then_with_its_own_number_again():
    read = blas._function("openblas_get_num_threads", blas.ctypes.c_int)
    before = read()
    if before == 1:
        pytest.skip("it has one thread only")
    assert blas.parallel(lambda _: read(), range(4)) == [1, 1, 1, 1]
    assert read() == before


def test_a_library_whose_threads_cannot_be_set_is_named_and_the_rest_of_the_work_uses_all_cores(unknown_library):
    name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert blas.describe() == f"{name} with its own threads, 2 threads for the rest"
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]


def test_a_library_whose_threads_cannot_be_set_is_used_with_the_threads_that_the_environment_asks_for(
    unknown_library, monkeypatch
):
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
def test_exact_trusts_only_the_variables_that_the_library_reads_and_only_if_they_agree(
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


def test_mkls_threads_are_read_and_set_by_its_own_functions(monkeypatch):
    now = [4]
    functions = {"MKL_Set_Num_Threads": now.append, "MKL_Get_Max_Threads": lambda: now[-1]}
    monkeypatch.setattr(blas, "_function", lambda name, restype: functions.get(name))
    assert blas.describe() == "MKL, 4 threads"
    blas.set_threads(3)
    assert blas.threads() == now[-1] == 3


def test_openblas_is_found_through_numpys_extension_module_where_no_library_lies_beside_it(monkeypatch):
    if "OpenBLAS" not in blas.describe() or sys.platform == "win32":
        pytest.skip("another library, or another way to it")
    monkeypatch.setattr(blas, "_FOLDERS", ())
    blas._function.cache_clear()
    assert blas._library() == "OpenBLAS"
    blas._function.cache_clear()


SOURCES = [path for path in Path(numpygpt.__file__).parent.rglob("*.py") if "ctypes" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_ctypes_is_given_numbers_only_and_never_the_memory_of_an_array(path):
    assert path.parent.name == "system", "only system/ asks libraries"
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
def test_results_come_in_the_order_of_the_items(set_to, count):
    assert blas.parallel(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_two_items_are_worked_on_at_once_and_each_with_one_thread(set_to):
    together = at_once(2)
    assert blas.parallel(lambda item: together(item) and set_to[-1], "ab") == [1, 1]
    assert set_to[0] == set_to[-1] == 2 and set(set_to) == {1, 2}


def test_the_first_items_error_comes_through_and_leaves_the_threads_as_they_were(set_to):
    together, seen = at_once(2), []

    def fail(n):
        seen.append(n)
        together(n)
        raise KeyError(n)

    with pytest.raises(KeyError, match="0"):
        blas.parallel(fail, range(9))
    assert sorted(seen) == [0, 1], "nothing is begun after an error"
    assert set_to[-1] == 2
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]


def test_called_inside_itself_it_is_a_plain_loop(set_to):
    together = at_once(2)

    def outer(n):
        together(n)  # both workers are taken
        assert blas.threads() == 1
        return set(blas.parallel(lambda _: threading.get_ident(), range(5))) == {threading.get_ident()}

    assert blas.parallel(outer, range(2)) == [True, True]
    assert set_to[-1] == 2


def test_two_threads_of_a_program_do_not_wait_for_each_other_and_the_last_one_gives_the_threads_back(set_to):
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
    assert set_to[-1] == 1 and blas.threads() == 2, "the other thread's work is not this one's limit"
    assert blas.parallel(at_once(2), [3, 4]) == [3, 4]
    with pytest.raises(ZeroDivisionError):
        blas.parallel(lambda n: 1 / n, [0, 1])
    assert set_to == [2, 1], "the first still works"
    other_has_ended.set()
    first.join(LONG)
    assert results == [0, 1] and set_to == [2, 1, 2]


def test_a_number_of_threads_that_someone_sets_meanwhile_stays(set_to):
    together = at_once(2)
    blas.parallel(lambda n: (together(n), set_to.append(3)), range(2))
    assert set_to[-1] == 3


@pytest.fixture
def interrupted(monkeypatch):
    """interrupted(where, then, ended) has two items begin, the caller's and the helper's, and Ctrl-C come: "working",
    while the caller is at its item, or "waiting", for the helper. When `parallel` waits again `then` is called.
    `ended` receives the items that end."""

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
def test_ctrl_c_waits_for_what_was_begun_and_begins_nothing_else(where, ends, set_to, interrupted):
    ended = []
    interrupted(where, lambda helpers: (interrupted.go_on.set(), wait(helpers)), ended)
    assert len(ended) == ends
    assert set_to == [2, 1, 2]


@pytest.mark.parametrize("where", ["working", "waiting"])
def test_after_a_second_ctrl_c_the_threads_come_back_when_the_helper_has_ended(where, set_to, interrupted):
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

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12's, of a fork beside threads
blas._cores = lambda: 2
if blas.threads() == 1:
    blas._SPELLINGS = ()
    blas._function.cache_clear()
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
blas.parallel(lambda n: ask(), range(2))  # a child of a worker is no worker
both = threading.Barrier(3)
working = threading.Thread(target=lambda: blas.parallel(lambda n: (both.wait(), both.wait()), range(2)))
working.start()
both.wait()
ask()  # a child of a process that works just now
both.wait()
working.join()
assert blas.threads() == count and blas.parallel(work, range(4)) == [0, 300, 600, 900]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_works_as_its_parent_does():
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=LONG)
    assert (run.stdout, run.stderr) == ("done\n", "")


def test_small_products_have_one_thread_each_and_large_ones_all_while_parallel_keeps_its_own(set_to):
    with blas.one_thread():
        assert set_to[-1] == 1 and blas.threads() == 2
        with blas.one_thread():
            assert set_to[-1] == 1
        assert set_to[-1] == 1
    assert set_to[-1] == 2
