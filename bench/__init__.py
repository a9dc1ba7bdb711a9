"""Measurements of numpygpt beside PyTorch. `python -m bench --help` says how to repeat them."""
