"""The list of commands, their help, and the effects of importing the package."""

import contextlib
import importlib
import os
import re
from configparser import ConfigParser

import pytest

from numpygpt import __main__ as listing
from numpygpt import classify, generate
from numpygpt.system.errors import InputError
from tests.calls import PACKAGE, output, python


def test_every_command_is_listed_with_its_description(capsys):
    listing.main([])
    shown = capsys.readouterr().out
    listing.main(["--help"])
    assert capsys.readouterr().out == shown
    named = {path.stem for path in PACKAGE.glob("*.py") if "command.run(main)" in path.read_text("utf-8")}
    assert set(listing.commands()) == named - {"__main__"}
    for name in listing.commands():
        assert re.search(rf"^  {name} +\w", shown, re.MULTILINE), name


def test_a_command_can_be_called_by_its_name(made, capsys):
    asked = [str(made / "run"), "win a prize"]
    answer = output(capsys, classify.main, *asked)
    assert output(capsys, listing.main, "classify", *asked) == answer
    process = python("-m", "numpygpt", "classify", *asked)
    assert process.communicate() == (answer.encode(), b"") and process.returncode == 0
    for called in (("numpygpt", "classify"), ("numpygpt.classify",)):
        process = python("-m", *called, "--none")
        error = b"error: the following arguments are required: run (see: python -m numpygpt.classify --help)\n"
        assert process.communicate() == (b"", error) and process.returncode == 2


def test_the_console_script_shows_the_list_of_commands():
    config = ConfigParser()
    config.read(PACKAGE.parent / "setup.cfg")
    name, target = config["options.entry_points"]["console_scripts"].strip().split(" = ")
    module, function = target.split(":")
    script = f"import sys, {module}; sys.argv = [{name!r}, 'generat']; sys.exit({module}.{function}())"
    process = python("-c", script)
    assert process.communicate() == (b"", b"error: 'generat' is not a command of numpygpt: did you mean generate?\n")
    assert (name, process.returncode) == ("numpygpt", 2)
    with pytest.raises(InputError, match="'zzz' is not a command of numpygpt: the commands are train, evaluate, "):
        listing.main(["zzz"])


@pytest.mark.parametrize("name", listing.commands())
def test_help_explains_every_option_with_its_default(capsys, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit) as exit:
        importlib.import_module(f"numpygpt.{name}").main(["--help"])
    shown = capsys.readouterr().out
    assert exit.value.code == 0
    assert not re.search(r"%\(|%[sdr%]|\(default: (None|True|False|==SUPPRESS==)?\)", shown)
    described = re.split(r"^  (?=\S)", shown.split("options:")[1].split("examples:")[0], flags=re.MULTILINE)
    assert all(re.search(r"\S(  |\n {10}) *\S", option) for option in described[1:]), "an option has no help text"
    assert f"  python -m numpygpt.{name}" in shown.split("examples:")[1]


@pytest.mark.parametrize("called", [f"numpygpt.{name}" for name in listing.commands()] + ["numpygpt", "bench"])
def test_help_fits_a_terminal_of_80_columns(capsys, called, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    module = {"numpygpt": listing}.get(called) or importlib.import_module(called.replace("bench", "bench.__main__"))
    with contextlib.suppress(SystemExit):
        getattr(module, "arguments", module.main)(["--help"])
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) > 9 and [line for line in shown.splitlines() if len(line) > 80] == []
    if called == "bench":
        assert all(f"\n  {subject} " in shown for subject in module.SUBJECTS), "the lines of the list run together"


def test_a_default_of_one_is_shown(capsys):
    with pytest.raises(SystemExit):
        generate.main(["--help"])
    assert "(default: 1.0)" in capsys.readouterr().out


SETTING = "import os; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"


def test_importing_the_package_has_no_side_effects(tmp_path):
    script = (
        "import os, sys; before = dict(os.environ); import numpygpt; "
        "print(before == dict(os.environ), 'numpy' in sys.modules, 'pandas' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    assert python("-c", script, env=clean).communicate() == (b"True False False\n", b"")
    (tmp_path / "other.py").write_text(script)
    clean["PYTHONPATH"] = str(PACKAGE.parent)
    assert python("-m", "other", cwd=tmp_path, env=clean).communicate() == (b"True False False\n", b"")


@pytest.mark.parametrize("called", ["-m numpygpt.generate", "-mnumpygpt.generate", "-m numpygpt generate", "console"])
def test_a_command_limits_openblas_busy_waiting_before_numpy_is_loaded(tmp_path, called):
    (tmp_path / "numpy.py").write_text(SETTING)  # imported instead of NumPy
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    clean["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])
    if called == "console":
        called = ["-c", "import sys; sys.argv[1:] = ['generate']; from numpygpt.__main__ import script; script()"]
    else:
        called = called.split()
    assert python(*called, env=clean).communicate()[0].split()[:1] == [b"18"]
    kept = clean | {"OPENBLAS_THREAD_TIMEOUT": "25"}
    assert python(*called, env=kept).communicate()[0].split()[:1] == [b"25"], "the user's own setting is kept"
