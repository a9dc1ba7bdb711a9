def x_by_itself():
    """dbias is the mean of dy over the rows. bias is added to every row, so it gets the sum of what comes back from
    them."""
    dbias = dy.mean(axis=0)


def bias_over_columns():
    """dbias is one number for all outputs. Each output has its own bias: sum over the rows only."""
    dbias = np.full_like(bias, dy.sum())


def bias_of_one_row():
    """dbias is dy's last row. bias is added to every row, so all rows' dy are summed."""
    dbias = dy[-1].copy()


def weight_divided_by_rows():
    """dweight is divided by N. The mean over rows, if there is one, belongs to the loss, and is in dy already."""
    dweight = x.T @ dy / len(x)


def weight_without_x():
    """dweight sums dy over the rows and leaves x out: weight[i, o] enters y[n, o] with the factor x[n, i]."""
    dweight = np.ones_like(x).T @ dy


def x_without_weight():
    """dx sums dy over the outputs and leaves weight out: x[n, i] enters y[n, o] with the factor weight[i, o]."""
    dx = dy @ np.ones_like(weight).T


def weight_of_the_result():
    """dweight is made with y where x belongs: x is what weight was multiplied with."""
    dweight = x.T @ (dy * y)


def sign():
    """dx has the wrong sign: that is the direction that lowers the loss, not the gradient."""
    dx = -(dy @ weight.T)
