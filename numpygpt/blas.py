"""The linear-algebra library inside NumPy: its name, its kernel and its threads decide how fast everything here is."""

import ctypes
from pathlib import Path

import numpy as np

# Where NumPy's wheels put it, and how its functions are spelled there (64-bit integers, a prefix of their own).
_FOLDERS = ("../numpy.libs", ".dylibs")
_SPELLINGS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


def describe():
    """One phrase, such as `OpenBLAS SkylakeX, 2 threads`; less where NumPy came with another library."""
    name = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    core, threads = _function("get_corename", ctypes.c_char_p), _function("get_num_threads", ctypes.c_int)
    if core is None or threads is None:
        return name
    return f"OpenBLAS {core().decode()}, {threads()} thread{'s' * (threads() != 1)}"


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
