"""The examples of what docstrings tell people to call, besides numpygpt.__all__; and what help(Classifier) shows."""

import doctest
from importlib import import_module

import pytest

from numpygpt import Classifier

MODULES = ("evaluation", "loader", "naive_bayes", "resume", "schedule")
PUBLIC = """
    encode evaluate explain frozen_blocks logits loss numbers predict save trace trainable unseen
""".split()


@pytest.mark.parametrize("name", MODULES)
def test_every_example_of_the_docstrings_runs_and_prints_what_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(f"numpygpt.training.{name}"))
    assert tried and not failed


def test_help_shows_only_what_a_user_calls():
    assert [name for name in dir(Classifier) if not name.startswith("_")] == PUBLIC
