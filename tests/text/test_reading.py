import argparse

import pytest

from numpygpt import evaluate, experiments, train
from numpygpt.text.reading import add_options, as_options, reading

OPTIONS = ["--text-column", "2", "--label-column", "kind", "--no-header", "--encoding", "iso8859-1"]
SETTINGS = {"text_column": "2", "label_column": "kind", "no_header": True, "encoding": "iso8859-1"}


@pytest.mark.parametrize("command, before", [(train, []), (evaluate, ["run", "data"]), (experiments, [])])
def test_all_commands_that_read_messages_share_their_options(command, before):
    assert reading(command.arguments([*before, *OPTIONS])) == SETTINGS


def test_reading_options_can_be_passed_to_another_command():
    parser = argparse.ArgumentParser()
    add_options(parser)
    for options in ([], OPTIONS, OPTIONS[:4], ["--text-column=-x"], ["--encoding", "utf-8"]):
        args = parser.parse_args(options)
        assert parser.parse_args(as_options(args)) == args
