"""Configure a command's process. Every command imports this module first, before NumPy; the library never does.

OpenBLAS reads the variable when NumPy loads it. After a product its threads wait for the next product in a busy loop,
by default for 2^26 cycles. Meanwhile they keep the cores from the Python threads of `parallel`. 2^18 cycles, a tenth of
a millisecond, bridge most gaps.
"""

import os

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")
