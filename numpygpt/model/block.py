"""The transformer block: attention and an MLP, each on a normalised copy of the rows and added back to them."""

from ..ops import gelu, layernorm, linear, query_attention, take_rows
from .tape import both


def block(tape, n, x, config, attend):
    """Block n over all rows: x (N, D) -> (N, D). backward: dy -> dx, or None where nothing below is trainable.

    x = x + attn.c_proj(attend(attn.c_attn(ln_1(x))));  then x + mlp(x)

    attend   an operation qkv (N, 3D) -> (N, D): `attention` with its settings, or with a cache of earlier rows
    """
    h = f"h.{n}"
    a, d_ln_1 = tape(layernorm, x, *both(f"{h}.ln_1"), epsilon=config.layer_norm_epsilon)
    a, d_c_attn = tape(linear, a, *both(f"{h}.attn.c_attn"))  # (N, 3D)
    a, d_attention = tape(attend, a)  # (N, D)
    a, d_c_proj = tape(linear, a, *both(f"{h}.attn.c_proj"))
    a += x
    y, d_mlp = mlp(tape, h, a, config)

    def backward(dy):
        da = d_mlp(dy)
        dx = d_ln_1(d_c_attn(d_attention(d_c_proj(da))))
        return None if dx is None else add(dx, da)

    return y, backward


def block_at(tape, n, x, lengths, rows, config):
    """Block n where only one row of each message is read afterwards: x (N, D), rows (B,) -> (B, D), equal to block(...)[rows]
    if those rows see all of their message. backward: dy (B, D) -> dx (N, D), or None.

    The other rows serve as keys and values only: query, projection and MLP are computed for the one row.
    """
    h = f"h.{n}"
    x_at, d_take = tape(take_rows, x, rows=rows)  # (B, D)
    a, d_ln_1 = tape(layernorm, x, *both(f"{h}.ln_1"), epsilon=config.layer_norm_epsilon)
    a, d_attention = tape(
        query_attention, a, *both(f"{h}.attn.c_attn"), lengths=lengths, rows=rows, n_head=config.n_head
    )
    a, d_c_proj = tape(linear, a, *both(f"{h}.attn.c_proj"))
    a += x_at
    y, d_mlp = mlp(tape, h, a, config)

    def backward(dy):
        da = d_mlp(dy)
        dx = d_ln_1(d_attention(d_c_proj(da)))
        return None if dx is None else add(dx, d_take(da))

    return y, backward


def mlp(tape, h, x, config):
    """x + c_proj(gelu(c_fc(ln_2(x)))): x (N, D) -> (N, D). backward: dy -> dx, or None."""
    m, d_ln_2 = tape(layernorm, x, *both(f"{h}.ln_2"), epsilon=config.layer_norm_epsilon)
    m, d_c_fc = tape(linear, m, *both(f"{h}.mlp.c_fc"))  # (N, 4D)
    m, d_gelu = tape(gelu, m)
    m, d_c_proj = tape(linear, m, *both(f"{h}.mlp.c_proj"))  # (N, D)
    m += x

    def backward(dy):
        dx = d_ln_2(d_c_fc(d_gelu(d_c_proj(dy))))
        return None if dx is None else add(dx, dy)

    return m, backward


def add(dx, dy):
    """dx + dy, in dx's memory: where a residual joins the two paths that its x took."""
    dx += dy
    return dx
