import numpy as np

from ...ops.attention import attention as causal_attention
from ...ops.gelu import gelu
from ...ops.layernorm import layernorm
from ...ops.linear import linear
from ..checking.exercise import Draw, Exercise


def block(x, gain1, bias1, w_qkv, b_qkv, w_proj, b_proj, gain2, bias2, w_fc, b_fc, w_out, b_out, lengths, n_head):
    """a = x + self_attention(x);  y = a + mlp(a): a whole block of the transformer, out of your own pieces

    x (N, D), gain1, bias1, gain2, bias2 (D,), w_qkv (D, 3D), w_proj (D, D), w_fc (D, 4D), w_out (4D, D), a bias each
    -> y (N, D). backward: dy (N, D) -> dx and a gradient for every parameter, in the order of the arguments.
    """
    normed1, d_norm1 = layernorm(x, gain1, bias1)
    qkv, d_qkv = linear(normed1, w_qkv, b_qkv)  # (N, 3D)
    attended, d_attention = causal_attention(qkv, lengths, n_head)
    projected, d_proj = linear(attended, w_proj, b_proj)
    a = x + projected
    normed2, d_norm2 = layernorm(a, gain2, bias2)
    hidden, d_fc = linear(normed2, w_fc, b_fc)  # (N, 4D)
    active, d_gelu = gelu(hidden)
    fed, d_out = linear(active, w_out, b_out)
    y = a + fed

    def backward(dy):
        dactive, dw_out, db_out = d_out(dy)
        dnormed2, dw_fc, db_fc = d_fc(d_gelu(dactive))
        da, dgain2, dbias2 = d_norm2(dnormed2)
        da = dy + da
        dattended, dw_proj, db_proj = d_proj(da)
        dnormed1, dw_qkv, db_qkv = d_qkv(d_attention(dattended))
        dx, dgain1, dbias1 = d_norm1(dnormed1)
        dx = da + dx
        return dx, dgain1, dbias1, dw_qkv, db_qkv, dw_proj, db_proj, dgain2, dbias2, dw_fc, db_fc, dw_out, db_out

    return y, backward


HINTS = (
    "Every piece hands you its own backward. Call them in exactly the reverse order, each with what the one after "
    "it returned. Give the results names: d and the name of the argument.",
    "At y = a + fed and at a = x + projected a value goes two ways, so two gradients add up: dy and what comes back "
    "through the MLP; then that sum and what comes back through the attention.",
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
        return Draw(label, dict(**arguments, lengths=np.full(messages, T), n_head=H), {"N": messages * T, "D": D})

    return [draw("two messages of three tokens", 2, 3, 2, 2), draw("one message of one token", 1, 1, 1, 3)]


EXERCISE = Exercise(
    "block",
    "a whole block out of your own pieces, which lie beside it",
    block,
    HINTS,
    draws,
    pieces=("causal_attention", "gelu", "layernorm", "linear"),
)
