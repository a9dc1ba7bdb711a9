def query_row_forgotten():
    """The row that is read is also the query: what comes back through q, dq @ Wq.T, has to be added to it."""
    dx = np.concatenate([dmessage for dmessage, _ in pairs])


def query_row_overwritten():
    """What comes back through q is put in place of what the row got as one of those looked at. The two add up."""
    dx = np.concatenate([dmessage for dmessage, _ in pairs])
    dx[rows] = dq @ Wq.T


def only_the_query():
    """Only the row that is read gets a gradient. All rows of its message are looked at: d_look gives theirs."""
    dx = np.zeros_like(x)
    dx[rows] = dq @ Wq.T


def query_and_key_exchanged():
    """The query's and the key's part of dweight are exchanged."""
    dweight = np.concatenate([dWk, dWq, dWv], axis=1)


def value_of_the_row_read():
    """The value's part of dweight is made with the row that is read. Wv was applied to z, the weighted mean of all
    rows."""
    dWv = x_read.T @ dy
    dweight = np.concatenate([dWq, dWk, dWv], axis=1)


def key_from_the_rows_read():
    """The key's part of dweight is made with the row that is read. In r = Wk q the factors are Wk and q: dr.T @ q."""
    dWk = x_read.T @ side_by_side(q)
    dweight = np.concatenate([dWq, dWk, dWv], axis=1)


def key_bias():
    """The key's bias has a gradient. Its term q . bk is the same for all rows, so softmax drops it: exactly 0."""
    dbias = np.concatenate([dq.sum(axis=0), dq.sum(axis=0), dy.sum(axis=0)])


def query_bias_forgotten():
    """The query's bias has no gradient. q = x_read @ Wq + bq: sum dq over the messages."""
    dbias = np.concatenate([np.zeros_like(bq), np.zeros_like(bq), dy.sum(axis=0)])


def query_from_r():
    """dq is made with r where dr belongs: the gradient at r goes back through Wk."""
    dq = side_by_side(r.swapaxes(0, 1) @ Wk)
    dx = np.concatenate([dmessage for dmessage, _ in pairs])
    dx[rows] += dq @ Wq.T
    dweight = np.concatenate([x_read.T @ dq, dWk, dWv], axis=1)
    dbias = np.concatenate([dq.sum(axis=0), np.zeros_like(bq), dy.sum(axis=0)])
