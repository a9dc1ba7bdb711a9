"""Write the outputs of the lessons' cells into their files.

python -m tests.lessons        writes what each cell prints into the lessons' files
"""

import re
import sys

from numpygpt.study import lessons
from numpygpt.study.lessons.run import run


def write(number):
    """Write the output of each cell that shows one into the lesson's file."""
    path = lessons.FILES[number]
    printed = iter([printed for cell, printed, _ in run(lessons.lesson(number), key=True) if cell.prints is not None])
    text = path.read_text(encoding="utf-8")
    fence = re.compile(r"^```output\n.*?^```$", re.MULTILINE | re.DOTALL)
    path.write_text(
        fence.sub(lambda _: f"```output\n{next(printed).rstrip()}\n```", text), encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    for number in map(int, sys.argv[1:]) if sys.argv[1:] else lessons.FILES:
        write(number)
