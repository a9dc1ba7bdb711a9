"""The linear-algebra library inside NumPy: its name, its kernel and its threads decide how fast everything here is."""

import ctypes
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path

import numpy as np
from numpy.linalg import _umath_linalg

from .errors import InputError, counted

# The libraries whose number of threads can be read and set, and their functions for it
_LIBRARIES = {
    "OpenBLAS": ("openblas_get_num_threads", "openblas_set_num_threads"),
    "MKL": ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    "BLIS": ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
}
# How OpenBLAS's functions are spelled in NumPy's wheels (a prefix, 64-bit integers) and elsewhere
_SPELLINGS = ("scipy_{}64_", "scipy_{}", "{}64_", "{}")
# Where NumPy's wheels put their library. On Windows it cannot be reached through NumPy's extension module.
_FOLDERS = ("../numpy.libs", ".dylibs")
# The variables that tell a library its number of threads when it is loaded
_KINDS = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "BLIS_NUM", "VECLIB_MAXIMUM")
_VARIABLES = tuple(f"{kind}_THREADS" for kind in _KINDS)


def describe():
    """Return a phrase: `OpenBLAS SkylakeX, 2 threads`; `accelerate with its own threads, 8 threads for the rest`."""
    count = threads()
    plural = counted(count, "thread")
    library = _library()
    if library is None:
        return f"{_name()} with its own threads, {plural} for the rest"
    core = _function("openblas_get_corename", ctypes.c_char_p)
    return f"{library}{' ' + core().decode() if core else ''}, {plural}"


def threads():
    """Return how many threads `parallel` works on when called here.

    As many as the BLAS is set to. Where its threads cannot be read: as many as OMP_NUM_THREADS or a similar variable
    says, else as this process may use cores. Inside `parallel`: 1.
    """
    if getattr(_of_thread, "working", False):
        return 1
    return _products.threads() or next(_told(_VARIABLES), 0) or _cores()


def set_threads(count):
    """Set how many threads the BLAS has. A library whose threads cannot be set keeps its own."""
    _products._set(count)


def one_thread_for_exact():
    """Give the BLAS one thread, so that the last bits of a product do not depend on the machine's cores.

    Raises InputError where that cannot be done: the bits would then not be those that --exact promises.
    """
    # Accelerate reads VECLIB_MAXIMUM_THREADS only, and no other library reads it.
    variables = [name for name in _VARIABLES if name.startswith("VECLIB") == (_name() == "accelerate")]
    if _library() is None and set(_told(variables)) != {1}:
        raise InputError(
            f"--exact: the threads of NumPy's {_name()} cannot be set from here. Leave --exact out, or set "
            f"{variables[0]}=1 and no other number of threads"
        )
    set_threads(1)


def parallel(function, items):
    """list(map(function, items)), on as many Python threads as the BLAS has, each of whose products has one thread. The
    calling thread is one of them.

    For work that splits into independent parts this keeps every core busy all the time, in the elementwise operations
    too (NumPy releases the interpreter's lock in both). A product split over threads leaves all but one core idle
    between products.

    Called inside `function`, it is a plain loop. Several threads of a program may call it at once; each has helpers of
    its own. Of errors the first item's is raised, as in a loop, and like Ctrl-C only when what was begun has ended.

    A BLAS has one number of threads for the whole process: while anything here is worked on, the products of the
    program's other threads have one thread, too. The number comes back with the end of the last item, unless someone
    has set another meanwhile. A library whose threads cannot be set (Accelerate) splits its products as it likes.
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


def start(function, *args):
    """Start function(*args) on another core, if one is idle because of `one_thread`.

    Return a function that gives the result: it waits, or calls the function itself if no core has begun it. Return None
    where no core is known to be idle: outside `one_thread`, inside `parallel`, and with one thread.
    """
    if not _products.inside or threads() < 2:
        return None
    future = _pool().submit(function, *args)
    return lambda: function(*args) if future.cancel() else future.result()


class _Products:
    """`with` this, products take one thread each: the first to enter sets it, the last to leave takes it back."""

    def __init__(self):
        self.lock, self.inside, self.before = threading.Lock(), 0, 1

    def threads(self):
        """Return the library's number of threads, as it is when nobody is inside; 0 where it cannot be read."""
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
        library = _library()
        return _function(_LIBRARIES[library][0], ctypes.c_int)() if library else 0

    @staticmethod
    def _set(count):
        library = _library()
        if count and library:
            _function(_LIBRARIES[library][1], None)(count)


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


def _told(variables):
    """Yield the numbers of threads that these environment variables ask for."""
    counts = (os.environ.get(name, "") for name in variables)
    return (int(count) for count in counts if count.isdecimal())


def _library():
    """Return the name of NumPy's BLAS in _LIBRARIES, or None where its threads cannot be set."""
    return next((name for name, (_, set_) in _LIBRARIES.items() if _function(set_, None)), None)


def _name():
    """Return what NumPy was built with."""
    return np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


@cache
def _function(name, restype):
    """Return a function of the BLAS that NumPy uses, or None. ctypes gets numbers only, never an array."""
    for library in _loaded():
        for spelling in _SPELLINGS:
            if hasattr(library, spelling.format(name)):
                function = getattr(library, spelling.format(name))
                function.restype = restype
                return function
    return None


def _loaded():
    """Yield the libraries to look in: NumPy's extension module, through which all that it is linked to can be found,
    and the library beside it in a wheel."""
    yield ctypes.CDLL(_umath_linalg.__file__)
    here = Path(np.__file__).parent
    for folder in _FOLDERS:
        for file in (here / folder).glob("*openblas*"):
            yield ctypes.CDLL(str(file))
