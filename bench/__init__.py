"""Measurements of numpygpt beside PyTorch. `python -m bench --help` says how to repeat them."""

from numpygpt.system.command import shorten_busy_waits

shorten_busy_waits()  # as numpygpt's commands do, whose work is measured here
