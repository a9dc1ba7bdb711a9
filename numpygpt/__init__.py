"""GPT-2 in NumPy alone, every gradient written by hand, fine-tuned into a text classifier."""

import os

__version__ = "0.1.0"

# OpenBLAS reads this when it is loaded, with NumPy. After a product its threads wait for the next one in a busy loop,
# for 2^26 cycles unless told, and keep the cores from the Python threads of blas.parallel; 2^18 cycles, a tenth of a
# millisecond, bridge most gaps.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")
