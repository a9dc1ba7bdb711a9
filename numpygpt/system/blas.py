"""The linear-algebra library inside NumPy: its name, its kernel and its threads decide how fast everything here is."""

import ctypes
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path

import numpy as np

# Where NumPy's wheels put OpenBLAS, and how its functions are spelled there (64-bit integers, a prefix of their own).
_FOLDERS = ("../numpy.libs", ".dylibs")
_SPELLINGS = ("scipy_{}64_", "scipy_{}", "{}64_", "{}")


def describe():
    """One phrase: `OpenBLAS SkylakeX, 2 threads`, or `accelerate with its own threads, 8 threads for the rest`."""
    core, count = _function("openblas_get_corename", ctypes.c_char_p), threads()
    plural = f"{count} thread{'s' * (count != 1)}"
    if core is None:
        name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
        return f"{name} with its own threads, {plural} for the rest"
    return f"OpenBLAS {core().decode()}, {plural}"


def threads():
    """How many threads `parallel` works on when called here: as many as OpenBLAS is set to; with any other library as
    many as this process may use cores; and 1 inside `parallel`.
    """
    if getattr(_of_thread, "working", False):
        return 1
    return _products.threads() or _cores()


def set_threads(count):
    """Set how many threads OpenBLAS has; any other library's stay as they are."""
    _products._set(count)


def parallel(function, items):
    """list(map(function, items)), on as many Python threads as the BLAS has, each of whose products has one thread. The
    calling thread is one of them.

    For work that splits into independent parts this keeps every core busy all the time, in the elementwise operations
    too (NumPy releases the interpreter's lock in both). A product split over threads leaves all but one core idle
    between products.

    Called inside `function`, it is a plain loop. Several threads of a program may call it at once; each has helpers of
    its own. Of errors the first item's is raised, as in a loop, and like Ctrl-C only when what was begun has ended.

    OpenBLAS has one number of threads for the whole process: while anything here is worked on, the products of the
    program's other threads have one thread, too. The number comes back with the end of the last item, unless someone
    has set another meanwhile. Any other library (MKL, Accelerate) splits its products as it likes.
    """
    items = list(items)
    count = min(threads(), len(items))
    if count < 2:
        return list(map(function, items))
    results, errors, waiting = [None] * len(items), {}, deque(enumerate(items))

    def work():
        with _products:
            while waiting and not errors:
                try:
                    number, item = waiting.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    results[number] = function(item)
                except BaseException as error:
                    errors[number] = error

    helpers, pool = [], _pool()
    try:
        for _ in range(count - 1):
            helpers.append(pool.submit(work))
        _of_thread.working = True
        work()
        wait(helpers)
    finally:  # Ctrl-C comes here too
        _of_thread.working = False
        waiting.clear()
        wait(helpers)
    if errors:
        first = errors[min(errors)]
        errors.clear()
        try:
            raise first
        finally:
            del first  # its traceback has this frame, which must not hold it in turn
    return results


def one_thread():
    """`with` this, products take one thread each, as inside `parallel`, which has as many threads as before.

    For products whose last bits must not depend on their threads; and for products so small that sharing them out
    gains little. It can lose much: a split product ends with the slower core, and on a machine where another program
    runs, that may be long after the faster one.
    """
    return _products


def mix(y, b, x, a):
    """y = b y + a x in place, for arrays of one shape; returns y.

    OpenBLAS's axpby goes over them once, where NumPy would go three times, and the last bits may differ. It takes
    real numbers that lie one after the other; anything else NumPy does.
    """
    axpby = _axpby().get(y.dtype) if y.dtype == x.dtype and y.flags.c_contiguous and x.flags.c_contiguous else None
    if axpby is None or y.shape != x.shape:
        y *= b
        y += a * x
    else:
        axpby(y.size, a, x.ctypes.data, 1, b, y.ctypes.data, 1)
    return y


@cache
def _axpby():
    """{dtype: OpenBLAS's function for it}."""
    found, size = {}, ctypes.c_ssize_t  # also where it takes 32 bits: it reads the lower half
    for letter, number in (("s", ctypes.c_float), ("d", ctypes.c_double)):
        if function := _function(f"cblas_{letter}axpby", None):
            function.argtypes = [size, number, ctypes.c_void_p, size, number, ctypes.c_void_p, size]
            found[np.dtype(number)] = function
    return found


class _Products:
    """`with` this, products take one thread each: the first to enter sets it, the last to leave takes it back."""

    def __init__(self):
        self.lock, self.inside, self.before = threading.Lock(), 0, 1

    def threads(self):
        """OpenBLAS's number of threads, as it is when nobody is inside; 0 of another library."""
        with self.lock:
            return self._read() if not self.inside else self.before

    def __enter__(self):
        with self.lock:
            if not self.inside:
                self.before = self._read()
                self._set(1)
            self.inside += 1

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self._take_back()

    def after_fork(self):
        """In a new process there are no helpers, and nobody who would release the lock."""
        self.lock = threading.Lock()
        if self.inside:
            self.inside = 0
            self._take_back()

    def _take_back(self):
        if self._read() == 1:
            self._set(self.before)

    @staticmethod
    def _read():
        get = _function("openblas_get_num_threads", ctypes.c_int)
        return get() if get else 0

    @staticmethod
    def _set(count):
        if count and (set_threads := _function("openblas_set_num_threads", None)):
            set_threads(count)


_products = _Products()
_of_thread = threading.local()  # `pool`: the helpers of this thread; `working`: whether it is in `parallel` itself


def _pool():
    """The calling thread's helpers, which end with it.

    One fewer than there are cores, for the caller works too. Where it only waited, Linux was seen to run all others on
    one core, and to leave the caller's idle.
    """
    size = threads() - 1
    if getattr(_of_thread, "size", 0) != size:
        _of_thread.pool, _of_thread.size = ThreadPoolExecutor(size, "numpygpt", _begin_work), size
    return _of_thread.pool


def _begin_work():
    _of_thread.working = True


def _after_fork():
    global _of_thread
    _of_thread = threading.local()  # the pools' threads were left behind
    _products.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)


def _cores():
    """How many cores this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _function(name, restype):
    here = Path(np.__file__).parent
    for folder in _FOLDERS:
        for file in (here / folder).glob("*openblas*"):
            library = ctypes.CDLL(str(file))
            for spelling in _SPELLINGS:
                if hasattr(library, spelling.format(name)):
                    function = getattr(library, spelling.format(name))
                    function.restype = restype
                    return function
    return None
