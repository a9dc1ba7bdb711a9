"""General signs of what is wrong with a gradient, where no known mistake gives its numbers. None is guessed."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass
class Case:
    """One draw: a gradient as it was given and as it should be, and what it may have been mixed up with."""

    given: np.ndarray
    right: np.ndarray
    others: dict  # {name: the right gradient of another input, or dy, or another operation's result}
    terms: dict  # {name: array}: what the forward pass kept, the inputs and dy
    sizes: dict  # {name: number}
    rows: dict  # {"the first row of each message": indices}

    @property
    def wrong(self):
        return not close(self.given, self.right)


def close(a, b):
    """Equal up to rounding."""
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= 1e-9 * max(
        np.abs(a).max(initial=0), np.abs(b).max(initial=0)
    )


def sign(name, cases):
    """Return the first sentence that holds in every draw in which the gradient of that name is wrong, or None."""
    cases = [case for case in cases if case.wrong]
    if not cases:
        return f"{name} is right to 9 digits only. A finite difference or a rounded constant can give that."
    for look in (zero, another, factor, transposed, some_rows, factor_along, constant_along, term, nearly):
        found = look(cases)
        if found:
            return f"{name} {found}"
    return None


def nearly(cases):
    sizes = [(np.abs(case.given - case.right).max(initial=0), np.abs(case.right).max(initial=0)) for case in cases]
    if all(off <= 1e-3 * size for off, size in sizes):  # false for a NaN, too
        digits = int(-np.log10(max(off / size for off, size in sizes)))
        return f"is right to {digits} digits only. A finite difference or a rounded constant can give that."


def zero(cases):
    if all(not case.given.any() for case in cases):
        return "is zero everywhere."


def another(cases):
    """Where a gradient is that of another input, or dy unchanged."""
    for name in cases[0].others:
        if all(name in case.others and close(case.given, case.others[name]) for case in cases):
            return f"has the numbers of {name}" + (", unchanged." if name == "dy" else ": were two exchanged?")


def factor(cases):
    if all(case.given.size < 2 for case in cases):
        return None
    ratios = [ratio(case.given, case.right, 1) for case in cases]
    if None in ratios:
        return None
    if np.allclose(ratios, -1, rtol=1e-9):
        return "has the wrong sign."
    for name in cases[0].sizes:
        for text, power in ((name, 1), (f"1/{name}", -1), (f"sqrt({name})", 0.5), (f"1/sqrt({name})", -0.5)):
            expected = [float(case.sizes.get(name, np.nan)) ** power for case in cases]
            for minus in (1, -1):
                if np.allclose(ratios, minus * np.array(expected), rtol=1e-9) and not np.allclose(expected, 1):
                    values = ", ".join(f"{case.sizes[name]:g}" for case in cases)
                    return f"is right but for the factor {'-' * (minus < 0)}{text} ({name} = {values})."
    if np.allclose([ratio * _scalar(case, "dy") for ratio, case in zip(ratios, cases)], 1, rtol=1e-9):
        return "is right but for the factor dy: multiply by the gradient that the function takes."
    if np.allclose(ratios, ratios[0], rtol=1e-9):
        simple = Fraction(ratios[0]).limit_denominator(64)
        times = str(simple) if np.isclose(float(simple), ratios[0], rtol=1e-9) else f"{ratios[0]:.10g}"
        return f"is {times} times what it should be, in every draw in which it is wrong."
    shown = ", ".join(f"{ratio:.6g}" for ratio in ratios)
    return f"is right but for a factor that differs from draw to draw: {shown}."


def _scalar(case, name):
    """Return a term that is one number, else NaN."""
    term = case.terms.get(name)
    return float(np.ravel(term)[0]) if np.size(term) == 1 and term is not None else np.nan


def ratio(given, right, least=2):
    """given / right where that is one number, else None. It tells nothing of fewer than `least` entries."""
    if given.size < least or not right.any():
        return None
    ratio = (given * right).sum() / (right * right).sum()
    return float(ratio) if ratio and close(given, ratio * right) else None


def transposed(cases):
    if all(case.given.ndim == 2 and close(case.given.T, case.right) for case in cases):
        return "is transposed."


def factor_along(cases):
    """A factor for each row, or for each column: which, where it is among what is at hand."""
    cases = [case for case in cases if case.right.ndim >= 2 and min(case.right.shape) > 1]
    for axis, each in ((-1, "row"), (0, "column")):
        factors = [_factors(case, axis) for case in cases]
        if not cases or any(f is None for f in factors):
            continue
        for name in cases[0].terms:
            for text, power in ((name, 1), (f"1/{name}", -1), (f"{name}^2", 2), (f"1/{name}^2", -2)):
                if all(_is_power(case.terms.get(name), power, f) for case, f in zip(cases, factors)):
                    return f"is right but for the factor {text}."
        return f"is right but for one factor in each {each}."


def _factors(case, axis):
    """given / right where it is one number along an axis, as an array that broadcasts, else None."""
    size = (case.right * case.right).sum(axis=axis, keepdims=True)
    if not size.all():
        return None
    factors = (case.given * case.right).sum(axis=axis, keepdims=True) / size
    return factors if factors.all() and close(case.given, factors * case.right) else None


def _is_power(term, power, factors):
    if term is None or term.size != factors.size or (power < 0 and not term.all()):
        return False
    return close(np.ravel(term).astype(float) ** power, np.ravel(factors))


def some_rows(cases):
    """Wrong in some rows only: which, by their names if they have one."""
    wrong = []
    for case in cases:
        if case.right.ndim < 1 or len(case.right) < 2:
            return None
        scale = 1e-9 * max(np.abs(case.right).max(), np.abs(case.given).max())
        bad = np.abs(case.given - case.right).reshape(len(case.right), -1).max(axis=1) > scale
        wrong.append(np.flatnonzero(bad).tolist())
    if all(len(rows) == len(case.right) for rows, case in zip(wrong, cases)):
        return None
    names = {"the first row": [[0] for case in cases], "the last row": [[len(case.right) - 1] for case in cases]}
    names |= {name: [sorted(map(int, case.rows.get(name, []))) for case in cases] for name in cases[0].rows}
    for name, rows in names.items():
        if rows == wrong:
            return f"is right except for {name}."
    return f"is right except in some rows: {'; '.join(', '.join(map(str, rows)) for rows in wrong)} (counted from 0)."


def constant_along(cases):
    """What is missing or too much is the same number all along an axis: a sum or a mean."""
    cases = [case for case in cases if case.right.ndim >= 2 and min(case.right.shape) > 1]
    for axis, text in ((-1, "along each row"), (0, "down each column")):
        if cases and all(
            close(d := case.given - case.right, d.mean(axis=axis, keepdims=True) + 0 * d) for case in cases
        ):
            return f"is off by a number that is the same {text}: a sum or a mean {text} is missing, or one too many."


def term(cases):
    """What is missing or too much is something at hand."""
    for name in cases[0].terms:
        for text, times in (
            ("misses the term", -1),
            ("has too much, the term", 1),
            ("has the wrong sign in the term", -2),
        ):
            if all(_is_term(case, name, times) for case in cases):
                return f"{text} {name}."


def _is_term(case, name, times):
    value = case.terms.get(name)
    try:
        return (
            value is not None
            and value.any()
            and close(case.given - case.right, times * np.broadcast_to(value, case.right.shape))
        )
    except ValueError:
        return False
