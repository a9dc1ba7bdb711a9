"""Commands import few modules, because a user waits for each. pandas alone takes a quarter of a second."""

import subprocess
import sys

import pytest

from numpygpt.__main__ import commands

HEAVY = ("pandas", "matplotlib", "sklearn", "torch", "ssl", "urllib.request", "http.client", "email")
MOST = 340  # modules of Python, numpygpt and others, without NumPy's own
MOST_FOR_HELP = 190

SCRIPT = """if True:
    import importlib, sys
    command, *arguments = sys.argv[1:]
    try:
        importlib.import_module(f"numpygpt.{command}").main(arguments)
    except SystemExit:
        pass
    others = [name for name in sys.modules if not name.startswith("numpy.")]  # old versions of NumPy import more
    print(len(others), *others, file=sys.stderr)
"""


def imported(command, *arguments):
    """Return the names of the modules that a command imports."""
    call = [sys.executable, "-c", SCRIPT, command, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    count, *names = done.stderr.split()
    assert done.stdout
    return int(count), set(names)


@pytest.mark.parametrize("command", commands())
def test_help_imports_neither_numpy_nor_what_runs_the_command(command):
    count, names = imported(command, "--help")
    assert count < MOST_FOR_HELP and not names & {*HEAVY, "numpy", "tiktoken", "numpygpt.commands"}


def test_classify_imports_neither_pandas_nor_network_modules_nor_study(made):
    for options in ([], ["--explain"]):
        count, names = imported("classify", made / "run", "win a prize", *options)
        assert count < MOST and not names & {*HEAVY} and "numpy" in names
        assert not any(name.startswith("numpygpt.study") for name in names)


def test_generate_with_the_bundled_model_imports_no_network_modules():
    count, names = imported("generate", "Thank you", "--tokens", "1")
    assert count < MOST and not names & {*HEAVY}


@pytest.mark.parametrize("command, arguments", [("lesson", []), ("exercise", []), ("trace", ["--op"])])
def test_a_list_of_what_to_learn_imports_no_model(command, arguments):
    count, names = imported(command, *arguments)
    assert count < MOST and not names & {*HEAVY, "numpygpt.api.classifier", "numpygpt.checkpoints.load"}
