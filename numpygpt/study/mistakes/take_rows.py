def first_places():
    """dy is put into the first rows. It belongs to the rows that were read: dx[rows] = dy."""
    dx = np.zeros_like(x)
    dx[: len(rows)] = dy


def sorted_rows():
    """dy is put into the rows in rising order. y[b] came from x[rows[b]], so dy[b] goes to rows[b]."""
    dx = np.zeros_like(x)
    dx[np.sort(rows)] = dy


def one_too_early():
    """dy is one row too early: rows are counted from 0."""
    dx = np.zeros_like(x)
    dx[rows - 1] = dy


def others_are_x():
    """The other rows hold x. A row that was not read has gradient 0."""
    dx = x.copy()
    dx[rows] = dy


def divided():
    """dy is divided by the number of rows. No mean is taken here: a copy's gradient goes back as it is."""
    dx = dx / len(rows)


def shared_by_all():
    """Every row gets the sum of dy. Only the rows that were read get one, each its own."""
    dx = np.zeros_like(x) + dy.sum(axis=0)
