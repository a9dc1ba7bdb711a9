"""Call a command from a test, and damage its input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numpygpt
from numpygpt.system.errors import InputError

PACKAGE = Path(numpygpt.__file__).parent


def refusal(capsys, main, *arguments):
    """Return the one-line error with which a command refuses its arguments."""
    capsys.readouterr()
    try:
        main([str(argument) for argument in arguments])
    except (InputError, OSError) as error:  # command.run prints the error on one line, as its tests check
        return str(error)
    except SystemExit as exit:
        shown = capsys.readouterr()
        assert exit.code == 2 and shown.out == "" and re.fullmatch("error: .*\n", shown.err)
        return shown.err
    pytest.fail("it was not refused")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def output(capsys, main, *arguments):
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def python(*arguments, **settings):
    settings = (
        dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PACKAGE.parent) | settings
    )
    return subprocess.Popen([sys.executable, *map(str, arguments)], **settings)


def spoil(path, change):
    path = Path(path)
    path.write_bytes(change(path.read_bytes()))


def set_in(path, **entries):
    spoil(path, lambda content: json.dumps(json.loads(content) | entries).encode())
