"""Correct solutions with names for all intermediates, and mistakes planted in each line in turn.

Each is {exercise: (lines of the body of `backward`, [(name, a right-hand side with a mistake)])}. A planted line
replaces the last line that starts with `name = `.
"""

SOLUTIONS = {
    "cross_entropy": (
        """
        p = softmax(logits)[0]
        wq = (1 - smoothing) * own[:, None] * np.eye(C)[targets] + smoothing / C * w
        dlosses = counts * (dloss / W)
        dshifted = dlosses[:, None] * (s[:, None] * p - wq)
        dlogits = 1.0 * dshifted
        return dlogits
        """,
        [
            ("dlosses", "counts * dloss"),
            ("dlosses", "np.ones(len(counts)) * (dloss / W)"),
            ("dshifted", "dlosses[:, None] * s[:, None] * p"),
            ("dshifted", "-dlosses[:, None] * wq / p"),
            ("dlogits", "dshifted - dshifted.mean(axis=0)"),
        ],
    ),
    "gelu": (
        """
        dt = dy * x / 2
        du = dt * (1 - t * t)
        dx = dy * (1 + t) / 2 + du * SLOPE * (1 + 3 * CUBIC * x * x)
        return dx
        """,
        [
            ("dt", "dy / 2"),
            ("dt", "dy * x"),
            ("du", "dt * (1 - t)"),
            ("du", "dt * (1 - u * u)"),
            ("dx", "dy * (1 + t) / 2 + du * SLOPE * (1 + CUBIC * x * x)"),
        ],
    ),
    "layernorm": (
        """
        dbias = dy.sum(axis=0)
        dgain = (dy * xhat).sum(axis=0)
        dxhat = dy * gain
        drstd = (dxhat * centred).sum(axis=1, keepdims=True)
        dvariance = -0.5 * drstd * rstd**3
        dcentred = dxhat * rstd + dvariance * 2 * centred / x.shape[1]
        dx = dcentred - dcentred.mean(axis=1, keepdims=True)
        return dx, dgain, dbias
        """,
        [
            ("dbias", "dy.mean(axis=0)"),
            ("dgain", "(dy * x).sum(axis=0)"),
            ("dxhat", "dy * 1.0"),
            ("dxhat", "dy * gain[::-1]"),
            ("drstd", "(dxhat * xhat).sum(axis=1, keepdims=True)"),
            ("drstd", "(dxhat * centred).mean(axis=1, keepdims=True)"),
            ("dvariance", "-drstd * rstd**3"),
            ("dvariance", "-0.5 * drstd * rstd"),
            ("dcentred", "dxhat * rstd"),
            ("dcentred", "dxhat * rstd + dvariance * centred / x.shape[1]"),
            ("dx", "dcentred * 1.0"),
            ("dx", "dcentred - dcentred.mean(axis=0)"),
        ],
    ),
    "attention": (
        """
        dv = transposed(weights) @ dy
        dweights = dy @ transposed(v)
        dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
        dq = dscores @ k / sqrt_d
        dk = transposed(dscores) @ q / sqrt_d
        return dq, dk, dv
        """,
        [
            ("dv", "weights @ dy"),
            ("dweights", "dy @ transposed(k)"),
            ("dweights", "2 * dy @ transposed(v)"),
            ("dscores", "weights * (dweights - dweights.sum(axis=-1, keepdims=True))"),
            ("dscores", "weights * dweights"),
            ("dq", "dscores @ k"),
            ("dk", "dscores @ q / sqrt_d"),
        ],
    ),
    "causal_attention": (
        """
        dv = np.einsum("...qt,...qd->...td", weights, dy)
        dweights = np.einsum("...qd,...td->...qt", dy, v)
        dscores = d_softmax(dweights)
        dq = np.einsum("...qt,...td->...qd", dscores, k) / sqrt_d
        dk = np.einsum("...qt,...qd->...td", dscores, q) / sqrt_d
        return dq, dk, dv
        """,
        [
            ("dv", "softmax(np.where(weights > 0, scores, 0))[0].swapaxes(-1, -2) @ dy"),
            ("dweights", "-dy @ transposed(v)"),
            ("dscores", "dweights * weights"),
            ("dscores", "d_softmax(dweights) / sqrt_d"),
            ("dq", "dscores @ q / sqrt_d"),
            ("dk", "transposed(dscores) @ k / sqrt_d"),
        ],
    ),
    "residual": (
        """
        dinner2 = dy * (1 - fed * fed)
        da = dy + dinner2 @ weight2.T
        dweight2 = a.T @ dinner2
        dattended = 1.0 * da
        dinner1 = dattended * (1 - attended * attended)
        dx = da + dinner1 @ weight1.T
        dweight1 = x.T @ dinner1
        return dx, dweight1, dweight2
        """,
        [
            ("dinner2", "dy * (1 - fed)"),
            ("da", "dinner2 @ weight2.T"),
            ("da", "dy + dinner2 @ weight1.T"),
            ("dweight2", "x.T @ dinner2"),
            ("dattended", "da - dy"),
            ("dinner1", "dattended * (1 - inner1 * inner1)"),
            ("dx", "dy + dinner1 @ weight1.T"),
            ("dweight1", "a.T @ dinner1"),
        ],
    ),
    "tied_output": (
        """
        dlosses = np.full(len(ids), dloss / len(ids))
        p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        dshifted = dlosses[:, None] * (p - np.eye(len(wte))[targets])
        dlogits = 1.0 * dshifted
        dx = dlogits @ wte
        dwte = dlogits.T @ x + np.eye(len(wte))[ids].T @ dx
        return dwte
        """,
        [
            ("dlosses", "np.full(len(ids), dloss)"),
            ("dshifted", "dlosses[:, None] * p"),
            ("dlogits", "dshifted * p"),
            ("dx", "dshifted @ wte * 2"),
            ("dwte", "dlogits.T @ x"),
            ("dwte", "dlogits.T @ x + np.eye(len(wte))[targets].T @ dx"),
        ],
    ),
    "lora": (
        """
        dx = dy @ merged.T
        dmerged = x.T @ dy
        dA = scale * dmerged @ B.T
        dB = scale * A.T @ dmerged
        return dx, None, dA, dB
        """,
        [
            ("dx", "dy @ weight.T"),
            ("dmerged", "x.T @ dy / len(x)"),
            ("dA", "dmerged @ B.T"),
            ("dB", "scale * (x @ A).T @ dy * scale"),
        ],
    ),
    "query_attention": (
        """
        dy_by_head = by_head(dy, n_head)
        dz = dy_by_head @ Wv.swapaxes(1, 2)
        dr = np.stack([functions[0](dz[:, b]) for b, functions in enumerate(d_found)])
        dq = dr.swapaxes(0, 1) @ Wk
        dx_read = side_by_side(dq) @ Wq.T
        as_key = [f[1](dz[:, b]) + f[2](dz[:, b]) for b, f in enumerate(d_found)]
        dx = np.concatenate(as_key) + np.eye(len(x))[rows].T @ dx_read
        dWq, dWk = x_read.T @ side_by_side(dq), dr.swapaxes(0, 1).swapaxes(1, 2) @ q
        dWv = z.swapaxes(1, 2) @ dy_by_head
        dweight = np.concatenate([dWq, *dWk, *dWv], axis=1)
        dbq = side_by_side(dq).sum(axis=0)
        dbias = np.concatenate([dbq, 0 * dbq, dy.sum(axis=0)])
        return dx, dweight, dbias
        """,
        [
            ("dz", "dy_by_head @ (2 * Wv - Wk).swapaxes(1, 2)"),
            ("dr", "np.stack([functions[1](dz[:, b])[: len(r[b])] * 0 + r[b] for b, functions in enumerate(d_found)])"),
            ("dq", "r.swapaxes(0, 1) @ Wk"),
            ("dx_read", "side_by_side(dq) @ Wq"),
            ("dx", "np.concatenate(as_key)"),
            ("dweight", "np.concatenate([*dWk, dWq, *dWv], axis=1)"),
            ("dbq", "dq.mean(axis=1).ravel() / 3"),
            ("dbias", "np.concatenate([dbq, dbq, dy.sum(axis=0)])"),
        ],
    ),
    "freezing": (
        """
        dh = dy @ weight2.T if any(learns[:3]) else 0.0
        du = dh * (1 - h * h)
        dx = du @ weight1.T if learns[0] else None
        dweight1 = x.T @ du if learns[1] else None
        dbias1 = du.sum(axis=0) if learns[2] else None
        dweight2 = h.T @ dy if learns[3] else None
        dbias2 = dy.sum(axis=0) if learns[4] else None
        return dx, dweight1, dbias1, dweight2, dbias2
        """,
        [
            ("dh", "dy @ np.ones_like(weight2).T"),
            ("du", "dh * (1 - h)"),
            ("du", "1.0 * dh"),
            ("dx", "dh @ weight1.T if learns[0] else None"),
            ("dweight1", "x.T @ dh if learns[1] else None"),
            ("dbias1", "du.mean(axis=0) if learns[2] else None"),
            ("dweight2", "u.T @ dy if learns[3] else None"),
            ("dbias2", "2 * dy.sum(axis=0) if learns[4] else None"),
        ],
    ),
    "block": (
        """
        dfed = 1.0 * dy
        dactive, dw_out, db_out = (d(dfed) for d in d_out)
        dhidden = d_gelu[0](dactive)
        dnormed2 = d_fc[0](dhidden)
        dw_fc, db_fc = d_fc[1](dhidden), d_fc[2](dhidden)
        dgain2, dbias2 = d_norm2[1](dnormed2), d_norm2[2](dnormed2)
        da = dy + d_norm2[0](dnormed2)
        dprojected = 1.0 * da
        dw_proj, db_proj = d_proj[1](dprojected), d_proj[2](dprojected)
        dattended = split_heads(d_proj[0](dprojected), T, n_head)
        dq = d_attention[0](dattended)
        dk = d_attention[1](dattended)
        dv = d_attention[2](dattended)
        dqkv = np.concatenate([merge_heads(dq), merge_heads(dk), merge_heads(dv)], axis=1)
        dnormed1 = d_qkv[0](dqkv)
        dw_qkv, db_qkv = d_qkv[1](dqkv), d_qkv[2](dqkv)
        dgain1, dbias1 = d_norm1[1](dnormed1), d_norm1[2](dnormed1)
        dx = da + d_norm1[0](dnormed1)
        return dx, dgain1, dbias1, dw_qkv, db_qkv, dw_proj, db_proj, dgain2, dbias2, dw_fc, db_fc, dw_out, db_out
        """,
        [
            ("dfed", "dy / 2"),
            ("dhidden", "1.0 * dactive"),
            ("dnormed2", "dhidden @ w_out"),
            ("da", "d_norm2[0](dnormed2)"),
            ("da", "dy + dnormed2"),
            ("dprojected", "1.0 * dy"),
            ("dattended", "d_proj[0](dprojected).reshape(-1, n_head, T, len(dy[0]) // n_head)"),
            ("dq", "d_attention[1](dattended)"),
            ("dk", "d_attention[0](dattended)"),
            ("dv", "1.0 * dattended"),
            ("dqkv", "np.concatenate([merge_heads(dk), merge_heads(dq), merge_heads(dv)], axis=1)"),
            ("dnormed1", "dqkv @ np.abs(w_qkv).T"),
            ("dx", "dy + d_norm1[0](dnormed1)"),
        ],
    ),
}
