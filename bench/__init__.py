"""Benchmarks of numpygpt and PyTorch. `python -m bench --help` shows how to repeat them."""

from numpygpt.system.command import calm_threads

calm_threads()  # before NumPy, as in numpygpt's commands, which are measured here
