"""The examples in the docstrings of the public names that train and measure a classifier."""

import doctest
from importlib import import_module

import pytest

MODULES = ("api.classifier", "api.run", "training.adamw", "training.evaluation", "training.fine_tune", "training.plots")


@pytest.mark.parametrize("name", MODULES)
def test_every_example_of_the_docstrings_runs_and_prints_what_is_written(name):
    failed, tried = doctest.testmod(import_module(f"numpygpt.{name}"))
    assert tried and not failed
