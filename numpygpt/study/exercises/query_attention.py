import numpy as np

from ...ops.query_attention import query_attention
from ..checking.exercise import Draw, Exercise

HINTS = (
    "Go backwards through five lines: y = z @ Wv + bv by head, the dot_product_attention of each message, r = Wk q by "
    "head, q = x_read @ Wq + bq, and x_read = x[rows]. Which rows of x are used twice?",
    "The row that is read is used as the query and as a key and value of its message: two gradients that add up. "
    "dbias has three parts. The key's part is 0, because softmax does not see its bias. by_head and side_by_side undo "
    "each other. d_query computes dz, dr and dq for all three gradients.",
)


def draws(rng):
    def draw(label, lengths, H, d):
        normal, lengths, D = rng.standard_normal, np.array(lengths), H * d
        ends = np.cumsum(lengths)
        arguments = dict(x=normal((ends[-1], D)), weight=normal((D, 3 * D)) / 2, bias=normal(3 * D))
        rows = {"the rows that are read": ends - 1}
        sizes = {"d": d, "H": H, "D": D, "N": ends[-1], "B": len(lengths)}
        return Draw(label, dict(**arguments, lengths=lengths, rows=ends - 1, n_head=H), sizes, rows)

    return [draw("three messages, one of a single token", [3, 1, 4], 2, 3), draw("one message", [5], 1, 4)]


EXERCISE = Exercise(
    "query_attention",
    "the query folded into one row: no key and no value is formed",
    query_attention,
    HINTS,
    draws,
    __name__,
)


# Known mistakes


def query_row_forgotten():
    """The row that is read is also the query. What comes back through q, dq @ Wq.T, is added to it."""
    dz, _, dq = shared(dy)
    dx = np.concatenate([dkeys(dz[b]) + dvalues(dz[b]) for b, (_, dkeys, dvalues) in enumerate(d_found)])


def query_row_overwritten():
    """What comes back through q replaces the row's gradient as a key and value. Add the two gradients."""
    dz, _, dq = shared(dy)
    dx = np.concatenate([dkeys(dz[b]) + dvalues(dz[b]) for b, (_, dkeys, dvalues) in enumerate(d_found)])
    dx[rows] = dq @ Wq.T


def only_the_query():
    """Only the row that is read has a gradient. The query looks at all rows of its message, so all have one."""
    dx = np.zeros_like(x)
    dx[rows] = shared(dy)[2] @ Wq.T


def query_and_key_exchanged():
    """The query's and the key's part of dweight are exchanged."""
    query, key, value = np.split(dweight, 3, axis=1)
    dweight = np.concatenate([key, query, value], axis=1)


def value_of_the_row_read():
    """The value's part of dweight uses the row that is read. Wv was applied to z, the weighted mean of all rows."""
    query, key, value = np.split(dweight, 3, axis=1)
    dweight = np.concatenate([query, key, x_read.T @ dy], axis=1)


def key_from_the_rows_read():
    """The key's part of dweight uses the row that is read. In r = Wk q the factors are Wk and q: dr.T @ q."""
    query, key, value = np.split(dweight, 3, axis=1)
    dweight = np.concatenate([query, x_read.T @ side_by_side(q), value], axis=1)


def key_bias():
    """The key's bias has a gradient. Its term q . bk is the same for all rows, so softmax drops it: exactly 0."""
    dbias = np.concatenate([dq.sum(axis=0), dq.sum(axis=0), dy.sum(axis=0)])


def query_bias_forgotten():
    """The gradient of the query's bias is 0 here. q = x_read @ Wq + bq: sum dq over the messages."""
    dbias = np.concatenate([np.zeros_like(bq), np.zeros_like(bq), dy.sum(axis=0)])


def heads_by_reshape():
    """dy is cut into heads by reshape alone, which mixes the messages. Use by_head, which exchanges the axes, too."""
    dz = (dy.reshape(n_head, len(dy), -1) @ Wv.swapaxes(1, 2)).swapaxes(0, 1)
    dr = np.stack([d_r(dz[b]) for b, (d_r, _, _) in enumerate(d_found)], axis=1)
    dq = side_by_side(dr @ Wk)
    dx = np.concatenate([dkeys(dz[b]) + dvalues(dz[b]) for b, (_, dkeys, dvalues) in enumerate(d_found)])
    dx[rows] += dq @ Wq.T
    dWk = [dr[h].T @ q[h] for h in range(n_head)]
    dWv = [z[h].T @ dy_head for h, dy_head in enumerate(dy.reshape(n_head, len(dy), -1))]
    dweight = np.concatenate([x_read.T @ dq, *dWk, *dWv], axis=1)
    dbias = np.concatenate([dq.sum(axis=0), np.zeros_like(bq), dy.sum(axis=0)])


def query_from_r():
    """dq uses r. It must use dr, the gradient at r: dq = dr Wk."""
    dz, _, _ = shared(dy)
    dq = side_by_side(r.swapaxes(0, 1) @ Wk)
    dx = np.concatenate([dkeys(dz[b]) + dvalues(dz[b]) for b, (_, dkeys, dvalues) in enumerate(d_found)])
    dx[rows] += dq @ Wq.T
    _, dr, _ = shared(dy)
    dWk = [dr[h].T @ q[h] for h in range(n_head)]
    dWv = [z[h].T @ dy_head for h, dy_head in enumerate(by_head(dy, n_head))]
    dweight = np.concatenate([x_read.T @ dq, *dWk, *dWv], axis=1)
    dbias = np.concatenate([dq.sum(axis=0), np.zeros_like(bq), dy.sum(axis=0)])
