"""Measurements of numpygpt beside PyTorch. `python -m bench --help` says how to repeat them."""



shorten_busy_waits()  # as numpygpt's commands do, whose work is measured here
