def frozen_stops_the_way():
    """A frozen weight2 stops the way down. Frozen, it gets no gradient, but passes one on to what learns below it."""
    if not learns[3] and du is not None:
        dweight1 = np.zeros_like(weight1) if learns[1] else None
        dbias1 = np.zeros_like(bias1) if learns[2] else None


def no_tanh():
    """tanh's derivative, 1 - h^2, is missing on the way down."""
    if du is not None:
        du = dy @ weight2.T
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def tanh_not_squared():
    """tanh's derivative is taken to be 1 - h; it is 1 - h^2."""
    if du is not None:
        du = (dy @ weight2.T) * (1 - h)
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def weight2_left_out():
    """The way down leaves weight2 out: frozen or not, h was multiplied with it."""
    if du is not None:
        du = dy.sum(axis=1, keepdims=True) * (1 - h * h)
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None


def second_weight_before_tanh():
    """dweight2 is made with what went into tanh: weight2 was multiplied with h, which came out of it."""
    if learns[3]:
        dweight2 = (x @ weight1 + bias1).T @ dy


def bias_averaged():
    """dbias1 and dbias2 are means over the rows: each row used them, so their contributions add up."""
    if learns[2]:
        dbias1 = dbias1 / len(x)
    if learns[4]:
        dbias2 = dbias2 / len(x)
