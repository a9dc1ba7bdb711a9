"""What the measurements ran on."""

import importlib.util
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from numpygpt.system import blas

# Each of these makes a linear-algebra library slower or faster than it is by itself.
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def overrides(environment):
    """Which of OVERRIDES are set in the environment."""
    return [name for name in OVERRIDES if name in environment]


def installed(library):
    """Whether Python could import it, without doing so."""
    return importlib.util.find_spec(library) is not None


def describe():
    """One sentence on processor, libraries, kernel and threads."""
    parts = [f"{_processor()}, {os.cpu_count()} cores", f"NumPy {np.__version__} on {blas.describe()}"]
    if installed("torch"):
        import torch

        parts.append(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    if installed("transformers"):
        parts.append(f"transformers {version('transformers')}")
    return "; ".join([*parts, f"Python {platform.python_version()}"])


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
