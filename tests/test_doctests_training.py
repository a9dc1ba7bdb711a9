"""Docstring examples outside numpygpt.__all__ run, and help(Classifier) shows only public methods."""

import doctest
from importlib import import_module

import pytest

from numpygpt import Classifier

MODULES = ("evaluation", "loader", "naive_bayes", "resume", "schedule")
PUBLIC = """
    because encode evaluate explain frozen_blocks logits loss numbers predict save trace trainable unseen
""".split()


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run_and_print_the_shown_output(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(import_module(f"numpygpt.training.{name}"))
    assert tried and not failed


def test_help_shows_only_public_methods():
    assert [name for name in dir(Classifier) if not name.startswith("_")] == PUBLIC
