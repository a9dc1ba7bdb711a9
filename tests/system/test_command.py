"""A command's exit status, arguments and progress line."""

import contextlib
import io
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from numpygpt.system import command
from numpygpt.system.errors import InputError  # noqa: F401 -- what exec() below raises
from numpygpt.system.settings import Number
from tests.calls import python


@pytest.mark.parametrize(
    "body, status, error",
    [
        ("pass", 0, ""),
        ("raise InputError('two\\nlines')", 2, "error: two lines\n"),
        ("open('absent')", 2, "error: absent: No such file or directory\n"),
        ("raise OSError('no name')", 2, "error: no name\n"),
        ("raise MemoryError('1 TiB')", 2, "error: out of memory (1 TiB); use a smaller model or batch\n"),
        ("raise KeyboardInterrupt", 130, "\ninterrupted\n"),
        ("raise BrokenPipeError", 0, ""),
        ("sys.exit(1)", 1, ""),
        ("import warnings; warnings.warn('overflow', RuntimeWarning)", 0, ""),
        ("import warnings; warnings.warn('two\\nlines', Note)", 0, "note: two lines\n"),
        ("import warnings; warnings.warn_explicit('odd', UserWarning, 'file', 3)", 0, "file:3: UserWarning: odd\n"),
    ],
)
def test_each_end_of_a_command_has_its_exit_status_and_one_line(body, status, error):
    script = (
        f"import sys\nfrom numpygpt.system import command\nfrom numpygpt.system.errors import InputError, Note\n"
        f"def main():\n    print('printed before')\n    {body}\ncommand.run(main)"
    )
    process = python("-c", script)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (status, b"printed before\n", error.encode())


def test_stdout_and_stderr_in_one_pipe_keep_their_order():
    script = (
        "import sys, warnings\nfrom numpygpt.system import command\nfrom numpygpt.system.errors import Note\n"
        "def main():\n    print('one')\n    warnings.warn('two', Note)\n    print('three')\ncommand.run(main)"
    )
    process = python("-c", script, stderr=subprocess.STDOUT)
    assert process.communicate()[0] == b"one\nnote: two\nthree\n"


def test_a_character_the_terminal_cannot_show_is_escaped():
    script = "from numpygpt.system import command\ncommand.run(lambda: print('\\xe9\\udcff'))"
    process = python("-c", script, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert process.communicate() == (b"\\xe9\\udcff\n", b"")


@pytest.mark.parametrize("body, status", [("print('shown')", None), ("raise InputError('bad')", 2)])
def test_a_command_runs_without_a_real_standard_output(body, status, capsys):
    out, filters = io.StringIO(), list(warnings.filters)
    with contextlib.redirect_stdout(out):
        try:
            command.run(lambda: exec(body, globals()))
            code = None
        except SystemExit as exit:
            code = exit.code
    assert code == status and (out.getvalue() == "shown\n") == (status is None)
    assert capsys.readouterr().err == ("" if status is None else "error: bad\n")
    assert warnings.filters == filters
    print("goes on", flush=True)
    assert capsys.readouterr().out == "goes on\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_failed_write_to_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        process = python("-m", "numpygpt", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2 and re.fullmatch(rb"error: .*No space left on device\n", err)


@pytest.mark.parametrize(
    "text, size", [("0", 0), ("4GB", 4 * 10**9), ("1.5 mb", 1_500_000), ("1e3", 1000), ("2T", 2 * 10**12)]
)
def test_a_size_with_a_unit_is_read_in_bytes(text, size):
    assert command.memory_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4 gigabytes", "1.2.3", "1e999", "4GiB"])
def test_an_invalid_size_is_refused(text):
    with pytest.raises(Exception, match="expected a size such as 4GB or 500MB, got"):
        command.memory_size(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "nan", "9" * 5000])
def test_a_number_out_of_range_is_refused(text):
    with pytest.raises(Exception, match="expected a whole number at least 1 and at most 9, got"):
        command.number(Number(int, 1, 9))(text)


def test_numbers_at_the_bounds_are_accepted():
    assert command.number(Number(int, 1, 9))("9") == 9 and command.number(Number(float, 0))("0") == 0
    with pytest.raises(Exception, match="expected a number above 0, got '0'"):
        command.number(Number(float, 0, above=True))("0")
    with pytest.raises(Exception, match="expected a number at least 0, got 'nan'"):
        command.number(Number(float, 0))("nan")


@pytest.mark.parametrize(
    "arguments, values",
    [
        ("one", ("one", [])),
        ("one --", ("one", [])),
        ("one two three", ("one", ["two", "three"])),
        ("one -- hello --", ("one", ["hello", "--"])),
        ("one -- --", ("one", ["--"])),
        ("one two -- -- three", ("one", ["two", "--", "three"])),
        ("-- one -- --flag -x", ("one", ["--", "--flag", "-x"])),
    ],
)
def test_arguments_after_two_dashes_are_values(arguments, values):
    parser = command.parser("name", "what it does", [])
    parser.add_argument("first", type=Path)
    parser.add_argument("rest", nargs="*", default=[])
    parser.add_argument("--flag", action="store_true")
    found = parser.parse_args(arguments.split())
    assert (str(found.first), found.rest) == values and not found.flag


def test_surplus_arguments_after_two_dashes_are_refused_unchanged(capsys):
    parser = command.parser("name", "what it does", [])
    parser.add_argument("only")
    with pytest.raises(SystemExit):
        parser.parse_args(["--", "one", "--"])
    assert "unrecognized arguments: --" in capsys.readouterr().err


def test_help_wraps_paragraphs_and_keeps_lists(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    command.parser(
        "name", "one\ntwo --as-long as-it gets, and more words\n\n  a list,   kept as it is, wide or not\nend", []
    ).print_help()
    assert (
        "one two --as-long as-it gets, and more\nwords\n\n  a list,   kept as it is, wide or not\nend\n"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_only_on_a_terminal_and_can_be_removed(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    progress = command.Progress("frozen blocks", "tokens")
    progress(50, 200, " | note")
    progress.clear()
    shown = capsys.readouterr().err
    assert bool(shown) == terminal
    if terminal:
        assert re.fullmatch(r"\r\x1b\[Kfrozen blocks  25% \| [\d,]+ tokens/s \| \d+ s left \| note\r\x1b\[K", shown)


def test_the_rate_of_resumed_work_excludes_earlier_work(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    command.Progress("file", "kB", first=500)(600, 1000)
    assert capsys.readouterr().err.endswith("file  60% | 10 kB/s | 40 s left")
