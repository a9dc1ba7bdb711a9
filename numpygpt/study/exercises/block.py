import math

import numpy as np

from ...ops.attention import merge_heads, split_heads
from ...ops.dot_product_attention import dot_product_attention as causal_attention
from ...ops.gelu import gelu
from ...ops.layernorm import layernorm
from ...ops.linear import linear
from ..checking.exercise import Draw, Exercise


def block(x, gain1, bias1, w_qkv, b_qkv, w_proj, b_proj, gain2, bias2, w_fc, b_fc, w_out, b_out, T, n_head):
    """a = x + self_attention(x);  y = a + mlp(a): a whole block of the transformer, out of your own pieces

    x (N, D), gain1, bias1, gain2, bias2 (D,), w_qkv (D, 3D), w_proj (D, D), w_fc (D, 4D), w_out (4D, D), a bias each
    -> y (N, D). All messages have T rows. An operation's second result is a tuple of functions, one per gradient. Here
    one backward returns dx and a gradient for every parameter, in the order of the arguments.
    """
    normed1, d_norm1 = layernorm(x, gain1, bias1)
    qkv, d_qkv = linear(normed1, w_qkv, b_qkv)  # (N, 3D)
    q, k, v = (split_heads(part, T, n_head) for part in np.split(qkv, 3, axis=1))
    attended, d_attention = causal_attention(q, k, v, math.sqrt(q.shape[-1]), causal=True)
    projected, d_proj = linear(merge_heads(attended), w_proj, b_proj)
    a = x + projected
    normed2, d_norm2 = layernorm(a, gain2, bias2)
    hidden, d_fc = linear(normed2, w_fc, b_fc)  # (N, 4D)
    active, d_gelu = gelu(hidden)
    fed, d_out = linear(active, w_out, b_out)
    y = a + fed

    def backward(dy):
        dactive, dw_out, db_out = (d(dy) for d in d_out)
        (dhidden,) = (d(dactive) for d in d_gelu)
        dnormed2, dw_fc, db_fc = (d(dhidden) for d in d_fc)
        da, dgain2, dbias2 = (d(dnormed2) for d in d_norm2)
        da = dy + da
        dattended, dw_proj, db_proj = (d(da) for d in d_proj)
        dattended = split_heads(dattended, T, n_head)
        dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
        dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
        dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
        dx = da + dx
        return dx, dgain1, dbias1, dw_qkv, db_qkv, dw_proj, db_proj, dgain2, dbias2, dw_fc, db_fc, dw_out, db_out

    return y, backward


IMPORTS = """import math

import numpy as np
from causal_attention import causal_attention
from gelu import gelu
from layernorm import layernorm
from linear import linear

from numpygpt.ops.attention import merge_heads, split_heads"""

HINTS = (
    "Every piece returns its gradient functions. Call them in reverse order, each with the result of the piece after "
    "it. Name each result d and the name of the argument.",
    "At y = a + fed and at a = x + projected a value takes two paths, so two gradients add up: dy and the gradient "
    "through the MLP, then that sum and the gradient through the attention.",
    "With dy at y:\n"
    "    da = dy + what d_out, d_gelu, d_fc, d_norm2 make of dy, one after the other\n"
    "    dx = da + what d_proj, d_attention, d_qkv, d_norm1 make of da, one after the other",
)


def draws(rng):
    def draw(label, messages, T, H, d):
        normal, D = rng.standard_normal, H * d
        layers = dict(qkv=(D, 3 * D), proj=(D, D), fc=(D, 4 * D), out=(4 * D, D))
        w = {f"w_{name}": normal(shape) / 2 for name, shape in layers.items()}
        b = {f"b_{name}": normal(shape[1]) for name, shape in layers.items()}
        gains = {name: rng.uniform(1.5, 2.5, D) for name in ("gain1", "gain2")}
        parameters = w | b | gains | {name: normal(D) for name in ("bias1", "bias2")}
        order = "gain1 bias1 w_qkv b_qkv w_proj b_proj gain2 bias2 w_fc b_fc w_out b_out".split()
        arguments = dict(x=normal((messages * T, D)), **{name: parameters[name] for name in order})
        return Draw(label, dict(**arguments, T=T, n_head=H), {"N": messages * T, "D": D})

    return [draw("two messages of three tokens", 2, 3, 2, 2), draw("one message of one token", 1, 1, 1, 3)]


EXERCISE = Exercise(
    "block",
    "a whole block out of your own pieces, which lie beside it",
    block,
    HINTS,
    draws,
    __name__,
    imports=IMPORTS,
)


# Known mistakes


def no_skip_past_the_mlp():
    """The path past the MLP is missing. y = a + mlp(a), so dy comes back to a unchanged, and through the MLP. Both
    add up."""
    da = d_norm2[0](dnormed2)
    dattended, dw_proj, db_proj = (d(da) for d in d_proj)
    dattended = split_heads(dattended, T, n_head)
    dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
    dx = da + dx


def no_skip_past_the_attention():
    """The path past the attention is missing. a = x + self_attention(x), so da also comes back to x unchanged."""
    dx = d_norm1[0](dnormed1)


def no_skips():
    """Both paths, past the MLP and past the attention, are missing."""
    da = d_norm2[0](dnormed2)
    dattended, dw_proj, db_proj = (d(da) for d in d_proj)
    dattended = split_heads(dattended, T, n_head)
    dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)


def attention_from_dy():
    """The attention gets dy. It must get da: dy and what came back through the MLP."""
    dattended, dw_proj, db_proj = (d(dy) for d in d_proj)
    dattended = split_heads(dattended, T, n_head)
    dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
    dx = da + dx


def x_from_dy():
    """dx is dy and what comes back through the attention. Past the attention x gets da, not dy alone."""
    dx = dy + d_norm1[0](dnormed1)


def dy_added_twice():
    """dy is added once more at x. da contains it already."""
    dx = dx + dy


def gelu_skipped():
    """GELU is skipped on the way back: between d_out and d_fc stands d_gelu."""
    dnormed2, dw_fc, db_fc = (d(dactive) for d in d_fc)
    da, dgain2, dbias2 = (d(dnormed2) for d in d_norm2)
    da = dy + da
    dattended, dw_proj, db_proj = (d(da) for d in d_proj)
    dattended = split_heads(dattended, T, n_head)
    dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
    dx = da + dx


def heads_by_reshape():
    """dattended is cut into heads by reshape alone, which mixes the rows. Reshape to (messages, T, n_head, d) first,
    then exchange T and n_head, as split_heads does."""
    dattended = d_proj[0](da)
    dattended = dattended.reshape(-1, n_head, T, dattended.shape[1] // n_head)
    dqkv = np.concatenate([merge_heads(d(dattended)) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
    dx = da + dx


def merged_by_reshape():
    """The heads are put side by side by reshape alone, which mixes the rows. Exchange T and n_head first, as
    merge_heads does."""
    dqkv = np.concatenate([d(dattended).reshape(len(x), -1) for d in d_attention], axis=1)
    dnormed1, dw_qkv, db_qkv = (d(dqkv) for d in d_qkv)
    dx, dgain1, dbias1 = (d(dnormed1) for d in d_norm1)
    dx = da + dx


def norms_exchanged():
    """The gradients of the two layernorms are exchanged. gain1 and bias1 belong to the attention, gain2 and bias2
    to the MLP."""
    dgain1, dbias1, dgain2, dbias2 = dgain2, dbias2, dgain1, dbias1
