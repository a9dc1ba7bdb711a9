"""The linear-algebra library inside NumPy: its name, its kernel and its threads decide how fast everything here is."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

# Where NumPy's wheels put OpenBLAS, and how its functions are spelled there (64-bit integers, a prefix of their own).
_FOLDERS = ("../numpy.libs", ".dylibs")
_SPELLINGS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


def describe():
    """One phrase, such as `OpenBLAS SkylakeX, 2 threads`; only the name where NumPy came with another library."""
    core = _function("get_corename", ctypes.c_char_p)
    if core is None:
        return np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    return f"OpenBLAS {core().decode()}, {threads()} thread{'s' * (threads() != 1)}"


def threads():
    """How many threads a matrix product may use, or 1 where that cannot be told."""
    count = _function("get_num_threads", ctypes.c_int)
    return count() if count else 1


def parallel(function, items):
    """list(map(function, items)), on as many Python threads as the BLAS has,
    each of whose products is then single-threaded.

    For work that splits into independent parts this keeps every core busy all the time, in the elementwise
    operations too (NumPy releases the interpreter's lock in both), where a product split over threads leaves all
    but one core idle between products.
    """
    items, count, set_threads = list(items), threads(), _function("set_num_threads", None)
    if count == 1 or len(items) < 2 or set_threads is None:
        return list(map(function, items))
    set_threads(1)
    try:
        return list(_pool(count).map(function, items))
    finally:
        set_threads(count)


_pool = cache(ThreadPoolExecutor)


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
