"""Measurements of numpygpt beside PyTorch. `python -m bench --help` says how to repeat them."""

import numpygpt.system.process  # noqa: F401  as numpygpt's commands do, whose work is measured here
