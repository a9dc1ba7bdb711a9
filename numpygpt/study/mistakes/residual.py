def no_second_skip():
    """The way past the second layer is missing: a is also added to fed as it is, so dy comes back to it. The two add
    up."""
    da = dfed @ weight2.T
    dattended = da * (1 - attended * attended)
    dx = da + dattended @ weight1.T
    dweight1 = x.T @ dattended


def no_first_skip():
    """The way past the first layer is missing: x is also added to attended as it is, so da comes back to it, and adds
    up."""
    dx = dattended @ weight1.T


def no_skip_at_all():
    """Both ways past the layers are missing: in a + f(a), what comes back from the sum and from f add up."""
    da = dfed @ weight2.T
    dattended = da * (1 - attended * attended)
    dx = dattended @ weight1.T
    dweight1 = x.T @ dattended


def first_layer_from_dy():
    """The first layer is handed dy. Its result reaches y through the second layer as well: it gets da, both terms of
    it."""
    dattended = dy * (1 - attended * attended)
    dx = da + dattended @ weight1.T
    dweight1 = x.T @ dattended


def x_from_dy():
    """dx starts from dy where da belongs: past the first layer x is in a, which reaches y in two ways."""
    dx = dy + dattended @ weight1.T


def only_as_it_is():
    """dx is dy: the ways through both layers are missing."""
    dx = dy + 0


def second_weight_from_x():
    """dweight2 is made with x. The second layer was given a."""
    dweight2 = x.T @ dfed


def weights_from_the_sums():
    """The weights' gradients are made before tanh's derivative, from dy and da: x @ weight went through tanh."""
    dweight1, dweight2 = x.T @ da, a.T @ dy


def no_tanh():
    """tanh's derivative, 1 - tanh^2, is missing in both layers."""
    da = dy + dy @ weight2.T
    dx = da + da @ weight1.T
