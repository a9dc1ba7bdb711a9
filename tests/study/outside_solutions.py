"""Wrong solutions as learners write them, collected before and independently of the exercises' known mistakes.

Each is (exercise, words that name the cause, lines of the body).
"""

SOLUTIONS = [
    (
        "linear",
        "mean",
        """
        dweight = np.dot(x.T, dy)
        dbias = np.mean(dy, axis=0)
        return np.dot(dy, weight.T), dweight, dbias
        """,
    ),
    (
        "linear",
        "transposed",
        """
        return dy @ weight.T, dy.T @ x, dy.sum(0)
        """,
    ),
    (
        "softmax",
        "through the sum",
        """
        return dy * y * (1 - y)
        """,
    ),
    (
        "softmax",
        "row",
        """
        s = (dy * y).sum()
        return y * (dy - s)
        """,
    ),
    (
        "cross_entropy",
        "mean",
        """
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        p[rows, targets] -= 1
        p[~counts] = 0
        return dloss * p
        """,
    ),
    (
        "cross_entropy",
        "target",
        """
        e = np.exp(shifted)
        return (e / e.sum(1, keepdims=True)) * counts[:, None] / counts.sum() * dloss
        """,
    ),
    (
        "gelu",
        "product",
        """
        return dy * 0.5 * (1 + np.tanh(SLOPE * (x + CUBIC * x**3)))
        """,
    ),
    (
        "gelu",
        "3",
        """
        inner = SLOPE * (1 + CUBIC * x**2)
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)
        """,
    ),
    (
        "layernorm",
        "constants",
        """
        return dy * gain * rstd, np.sum(dy * xhat, 0), np.sum(dy, 0)
        """,
    ),
    (
        "layernorm",
        "gain",
        """
        m1 = dy.mean(-1, keepdims=True)
        m2 = (dy * xhat).mean(-1, keepdims=True)
        return rstd * (dy - m1 - xhat * m2), (dy * xhat).sum(0), dy.sum(0)
        """,
    ),
    (
        "layernorm",
        "xhat",
        """
        D = x.shape[1]
        dxhat = dy * gain
        dvar = np.sum(dxhat * centred, axis=1, keepdims=True) * -0.5 * rstd**3
        dmean = np.sum(dxhat * -rstd, axis=1, keepdims=True)
        dx = dxhat * rstd + dvar * 2 * centred / D + dmean / D
        return dx, (dy * x).sum(axis=0), dy.sum(axis=0)
        """,
    ),
    (
        "embedding",
        "twice",
        """
        dwte = np.zeros(wte.shape)
        dwte[ids] += dx
        dwpe = np.zeros(wpe.shape)
        np.add.at(dwpe, positions, dx)
        return None, dwte, dwpe
        """,
    ),
    (
        "mean_rows",
        "divided",
        """
        return np.repeat(dy, lengths, axis=0)
        """,
    ),
    (
        "attention",
        "sqrt",
        """
        dv = weights.transpose(0, 2, 1) @ dy
        dw = dy @ v.transpose(0, 2, 1)
        ds = weights * (dw - (dw * weights).sum(-1, keepdims=True))
        dq = ds @ k
        dk = ds.transpose(0, 2, 1) @ q
        return dq, dk, dv
        """,
    ),
    (
        "attention",
        "dk",
        """
        dv = transposed(weights) @ dy
        ds = d_softmax(dy @ transposed(v)) / sqrt_d
        dq, dk = ds @ k, ds @ q
        return dq, dk, dv
        """,
    ),
    (
        "causal_attention",
        "mask",
        """
        full, (d_full,) = softmax(q @ transposed(k) / sqrt_d)
        dv = transposed(full) @ dy
        ds = d_full(dy @ transposed(v)) / sqrt_d
        return ds @ k, transposed(ds) @ q, dv
        """,
    ),
    (
        "residual",
        "add",
        """
        da = (dy * (1 - fed * fed)) @ weight2.T
        dweight2 = a.T @ (dy * (1 - fed**2))
        dh = da * (1 - attended**2)
        return dh @ weight1.T, x.T @ dh, dweight2
        """,
    ),
    (
        "tied_output",
        "embedding",
        """
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        p[np.arange(len(targets)), targets] -= 1
        dlogits = p * dloss / len(targets)
        return None, dlogits.T @ x
        """,
    ),
    (
        "lora",
        "scale",
        """
        dmerged = x.T @ dy
        return dy @ merged.T, None, dmerged @ B.T, A.T @ dmerged
        """,
    ),
    (
        "adamw",
        "decay",
        """
        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        mhat = m / (1 - beta1**t)
        vhat = v / (1 - beta2**t)
        return p - lr * mhat / (np.sqrt(vhat) + eps), m, v
        """,
    ),
]
