"""Every operation in float32: its result and gradients equal PyTorch's."""

import numpy as np
import pytest

from numpygpt.ops.attention import attention
from numpygpt.ops.cross_entropy import cross_entropy
from numpygpt.ops.dot_product_attention import dot_product_attention
from numpygpt.ops.embedding import embedding
from numpygpt.ops.gelu import gelu
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.ops.output_loss import output_loss
from numpygpt.ops.pool import mean_rows, take_rows
from numpygpt.ops.query_attention import query_attention
from numpygpt.ops.softmax import softmax
from numpygpt.study.checking import cases
from numpygpt.study.checking.complex_step import operation_gradients

torch = pytest.importorskip("torch")
F = torch.nn.functional


def each_message(function, lengths, *packed):
    return torch.cat([function(*parts) for parts in zip(*(torch.split(x, lengths.tolist()) for x in packed))])


def torch_embedding(ids, wte, wpe, lengths):
    positions = torch.cat([torch.arange(T) for T in lengths.tolist()])
    return F.embedding(torch.tensor(ids), wte) + F.embedding(positions, wpe)


def torch_attention(qkv, T, n_head, causal):
    return torch_message_attention(qkv, np.full(len(qkv) // T, T), n_head, causal)


def torch_message_attention(qkv, lengths, n_head, causal):
    def one(qkv):
        q, k, v = (part.unflatten(1, (n_head, -1)).swapaxes(0, 1) for part in qkv.chunk(3, dim=1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).swapaxes(0, 1).flatten(1)

    return each_message(one, lengths, qkv)


def torch_dot_product_attention(q, k, v, sqrt_d, causal):
    mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1]) if causal else None
    return F.scaled_dot_product_attention(q, k, v, mask, scale=1 / sqrt_d)


ORACLES = {
    embedding: torch_embedding,
    layernorm: lambda x, gain, bias: F.layer_norm(x, gain.shape, gain, bias, 1e-5),
    linear: lambda x, weight, bias: F.linear(x, weight.T, bias),
    gelu: lambda x: F.gelu(x, approximate="tanh"),
    softmax: lambda x: F.softmax(x, dim=-1),
    attention: torch_attention,
    query_attention: lambda x, weight, bias, lengths, rows, n_head: torch_message_attention(
        x @ weight + bias, lengths, n_head, False
    )[rows],
    take_rows: lambda x, rows: x[rows],
    mean_rows: lambda x, lengths: each_message(lambda part: part.mean(dim=0, keepdim=True), lengths, x),
    cross_entropy: lambda logits, targets, smoothing=0.0, weights=None, **ignore_index: F.cross_entropy(
        logits, torch.tensor(targets), weights and torch.tensor(weights), label_smoothing=smoothing, **ignore_index
    ),
    dot_product_attention: torch_dot_product_attention,
    output_loss: lambda x, wte, targets: F.cross_entropy(x @ wte.T, torch.tensor(targets)),
}
CASES = cases.operation_cases(np.random.default_rng(4))


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("label, op, arguments", CASES, ids=[label for label, _, _ in CASES])
def test_results_and_gradients_equal_pytorchs(label, op, arguments):
    ours = {
        name: a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == float else a
        for name, a in arguments.items()
    }
    inputs = {
        name: torch.tensor(a, requires_grad=True)
        for name, a in ours.items()
        if isinstance(a, np.ndarray) and a.dtype == np.float32
    }
    y, _ = op(**ours)
    expected = ORACLES[op](**ours | inputs)
    close(np.asarray(y), expected)
    dy = np.asarray(np.random.default_rng(5).standard_normal(np.shape(y)), np.float32)
    expected.backward(torch.tensor(dy))
    for name, gradient in operation_gradients(op, dy[()], **ours).items():
        close(gradient, inputs[name].grad)
