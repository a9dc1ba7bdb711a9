"""Write an exercise, show a hint or its solution, or list the exercises."""

import difflib
import textwrap
from pathlib import Path

from ..study import exercises
from ..study.checking.progress import states
from ..system.errors import InputError


def run(args):
    if args.name is None:
        show_list()
        return
    exercise = exercises.exercise(known(args.name))
    if args.hint:
        show_hint(exercise, args.hint)
    elif args.solution:
        show_solution(exercise)
    else:
        write(exercise)


def known(name):
    """The exercise's name, however it was typed. Raises InputError with what comes near."""
    typed = name.removesuffix(".py").replace("-", "_").lower()
    if typed in exercises.NAMES:
        return typed
    near = difflib.get_close_matches(typed, exercises.NAMES, 1)
    raise InputError(
        f"no exercise {name!r}" + (f"; is it {near[0]}?" if near else "; python -m numpygpt.exercise lists them")
    )


def show_list():
    print("Write the gradients of each operation. A sensible order:\n")
    for name, now in states("."):
        print(f"  {name:<18}{now:<8}{exercises.exercise(name).teaches}", flush=True)
    print("\nBegin one:      python -m numpygpt.exercise NAME")
    print("Check it:       python -m numpygpt.gradcheck NAME.py")


def write(exercise):
    path = Path(f"{exercise.name}.py")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(exercise.text())
    except FileExistsError:
        raise InputError(
            f"{path} exists already, and is left as it is; check it: python -m numpygpt.gradcheck {path}"
        ) from None
    print(f"wrote {path}: {exercise.teaches}")
    print(f"Fill in one gradient, and check it:  python -m numpygpt.gradcheck {path} --watch")
    print(f"If you get stuck:                    python -m numpygpt.exercise {exercise.name} --hint")


def show_hint(exercise, number):
    print(f"Hint {number} of 3 for {exercise.name}:\n")
    for paragraph in exercise.hint(number).split("\n\n"):
        formula = "\n  " in paragraph
        print(paragraph if formula else textwrap.fill(paragraph, 100), end="\n\n")
    if number < 3:
        print(f"More: --hint {number + 1}")


def show_solution(exercise):
    for question in (f"Show the solution of {exercise.name}?", "Really? A hint says less: --hint 3."):
        try:
            answer = input(f"{question} (yes/no) ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("not shown")
            return
    print(f"\n{exercise.solution_lines()}", end="")
