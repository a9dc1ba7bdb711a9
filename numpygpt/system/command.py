"""Provide what all commands share: one-line errors, help texts that keep their layout, and a progress line."""

import argparse
import io
import math
import os
import re
import sys
import textwrap
import time
import traceback
import warnings
from importlib import import_module

from .errors import InputError, Note
from .settings import LOADING


def parser(module, description, examples):
    """Return an ArgumentParser for `python -m numpygpt.<module>` whose help shows defaults and ends with examples."""
    return _Parser(
        prog=f"python -m numpygpt.{module}",
        description=description,
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=_Formatter,
    )


def add_heads(parser):
    """Add --heads, which belongs to a --model."""
    parser.add_argument(
        "--heads",
        type=number(LOADING["heads"]),
        metavar="N",
        help="the model's number of attention heads, if no file tells it and its width is none of GPT-2's",
    )


def refuse(parser, args, why, *names):
    """Raise InputError if one of these arguments is given: it would have no effect."""
    for name in names:
        if getattr(args, name) != parser.get_default(name):
            raise InputError(f"{why}: omit {'the text' if name == 'text' else '--' + name.replace('_', '-')}")


def add_exact(parser, part):
    """Add --exact. `part` says what a rank takes at a time."""
    parser.add_argument(
        "--exact",
        action="store_true",
        help="under mpiexec: give the same bits with any number of ranks, including 1. Each rank has one thread and "
        f"takes {part} at a time, and the gradients are summed in a fixed order",
    )


_DASHES = "\0--"  # represents a `--` that is a value; no command line contains a NUL


class _Parser(argparse.ArgumentParser):
    """A parser for which every argument after `--` is a value, even another `--`. Some versions of argparse drop it."""

    def parse_known_args(self, args=None, namespace=None):
        return super().parse_known_args(_kept(args), namespace)

    def parse_known_intermixed_args(self, args=None, namespace=None):  # newer Pythons do not call the method above
        return super().parse_known_intermixed_args(_kept(args), namespace)

    def _get_value(self, action, value):
        return super()._get_value(action, "--" if value == _DASHES else value)

    def error(self, message):
        self.exit(2, f"error: {message.replace(_DASHES, '--')} (see: {self.prog} --help)\n")


def _kept(args):
    args = list(sys.argv[1:] if args is None else args)
    after = args.index("--") + 1 if "--" in args else len(args)
    return args[:after] + [_DASHES if value == "--" else value for value in args[after:]]


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    def _fill_text(self, text, width, indent):
        """Wrap paragraphs. Keep lines that begin with a blank as they are."""
        paragraph = re.compile(r"^\S.*(\n\S.*)*", re.MULTILINE)
        return paragraph.sub(lambda found: textwrap.fill(found[0], width, break_on_hyphens=False), text)

    def _get_help_string(self, action):
        plain = action.default in (None, "") or isinstance(action.default, bool)
        return action.help if plain else super()._get_help_string(action)


def main(name, arguments):
    """Return the main(argv) of a command: read the options with arguments(argv), then call numpygpt.commands.NAME.run.

    That module is imported only then, so that --help and a wrong option do not wait for NumPy. Under `on_every_rank`,
    run has the ranks as its second argument.
    """

    def main(argv=None, *ranks):
        args = arguments(argv)
        import_module(f"numpygpt.commands.{name}").run(args, *ranks)

    return main


def run(main):
    """Configure the process, run a command's main() and exit.

    Bad input prints one line on standard error and exits with status 2.

    Ctrl-C prints one line too, with the argument of main's KeyboardInterrupt.
    """
    calm_threads()
    if isinstance(sys.stdout, io.TextIOWrapper):  # false in a notebook
        # A character that the terminal cannot show must not stop the command. Line buffering keeps the order of lines
        # if standard error goes to the same pipe or file.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        with warnings.catch_warnings():
            # NumPy's overflow warnings: a loss that is not a number has its own error.
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.showwarning = _show_warning
            try:
                main()
            finally:
                sys.stdout.flush()
        return
    except (InputError, OSError, MemoryError, KeyboardInterrupt) as error:
        status = failed(error)
    if sys.stdout is sys.__stdout__:  # Python must not write the rest again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def calm_threads():
    """Let BLAS threads that wait for work leave the cores to others. Call this before NumPy is imported.

    OpenBLAS reads the variable when NumPy loads it. After a product its threads wait for the next product in a busy
    loop, by default for 2^26 cycles. Meanwhile they keep the cores from the Python threads of `parallel`. 2^18 cycles,
    a tenth of a millisecond, bridge most gaps. Every command does this, and the library never does.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")


def failed(error):
    """Print in one line on standard error why a command ends. Return its exit status.

    An error of the program itself prints a traceback.
    """
    match error:
        case SystemExit():  # argparse has printed the reason
            return error.code
        case BrokenPipeError():  # the reader of a pipe, such as `head`, has ended
            return 0
        case OSError(filename=str() | os.PathLike(), strerror=str()):
            message = f"{os.fspath(error.filename)}: {error.strerror}"
        case InputError() | OSError():
            message = str(error)
        case MemoryError():
            message = f"out of memory ({error}); use a smaller model or batch"
        case KeyboardInterrupt():
            print("\n" + "; ".join(["interrupted", *map(str, error.args)]), file=sys.stderr)
            return 130
        case _:
            traceback.print_exception(error)
            return 1
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def colour():
    """Return whether standard output may have a terminal's colours: see https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _show_warning(message, category, *where):
    if issubclass(category, Note):
        print("note: " + " ".join(str(message).split()), file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, *where[:2]), end="", file=sys.stderr)


def number(wanted):
    """Return an argparse type: the values of a Number."""

    def parse(text):
        try:
            value = wanted.kind(text)
        except ValueError:
            value = math.nan
        if value not in wanted:
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return parse


def memory_size(text):
    """Convert "4GB", "500 MB" or "1e9" to bytes. An argparse type."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kMGT]?)B?\s*", text, re.IGNORECASE)
    try:
        return int(float(found[1]) * 1000 ** " kmgt".index(found[2].lower() or " "))
    except (TypeError, ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a size such as 4GB or 500MB, got {text!r}") from None


class Progress:
    """A live line on standard error, rewritten in place: `label 40% | 1,234 unit/s | 12 s left`.

    first   the units that were done before

    Prints nothing if standard error is not a terminal.
    """

    def __init__(self, label, unit, first=0):
        self.label, self.unit, self.first = label, unit, first
        self.started, self.shown, self.live = time.monotonic(), 0.0, sys.stderr.isatty()

    def __call__(self, done, total, note=""):
        now = time.monotonic()
        if not self.live or (now - self.shown < 0.1 and done < total):
            return
        self.shown = now
        rate = (done - self.first) / max(now - self.started, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        line = f"{self.label} {done / total:4.0%} | {rate:,.0f} {self.unit}/s | {left:.0f} s left{note}"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)

    def clear(self):
        """Remove the line. Call this before you print something else."""
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
