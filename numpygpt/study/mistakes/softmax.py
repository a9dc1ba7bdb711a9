def only_the_diagonal():
    """Only dy[i] d y[i] / d x[i] is counted, y (1 - y) as for a sigmoid. x[i] also reaches every other y[j], through
    the sum that divides all of the row: the derivatives off the diagonal, -y[i] y[j], are missing."""
    dx = dy * y * (1 - y)


def sum_without_the_weights():
    """dy is not multiplied by y in the sum: the softmax's own weights belong there, sum_j dy[j] y[j]."""
    dx = y * (dy - dy.sum(axis=-1, keepdims=True))


def mean_for_sum():
    """The sum over the row of dy[j] y[j] is a mean: the weights y are what makes it one, nothing is divided by T."""
    dx = y * (dy - (dy * y).mean(axis=-1, keepdims=True))


def sum_over_everything():
    """The sum of dy[j] y[j] goes over all rows. Each row is its own softmax: sum along the last axis, and keep it."""
    dx = y * (dy - (dy * y).sum())


def sum_over_the_wrong_axis():
    """The sum of dy[j] y[j] goes down the rows (axis -2). The softmax is along the last axis."""
    dx = y * (dy - (dy * y).sum(axis=-2, keepdims=True))


def no_sum():
    """dx is y * dy: the way through the sum that divides all of the row is missing."""
    dx = y * dy


def no_weight_in_front():
    """y[i] is missing in front: dx[i] = y[i] * (dy[i] - sum_j dy[j] y[j])."""
    dx = dy - (dy * y).sum(axis=-1, keepdims=True)


def of_the_logarithm():
    """This is the gradient of log(softmax(x)): dy - y * sum(dy). The result here is the softmax itself."""
    dx = dy - y * dy.sum(axis=-1, keepdims=True)


def plus_the_sum():
    """The sum is added: d y[j] / d x[i] = -y[i] y[j], so it is taken away."""
    dx = y * (dy + (dy * y).sum(axis=-1, keepdims=True))
