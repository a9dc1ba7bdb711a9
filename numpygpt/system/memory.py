"""What NumPy leaves to the system: how much memory there is, and when it goes back."""

import ctypes
import mmap
import os
import re
import sys
from pathlib import Path

import numpy as np

# Where a Linux container's limit stands, and what it uses: of cgroups 2 and 1
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory():
    """How many bytes programs may still take without swapping. Where the system does not tell: what the machine has,
    or 4 GB."""
    try:
        free = int(re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    except (OSError, TypeError):  # no Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 << 30
    for limit, used in _LIMITS:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # there is none: no such file, or "max"
            pass
    return max(0, free)


def keep_freed_memory():
    """Ask the C library not to hand freed arrays back to the system. Does nothing but on Linux with glibc.

    Otherwise every step gets its activations and gradients as new pages, which the system must find and fill with zeros
    first: at GPT-2's size a sixth of the time of a step that trains all layers. The parameters are mallopt(3)'s.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # musl has none
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
        mallopt(-4, 0)  # M_MMAP_MAX: no array gets a mapping of its own, which would go when it is freed


def release(array):
    """Let the system forget what it holds of the file of an array mapped from one, to be read again when it is needed.

    Does nothing where the map can be written to: one that keeps its changes for itself (np.memmap's mode "c")
    would lose them.
    """
    owner = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise"):  # Windows has none
        with memoryview(owner) as view:
            if view.readonly:
                owner.madvise(mmap.MADV_DONTNEED)
