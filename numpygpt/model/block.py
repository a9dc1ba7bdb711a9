"""The transformer block: attention and an MLP. Each reads normalised rows, and its result is added to the rows."""

from ..ops.gelu import gelu
from ..ops.layernorm import layernorm
from ..ops.linear import linear
from ..ops.pool import take_rows
from ..ops.query_attention import query_attention
from .tape import weight_and_bias


def block(tape, n, x, attend, config):
    """Run block n: x (N, D) -> y (N, D). backward: dy -> dx.

    a = x + self_attention(x);  y = a + mlp(a)

    attend   qkv (N, 3D) -> (N, D), backward

    A sum passes its gradient unchanged to both its terms. So where x takes two paths, past a layer and through it, its
    gradient is the gradient at the sum plus the gradient that comes back through the layer.
    """
    attended, d_self_attention = self_attention(tape, n, x, attend, config)
    a = x + attended
    fed, d_mlp = mlp(tape, n, a, config)
    y = a + fed

    def backward(dy):
        da = dy + d_mlp(dy)
        dx = da + d_self_attention(da)
        return dx

    return y, backward


def block_at(tape, n, x, lengths, rows, config):
    """Run block n for one row of each message: x (N, D), rows (B,) -> y (B, D). backward: dy (B, D) -> dx (N, D).

    The result equals block(...)[rows] if those rows attend to all rows of their message. Only keys and values are
    needed of the other rows; query, projection and MLP are computed for the one row.
    """
    x_read, d_take = tape(take_rows, x, rows=rows)  # (B, D)
    attended, d_self_attention = self_attention_at(tape, n, x, lengths, rows, config)
    a = x_read + attended
    fed, d_mlp = mlp(tape, n, a, config)
    y = a + fed

    def backward(dy):
        da = dy + d_mlp(dy)
        dx = d_self_attention(da) + d_take(da)
        return dx

    return y, backward


def self_attention(tape, n, x, attend, config):
    """Run c_proj(attend(c_attn(ln_1(x)))): x (N, D) -> (N, D). backward: dy -> dx."""
    h = f"h.{n}"
    normed, d_ln_1 = tape(layernorm, x, *weight_and_bias(f"{h}.ln_1"), epsilon=config.layer_norm_epsilon)
    qkv, d_c_attn = tape(linear, normed, *weight_and_bias(f"{h}.attn.c_attn"))  # (N, 3D)
    attended, d_attend = attend(qkv)  # (N, D)
    y, d_c_proj = tape(linear, attended, *weight_and_bias(f"{h}.attn.c_proj"))

    def backward(dy):
        return d_ln_1(d_c_attn(d_attend(d_c_proj(dy))))

    return y, backward


def self_attention_at(tape, n, x, lengths, rows, config):
    """Run self_attention(...)[rows], with c_attn and attention folded to one row of each message: (N, D) -> (B, D)."""
    h = f"h.{n}"
    normed, d_ln_1 = tape(layernorm, x, *weight_and_bias(f"{h}.ln_1"), epsilon=config.layer_norm_epsilon)
    c_attn = weight_and_bias(f"{h}.attn.c_attn")
    attended, d_attend = tape(query_attention, normed, *c_attn, lengths=lengths, rows=rows, n_head=config.n_head)
    y, d_c_proj = tape(linear, attended, *weight_and_bias(f"{h}.attn.c_proj"))  # (B, D)

    def backward(dy):
        return d_ln_1(d_attend(d_c_proj(dy)))

    return y, backward


def mlp(tape, n, x, config):
    """Run c_proj(gelu(c_fc(ln_2(x)))): x (N, D) -> (N, D). backward: dy -> dx."""
    h = f"h.{n}"
    normed, d_ln_2 = tape(layernorm, x, *weight_and_bias(f"{h}.ln_2"), epsilon=config.layer_norm_epsilon)
    hidden, d_c_fc = tape(linear, normed, *weight_and_bias(f"{h}.mlp.c_fc"))  # (N, 4D)
    active, d_gelu = tape(gelu, hidden)
    y, d_c_proj = tape(linear, active, *weight_and_bias(f"{h}.mlp.c_proj"))  # (N, D)

    def backward(dy):
        return d_ln_2(d_c_fc(d_gelu(d_c_proj(dy))))

    return y, backward
