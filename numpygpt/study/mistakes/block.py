def no_skip_past_the_mlp():
    """The way past the MLP is missing: y = a + mlp(a), so dy comes back to a as it is, and through the MLP; both add
    up."""
    da = d_norm2(dnormed2)[0]
    dattended, dw_proj, db_proj = d_proj(da)
    dnormed1, dw_qkv, db_qkv = d_qkv(d_attention(dattended))
    dx, dgain1, dbias1 = d_norm1(dnormed1)
    dx = da + dx


def no_skip_past_the_attention():
    """The way past the attention is missing: a = x + self_attention(x), so what is at a comes back to x as it is,
    too."""
    dx = d_norm1(dnormed1)[0]


def no_skips():
    """Both ways past, of the MLP and of the attention, are missing."""
    da = d_norm2(dnormed2)[0]
    dattended, dw_proj, db_proj = d_proj(da)
    dnormed1, dw_qkv, db_qkv = d_qkv(d_attention(dattended))
    dx, dgain1, dbias1 = d_norm1(dnormed1)


def attention_from_dy():
    """The attention is handed dy. It gets what is at a: dy and what came back through the MLP."""
    dattended, dw_proj, db_proj = d_proj(dy)
    dnormed1, dw_qkv, db_qkv = d_qkv(d_attention(dattended))
    dx, dgain1, dbias1 = d_norm1(dnormed1)
    dx = da + dx


def x_from_dy():
    """dx is dy and what comes back through the attention. Past the attention x gets what is at a, not dy alone."""
    dx = dy + d_norm1(dnormed1)[0]


def dy_added_twice():
    """dy is added once more at x: it is in da already."""
    dx = dx + dy


def gelu_skipped():
    """GELU is skipped on the way back: between d_out and d_fc stands d_gelu."""
    dnormed2, dw_fc, db_fc = d_fc(dactive)
    da, dgain2, dbias2 = d_norm2(dnormed2)
    da = dy + da
    dattended, dw_proj, db_proj = d_proj(da)
    dnormed1, dw_qkv, db_qkv = d_qkv(d_attention(dattended))
    dx, dgain1, dbias1 = d_norm1(dnormed1)
    dx = da + dx


def norms_exchanged():
    """The gradients of the two layernorms are exchanged: gain1 and bias1 are the attention's, gain2 and bias2 the
    MLP's."""
    dgain1, dbias1, dgain2, dbias2 = dgain2, dbias2, dgain1, dbias1
