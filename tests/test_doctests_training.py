"""The examples in the docstrings of the public names that train and measure a classifier."""

import doctest
from importlib import import_module

import pytest

from numpygpt import Classifier

MODULES = ("api.classifier", "api.run", "training.evaluation", "training.fine_tune", "training.loader")
MODULES += ("training.naive_bayes", "training.plots", "training.resume", "training.schedule")
PUBLIC = """
    encode evaluate explain frozen_blocks logits loss numbers predict save trace trainable weights
""".split()


@pytest.mark.parametrize("name", MODULES)
def test_every_example_of_the_docstrings_runs_and_prints_what_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(f"numpygpt.{name}"))
    assert tried and not failed


def test_help_shows_only_what_a_user_calls():
    assert [name for name in dir(Classifier) if not name.startswith("_")] == PUBLIC
