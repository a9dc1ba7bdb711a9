from ...ops.layernorm import layernorm
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go step by step against the forward pass. gain and bias are shared by all rows. Then, with g = gain * dy the "
    "gradient at xhat: in how many ways does one x[j] of a row reach that row's xhat?",
    "In three: directly, through the mean, and through rstd. So dx is rstd times a sum of three terms; the second and "
    "the third each hold a mean over the row. d mean / d x[j] = 1/D and d rstd / d x[j] = -rstd^2 xhat[j] / D.",
)


def draws(rng):
    normal = rng.standard_normal

    def draw(label, N, D):
        gain, x = rng.uniform(1.5, 2.5, D), 1 + rng.uniform(0.5, 3, (N, 1)) * normal((N, D))
        return Draw(label, dict(x=x, gain=gain, bias=normal(D)), {"N": N, "D": D})

    return [draw("four rows", 4, 6), draw("one row", 1, 5), draw("five rows of five numbers", 5, 5)]


EXERCISE = Exercise("layernorm", "one number that reaches a row in three ways", layernorm, HINTS, draws, __name__)


# Known mistakes


def constants():
    """mean and rstd are treated as constants. Both depend on x, which gives two more terms: -mean(g) and
    -xhat mean(g xhat)."""
    dx = rstd * g


def no_mean_term():
    """The mean term is missing: x[j] is also in the mean, which is subtracted from its whole row. It adds -mean(g)."""
    dx = rstd * (g - xhat * (g * xhat).mean(axis=1, keepdims=True))


def no_xhat_term():
    """The xhat term is missing: x[j] is also in its row's variance, which divides the whole row. It adds -xhat
    mean(g xhat)."""
    dx = rstd * (g - g.mean(axis=1, keepdims=True))


def gain_forgotten():
    """gain is missing in dx: xhat was multiplied by gain, so the gradient at xhat is g = gain * dy."""
    dx = rstd * (dy - dy.mean(axis=1, keepdims=True) - xhat * (dy * xhat).mean(axis=1, keepdims=True))


def gain_last():
    """gain multiplies dx at the end. It belongs inside the two means, which average g = gain * dy."""
    dx = gain * rstd * (dy - dy.mean(axis=1, keepdims=True) - xhat * (dy * xhat).mean(axis=1, keepdims=True))


def sums_for_means():
    """The two row terms are sums, not divided by D: d mean / d x[j] = 1/D, so they are means."""
    dx = rstd * (g - g.sum(axis=1, keepdims=True) - xhat * (g * xhat).sum(axis=1, keepdims=True))


def means_over_rows():
    """The means go down the columns (axis 0). layernorm takes its mean along each row, axis 1."""
    dx = rstd * (g - g.mean(axis=0, keepdims=True) - xhat * (g * xhat).mean(axis=0, keepdims=True))


def one_mean_for_all():
    """The means are over the whole array. Each row has its own: axis=1, keepdims=True."""
    dx = rstd * (g - g.mean() - xhat * (g * xhat).mean())


def no_rstd():
    """The factor rstd in front of dx is missing: xhat = (x - mean) * rstd."""
    dx = g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True)


def unbiased():
    """The xhat term is divided by D - 1. The forward pass uses the biased variance, a mean over D."""
    D = x.shape[1]
    dx = rstd * (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).sum(axis=1, keepdims=True) / (D - 1))


def centred_for_xhat():
    """The xhat term has x - mean in one place of xhat. The factor rstd is missing there."""
    dx = rstd * (g - g.mean(axis=1, keepdims=True) - centred * (g * xhat).mean(axis=1, keepdims=True))


def plus_the_xhat_term():
    """The xhat term has the wrong sign: a larger variance makes xhat smaller."""
    dx = rstd * (g - g.mean(axis=1, keepdims=True) + xhat * (g * xhat).mean(axis=1, keepdims=True))


def half_the_xhat_term():
    """The xhat term is half of what it should be: a square's derivative has a factor 2, which undoes the 1/2 of the
    square root's."""
    dx = rstd * (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True) / 2)


def twice_the_xhat_term():
    """The xhat term is twice what it should be: the square root's 1/2, in d rstd / d variance = -rstd^3 / 2, is
    missing."""
    dx = rstd * (g - g.mean(axis=1, keepdims=True) - 2 * xhat * (g * xhat).mean(axis=1, keepdims=True))


def gain_by_x():
    """dgain uses x. gain multiplies xhat, so dgain = sum over rows of dy * xhat."""
    dgain = (dy * x).sum(axis=0)


def gain_by_centred():
    """dgain uses x - mean. gain multiplies xhat, which is divided by the standard deviation too."""
    dgain = (dy * centred).sum(axis=0)


def gain_by_y():
    """dgain uses y, the result. gain multiplies xhat."""
    dgain = (dy * y).sum(axis=0)


def gain_mean():
    """dgain is a mean over the rows. gain is used in every row, so their contributions add up."""
    dgain = (dy * xhat).mean(axis=0)


def bias_mean():
    """dbias is a mean over the rows. bias is used in every row, so their contributions add up."""
    dbias = dy.mean(axis=0)


def bias_by_gain():
    """dbias has gain in it. bias is added after gain, so dy reaches it unchanged."""
    dbias = (gain * dy).sum(axis=0)
