"""Benchmarks of numpygpt and PyTorch. `python -m bench --help` shows how to repeat them."""

import numpygpt.system.process  # noqa: F401  before NumPy, as in numpygpt's commands, which are measured here
