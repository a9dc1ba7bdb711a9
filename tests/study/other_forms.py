"""Correct solutions in other forms than the shipped one: loops, einsum, other names, names with other meanings.

RIGHT is [(exercise, lines of the body of `backward`)]. WRONG adds a mistake: (exercise, the lines, the name and the
right side of the line with the mistake, the beginning of the first message). A name by another convention is never
accused.
"""

SCALED = """
    dv = transposed(weights) @ dy
    dweights = dy @ transposed(v)
    dscores = weights * (dweights - (dweights * weights).sum(-1, keepdims=True)) / sqrt_d
    dq = dscores @ k
    dk = transposed(dscores) @ q
    return dq, dk, dv
"""
BY_HEAD = """
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for h in range(len(q)):
        dweights = dy[h] @ v[h].T
        dscores = weights[h] * (dweights - np.einsum("ij,ij->i", dweights, weights[h])[:, None])
        dq[h] = dscores @ k[h] / sqrt_d
        dk[h] = dscores.T @ q[h] / sqrt_d
        dv[h] = weights[h].T @ dy[h]
    return dq, dk, dv
"""
OTHER_NAMES = """
    dv = np.einsum("hqt,hqd->htd", weights, dy)
    g = np.einsum("hqd,htd->hqt", dy, v)
    ds = weights * (g - (g * weights).sum(-1, keepdims=True)) / sqrt_d
    dq = ds @ k
    dk = transposed(ds) @ q
    return dq, dk, dv
"""
IN_PLACE = """
    dv = transposed(weights) @ dy
    dscores = dy @ transposed(v)
    dscores -= (dscores * weights).sum(axis=-1, keepdims=True)
    dscores *= weights
    dscores /= sqrt_d
    dq = dscores @ k
    dk = transposed(dscores) @ q
    return dq, dk, dv
"""
LOCAL_DERIVATIVES = """
    dt = 1 - t * t
    du = SLOPE * (1 + 3 * CUBIC * x * x)
    dx = dy * ((1 + t) / 2 + x / 2 * dt * du)
    return dx
"""
PARTIAL = """
    dxhat = gain * dy
    dcentred = dxhat * rstd
    dvariance = -0.5 * (dxhat * centred).sum(axis=1, keepdims=True) * rstd**3
    dmean = -dcentred.mean(axis=1, keepdims=True)
    dx = dcentred + 2 * centred * dvariance / x.shape[1] + dmean
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
"""
JACOBIANS = """
    dx = np.empty_like(x)
    for index in np.ndindex(x.shape[:-1]):
        dy_dx = np.diag(y[index]) - np.outer(y[index], y[index])
        dx[index] = dy[index] @ dy_dx
    return dx
"""
ACCUMULATED = """
    dlogits = np.exp(shifted)
    dlogits /= dlogits.sum(axis=1, keepdims=True)
    for row, target in enumerate(targets):
        dlogits[row, target] -= 1
    dlogits = dlogits * dloss / len(ids)
    dwte = np.zeros_like(wte)
    for row, id in enumerate(ids):
        dwte[id] += dlogits[row] @ wte
    dwte += dlogits.T @ x
    return dwte
"""
HELD = """
    a_grad = dy + (dy * (1 - fed**2)) @ weight2.T
    da = a_grad * (1 - attended**2)
    dx = a_grad + da @ weight1.T
    return dx, x.T @ da, a.T @ (dy * (1 - fed**2))
"""
LOOP = """
    dweight = np.zeros_like(weight)
    for n in range(len(x)):
        dweight = dweight + np.outer(x[n], dy[n])
    return dy @ weight.T, dweight, dy.sum(axis=0)
"""

RIGHT = [
    ("attention", SCALED),
    ("causal_attention", SCALED),
    ("attention", BY_HEAD),
    ("causal_attention", BY_HEAD),
    ("attention", OTHER_NAMES),
    ("attention", IN_PLACE),
    ("causal_attention", IN_PLACE),
    ("gelu", LOCAL_DERIVATIVES),
    ("layernorm", PARTIAL),
    ("softmax", JACOBIANS),
    ("tied_output", ACCUMULATED),
    ("residual", HELD),
    ("linear", LOOP),
]
WRONG = [
    ("attention", SCALED, "dv", "weights @ dy", "first wrong: dv"),
    ("attention", SCALED, "dq", "dscores @ q", "first wrong: dq"),
    ("attention", SCALED, "dk", "dscores @ q", "first wrong: dk"),
    ("attention", SCALED, "dweights", "dy @ transposed(k)", "first wrong: dweights"),
    ("attention", OTHER_NAMES, "dq", "ds @ k / sqrt_d", "first wrong: dq"),
    ("attention", OTHER_NAMES, "dv", "weights @ dy", "first wrong: dv"),
    ("attention", IN_PLACE, "dk", "dscores @ q", "first wrong: dk"),
    ("gelu", LOCAL_DERIVATIVES, "dx", "dy * ((1 + t) / 2 + x * dt * du)", "first wrong: dx"),
    ("layernorm", PARTIAL, "dxhat", "1.0 * dy", "first wrong: dxhat"),
    ("layernorm", PARTIAL, "dvariance", "-(dxhat * centred).sum(axis=1, keepdims=True) * rstd**3", "first wrong: dvar"),
    ("layernorm", PARTIAL, "dx", "dcentred + centred * dvariance / x.shape[1] + dmean", "first wrong: dx"),
    ("linear", LOOP, "dweight", "np.outer(x[n], dy[n])", "first wrong: dweight, lines "),
    ("residual", HELD, "dx", "dy + da @ weight1.T", "first wrong: dx"),
]
