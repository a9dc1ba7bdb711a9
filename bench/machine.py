"""Describe the machine, and measure its rates."""

import importlib.util
import os
import platform
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from numpygpt.system import blas
from numpygpt.system.errors import InputError

from .turns import timed

# Each of these changes the speed of a linear-algebra library.
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS")
OVERRIDES += ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = {"sklearn": "scikit-learn"}  # what pip calls a library, if not by its name


def overrides(environment):
    """Return which of OVERRIDES are set in the environment."""
    return [name for name in OVERRIDES if name in environment]


def installed(library):
    """Return whether a module can be imported, without importing it."""
    return importlib.util.find_spec(library) is not None


def need(*libraries):
    """Raise InputError if one of the libraries is missing."""
    names = [PACKAGES.get(library, library) for library in libraries]
    if not all(map(installed, libraries)):
        raise InputError(f"this needs {' and '.join(names)}: pip install {' '.join(names)}")


def describe():
    """Return one sentence on processor, libraries, kernel and threads."""
    parts = [f"{_processor()}, {os.cpu_count()} cores", f"NumPy {np.__version__} on {blas.describe()}"]
    if installed("torch"):
        import torch

        parts.append(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    if installed("transformers"):
        parts.append(f"transformers {version('transformers')}")
    return "; ".join([*parts, f"Python {platform.python_version()}"])


ROUNDS = 15  # repetitions of each rate; the median is used
ARRAY = 1 << 28  # bytes of an array larger than any cache


class Rates:
    """This machine's rates on all cores, measured on first use.

    products   floating-point operations a second of one large product: 960 rows by the MLP's first matrix
    reading    bytes a second that a dot product reads
    copying    bytes a second that a copy reads and writes, both counted
    """

    @cached_property
    def products(self):
        a, b = (np.random.default_rng(123).standard_normal(shape, np.float32) for shape in ((960, 768), (768, 3072)))
        out = np.empty((960, 3072), np.float32)
        return 2 * len(a) * b.size / _seconds(lambda: np.matmul(a, b, out=out))

    @cached_property
    def reading(self):
        return ARRAY / _seconds(lambda: blas.parallel(lambda part: part @ part, self._parts))

    @cached_property
    def copying(self):
        copies = [np.empty_like(part) for part in self._parts]
        work = list(zip(copies, self._parts))
        return 2 * ARRAY / _seconds(lambda: blas.parallel(lambda pair: np.copyto(*pair), work))

    @cached_property
    def _parts(self):
        return np.array_split(np.ones(ARRAY // 4, np.float32), blas.threads())

    def said(self):
        """Return one sentence on all three rates."""
        return (
            f"This machine in the same run: products at {self.products / 1e9:.0f} GFLOP/s; memory read at "
            f"{self.reading / 1e9:.1f} GB/s, copied at {self.copying / 1e9:.1f} (read and written)."
        )


def _seconds(function):
    return median([timed(function)[0] for _ in range(ROUNDS + 1)][1:])


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
