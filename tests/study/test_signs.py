"""Each general sign of a mistake is found and named where it applies, and not claimed elsewhere."""

import numpy as np
import pytest

from numpygpt.study.checking.signs import Case, sign

RNG = np.random.default_rng(0)
RIGHT = [RNG.standard_normal((5, 4)), RNG.standard_normal((3, 6))]
OTHER = [RNG.standard_normal(right.shape) for right in RIGHT]
RSTD = [RNG.uniform(1, 2, (len(right), 1)) for right in RIGHT]
GAIN = [RNG.uniform(1, 2, right.shape[1]) for right in RIGHT]
REPEATED = [[1, 3], [0, 2]]


def said(spoil, rights=RIGHT):
    """Return the sign named for the gradients `spoil(right, number of the draw)`."""
    cases = [
        Case(
            given=spoil(right, i),
            right=right,
            others={"dother": OTHER[i]},
            terms={"rstd": RSTD[i], "gain": GAIN[i], "other": OTHER[i]},
            sizes={"N": len(right), "D": right.shape[1], "d": 3 + i},
            rows={"the rows of tokens that occur more than once": REPEATED[i]},
        )
        for i, right in enumerate(rights)
    ]
    return sign("dx", cases)


def in_rows(rows):
    def spoil(right, i):
        given = right.copy()
        given[rows[i]] *= 3
        return given

    return spoil


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda right, i: 0 * right, "is zero everywhere"),
        (lambda right, i: OTHER[i], "has the numbers of dother"),
        (lambda right, i: -right, "has the wrong sign."),
        (lambda right, i: right * len(right), "is right but for the factor N (N = 5, 3)."),
        (lambda right, i: right / right.shape[1], "is right but for the factor 1/D (D = 4, 6)."),
        (lambda right, i: right * np.sqrt(3 + i), "is right but for the factor sqrt(d) (d = 3, 4)."),
        (lambda right, i: -right / np.sqrt(3 + i), "is right but for the factor -1/sqrt(d) (d = 3, 4)."),
        (lambda right, i: right * 2, "is 2 times what it should be"),
        (lambda right, i: right / 7, "is 1/7 times what it should be"),
        (lambda right, i: right * (1.5 + i), "is right but for a factor that differs from draw to draw: 1.5, 2.5."),
        (lambda right, i: right * RSTD[i], "is right but for the factor rstd."),
        (lambda right, i: right / GAIN[i], "is right but for the factor 1/gain."),
        (lambda right, i: right * np.arange(2, len(right) + 2)[:, None], "is right but for one factor in each row."),
        (in_rows([[0], [0]]), "is right except for the first row."),
        (in_rows([[4], [2]]), "is right except for the last row."),
        (in_rows(REPEATED), "is right except for the rows of tokens that occur more than once."),
        (in_rows([[1], [0, 1]]), "is right except in some rows: 1; 0, 1"),
        (lambda right, i: right - right.mean(axis=1)[:, None], "is off by a number that is the same along each row"),
        (lambda right, i: right + right.sum(axis=0), "is off by a number that is the same down each column"),
        (lambda right, i: right - OTHER[i], "misses the term other."),
        (lambda right, i: right + OTHER[i], "has too much, the term other."),
        (lambda right, i: right - 2 * OTHER[i], "has the wrong sign in the term other."),
        (lambda right, i: right + 1e-6 * right**2, "is right to 5 digits only. A finite difference"),
    ],
)  # fmt: skip
def test_a_sign_is_named(spoil, words):
    assert said(spoil).startswith(f"dx {words}")


def test_a_transposed_square_matrix_is_detected():
    square = [right[:3, :3] for right in RIGHT]
    assert said(lambda right, i: right.T, square) == "dx is transposed."


@pytest.mark.parametrize(
    "spoil",
    [
        lambda right, i: right**2,
        lambda right, i: right + (0.1 if i else OTHER[i]),  # a different cause in each draw
        lambda right, i: right * OTHER[i],
    ],
)
def test_a_sign_that_fails_in_one_draw_is_not_claimed(spoil):
    assert said(spoil) is None


def test_a_factor_is_detected_even_if_a_draw_has_a_single_number():
    rights = [RIGHT[0][:, :1], RIGHT[1][:1, :1]]
    assert (
        said(lambda right, i: right * 2, rights)
        == "dx is 2 times what it should be, in every draw in which it is wrong."
    )
    assert said(lambda right, i: right * 2, rights[1:]) is None
