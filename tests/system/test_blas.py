"""Work on all cores: the results and errors of a plain loop, and the BLAS left with the threads that it had."""

import threading

import pytest

from numpygpt.system import blas


@pytest.fixture
def two_threads(monkeypatch):
    """A BLAS that has two threads; the list of the numbers of threads that it was set to since."""
    now = [2]
    monkeypatch.setattr(blas, "threads", lambda: now[-1])
    monkeypatch.setattr(blas, "_function", lambda name, restype: now.append if name == "set_num_threads" else None)
    return now


def test_it_says_which_library_multiplies():
    assert blas.threads() >= 1
    assert blas.describe() and "\n" not in blas.describe()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(two_threads, count):
    assert blas.parallel(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_two_items_are_worked_on_at_once_and_each_with_one_thread(two_threads):
    together = threading.Barrier(2, timeout=60)

    def work(item):
        together.wait()
        return two_threads[-1]

    assert blas.parallel(work, "ab") == [1, 1]
    assert two_threads == [2, 1, 2]


def test_an_error_comes_through_and_leaves_the_threads_as_they_were(two_threads):
    with pytest.raises(ZeroDivisionError):
        blas.parallel(lambda n: 1 / n, [1, 0, 2])
    assert two_threads[-1] == 2
