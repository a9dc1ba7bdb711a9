"""Imports only go down the list of rooms, and no files import each other in a circle."""

import ast
from pathlib import Path

import numpygpt

PACKAGE = Path(numpygpt.__file__).parent
# From top to bottom. A room may import from itself and from lower rooms, except for the pairs in APART.
ROOMS = ("commands", "api", "study", "explain", "training", "checkpoints", "text", "model", "ops", "system", "assets")
APART = {("ops", "system")}


def modules():
    """Return {dotted name: path} of every file of the package."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name):
    """Return the package's modules that this one imports, anywhere in its text."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, [base, node.module]))
            targets = [f"{base}.{alias.name}" for alias in node.names] + [base]
        else:
            continue
        for target in targets:
            if target.split(".")[0] == "numpygpt" and target in MODULES and target != package:
                yield target


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "commands"


GRAPH = {name: set(imported(name)) - {"numpygpt"} for name in MODULES if name != "numpygpt"}


def test_every_folder_is_in_the_list_of_rooms():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)


def test_imports_go_only_down_the_list_of_rooms():
    up = [
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if ROOMS.index(room(target)) < ROOMS.index(room(name)) or (room(name), room(target)) in APART
    ]
    assert not up, "\n".join(sorted(up))


def test_no_files_import_each_other_in_a_circle():
    left = {name: set(targets) for name, targets in GRAPH.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    assert not left, sorted(left)
