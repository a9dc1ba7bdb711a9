"""python -m numpygpt.gradcheck: check every hand-written gradient against the complex-step derivative."""

import sys

from .study import cases
from .system import command


def arguments(argv=None):
    return command.parser(
        "gradcheck",
        "Check every hand-written gradient against the complex-step derivative: of each operation, then of whole\n"
        "models.\n"
        "\n"
        "A complex step is f(x + ih): it adds a tiny imaginary number to one input. By Taylor's series its imaginary\n"
        "part is h f'(x), up to h^3, so Im f(x + ih) / h is the derivative. Unlike a finite difference it subtracts\n"
        "no two nearly equal numbers, so h can be 1e-30 and the derivative is right to the last digits.",
        ["python -m numpygpt.gradcheck"],
    ).parse_args(argv)


def main(argv=None):
    arguments(argv)
    wrong = []
    for title, bound, check in cases.CHECKS:
        print(f"{title + f', at most {bound:.0e}':<40}{'numbers':>10}{'largest relative error':>26}")
        numbers, errors = {}, {}
        for row, count, error in check():
            numbers[row] = numbers.get(row, 0) + count
            errors.setdefault(row, []).append(error)
        for row, found in errors.items():
            holds = all(error <= bound for error in found)  # false for a NaN, too
            wrong += [] if holds else [row]
            print(f"  {row:<38}{numbers[row]:>10,}{max(found):>26.1e}{'' if holds else '  WRONG'}")
        print(flush=True)
    print(f"wrong: {', '.join(wrong)}" if wrong else "every gradient holds")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
