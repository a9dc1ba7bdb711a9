"""python -m tests.mutation: change one operator, constant or comparison at a time, and see whether a test fails.

Each change is made in a copy of the tree. The tests nearest to the changed file run first, then all tests that a fresh
clone runs without external data, each time until one fails. A change without a failing test is a survivor. It shows a
missing test, or it has no effect that matters.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
ROOMS = ("numpygpt/ops", "numpygpt/model", "numpygpt/training")
NEAREST = {  # quick tests that are likely to fail
    "ops": ("tests/ops", "tests/test_gradcheck.py", "tests/test_golden.py"),
    "model": ("tests/model", "tests/test_golden.py"),
    "training": ("tests/training", "tests/test_golden.py"),
}
LIMIT = 5  # a change counts as noticed when the tests take this many times as long as without it

OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.USub: ("-", "+"),
    ast.Not: ("not", ""),
}


@dataclass(frozen=True)
class Change:
    """A replacement of the bytes start … end of a file."""

    path: str
    content: bytes  # of the unchanged file
    start: int
    end: int
    new: bytes

    def __str__(self):
        line = self.content.count(b"\n", 0, self.start)
        before, after = (content.split(b"\n")[line].strip() for content in (self.content, self.changed()))
        return f"{self.path}:{line + 1}: {before.decode()}\n    became {after.decode()}"

    def changed(self):
        return self.content[: self.start] + self.new + self.content[self.end :]


def changes(path):
    """Return every Change of a file's computations, without annotations, messages and other texts."""
    content = (ROOT / path).read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(line, column):
        return starts[line - 1] + column

    def operator(op, start, end):
        """Yield the change of an operator. Only brackets and comments surround it between its operands."""
        old, new = OPERATORS[type(op)]
        gap = re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment[0]), content[start:end])
        word = rb"\b" if old[0].isalpha() else b""
        found = re.search(word + re.escape(old.encode()).replace(rb"\ ", rb"\s+") + word, gap)
        yield Change(path, content, start + found.start(), start + found.end(), new.encode())

    def between(op, left, right):
        if type(op) in OPERATORS:
            end, start = place(left.end_lineno, left.end_col_offset), place(right.lineno, right.col_offset)
            yield from operator(op, end, start)

    def visit(node):
        match node:
            case ast.BinOp():
                yield from between(node.op, node.left, node.right)
            case ast.AugAssign():
                yield from between(node.op, node.target, node.value)
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators):
                    yield from between(op, left, right)
            case ast.BoolOp():
                yield from between(node.op, *node.values[:2])
            case ast.UnaryOp(op=ast.USub() | ast.Not()):
                start = place(node.lineno, node.col_offset)
                yield from operator(node.op, start, place(node.operand.lineno, node.operand.col_offset))
            case ast.Constant(value=bool() | int() | float() as value):
                number = value + 1 if isinstance(value, int) else 2 * value or 1.0
                new = repr(not value if isinstance(value, bool) else number)
                start, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
                yield Change(path, content, start, end, new.encode())
        for field, children in ast.iter_fields(node):
            if field in ("annotation", "returns") or isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import)):
                continue
            for child in children if isinstance(children, list) else [children]:
                if isinstance(child, ast.AST):
                    yield from visit(child)

    return list(visit(ast.parse(content)))


def nearest_tests(change):
    """Return the tests to run first: those that mirror the changed file's room."""
    return NEAREST[change.path.split("/")[1]]


class Tree:
    """A copy of the project, in which one change at a time is made and tested."""

    def __init__(self, folder):
        self.root = Path(folder)
        files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT).decode().split("\0")[:-1]
        for file in filter(lambda file: (ROOT / file).is_file(), files):
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, self.root / file)
        self.limits = {}

    def passes(self, tests, others=()):
        """Return whether the tests pass, or None if they take too long.

        tests    the tests to run; none means all
        others   tests to leave out
        """
        environment = os.environ | {"NUMPYGPT_SHARED": os.devnull, "PYTHONPATH": str(self.root)}
        environment["PYTHONDONTWRITEBYTECODE"] = (
            "1"  # a file changed twice within a second could be mistaken for its first version
        )
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        command += [f"--ignore={path}" for path in others]
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            passed = process.wait(self.limits.get(tests)) == 0
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the tests start processes themselves
                process.wait()
        self.limits.setdefault(tests, LIMIT * (time.monotonic() - started))
        return passed

    def outcome(self, change):
        """Return the outcome of a change: "noticed", "too slow" or "survived"."""
        path = self.root / change.path
        path.write_bytes(change.changed())
        try:
            nearest = nearest_tests(change)
            for tests, others in ((nearest, ()), ((), nearest)):
                passed = self.passes(tests, others)
                if not passed:
                    return "too slow" if passed is None else "noticed"
            return "survived"
        finally:
            path.write_bytes(change.content)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", nargs="*", default=ROOMS, help=f"files or folders to change (default: {', '.join(ROOMS)})"
    )
    parser.add_argument("--count", type=int, default=100, help="changes, drawn from all that are possible")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing")
    parser.add_argument("--jobs", type=int, default=1, help="at a time")
    args = parser.parse_args()

    files = [
        file
        for path in args.paths
        for file in ([ROOT / path] if path.endswith(".py") else sorted((ROOT / path).glob("*.py")))
    ]
    possible = [change for file in files for change in changes(str(file.relative_to(ROOT)))]
    drawn = random.Random(args.seed).sample(possible, min(args.count, len(possible)))
    print(f"{len(drawn)} of {len(possible)} possible changes", flush=True)
    with TemporaryDirectory(prefix="mutation-") as folder:
        trees, free = [Tree(Path(folder) / str(job)) for job in range(args.jobs)], SimpleQueue()
        for tests in {nearest_tests(change) for change in drawn} | {()}:
            with ThreadPoolExecutor(args.jobs) as pool:
                if not all(pool.map(lambda tree, tests=tests: tree.passes(tests), trees)):
                    sys.exit(f"the tests fail without any change: pytest {' '.join(tests)}")
        for tree in trees:
            free.put(tree)

        def try_out(change):
            tree = free.get()
            try:
                return tree.outcome(change)
            finally:
                free.put(tree)

        outcomes = []
        with ThreadPoolExecutor(args.jobs) as pool:
            for number, (change, outcome) in enumerate(zip(drawn, pool.map(try_out, drawn)), 1):
                outcomes.append(outcome)
                print(f"{number:>4} {outcome:<9} {change}", flush=True)
    survivors = [change for change, outcome in zip(drawn, outcomes) if outcome == "survived"]
    slow = outcomes.count("too slow")
    print(f"\n{len(drawn) - len(survivors)} of {len(drawn)} noticed, {slow} of them by the time limit")
    for change in survivors:
        print(f"survived: {change}")


if __name__ == "__main__":
    main()
