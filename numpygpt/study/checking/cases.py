"""What the gradient check runs: every operation, and small models, with inputs in which no slip can hide."""

import re
from itertools import product
from types import SimpleNamespace

import numpy as np

from ...model.classifier import classifier
from ...model.config import Config
from ...model.language import language_model
from ...model.lora import adapted_weights, adapters, merge
from ...model.parameters import parameter_shapes
from ...model.pooling import Pooling
from ...model.tape import Tape
from ...model.trainable import frozen_depth, trainable_names
from ...ops.attention import attention
from ...ops.cross_entropy import cross_entropy
from ...ops.dot_product_attention import dot_product_attention
from ...ops.embedding import embedding
from ...ops.gelu import gelu
from ...ops.layernorm import layernorm
from ...ops.linear import linear
from ...ops.output_loss import output_loss
from ...ops.pool import mean_rows, take_rows
from ...ops.query_attention import query_attention
from ...ops.softmax import softmax
from ...system.settings import POSITIONS
from ...text.batches import pack
from ...training.curvature import hessian
from ...training.rng import Generator
from .complex_step import operation_errors, relative_errors

SMALL = Config(vocab_size=11, n_positions=9, n_embd=6, n_layer=2, n_head=3)


def operation_cases(rng):
    """Return (label, operation, arguments) of every operation. Sizes that could be mixed up differ."""
    lengths, N, D, H, B, C, V, P = np.array([4, 4, 1]), 9, 10, 2, 3, 7, 8, 6
    rows = np.cumsum(lengths) - 1
    normal, gain = rng.standard_normal, far_from_0_and_1(rng, D)
    ids, targets = rng.integers(0, V // 2, N), rng.integers(0, C, B)
    weights = (0.5, 2.5, 1.5, 4.5, 3.5, 0.25, 2.25)  # no array: it has no gradient
    ignoring = dict(logits=normal((B, C)), targets=np.array([2, 0, 5]), ignore_index=0)
    attend, look = dict(qkv=normal((N, 3 * D)), T=3, n_head=H), dict(q=normal((H, 3, 5)), k=normal((H, 4, 5)))
    look |= dict(v=normal((H, 4, 5)), sqrt_d=1.7)
    query = dict(x=normal((N, D)), weight=normal((D, 3 * D)), bias=normal(3 * D), lengths=lengths, rows=rows, n_head=H)
    return [
        ("embedding", embedding, dict(ids=ids, wte=normal((V, D)), wpe=normal((P, D)), lengths=lengths)),
        ("layernorm", layernorm, dict(x=normal((N, D)), gain=gain, bias=normal(D))),
        ("linear", linear, dict(x=normal((N, D)), weight=normal((D, C)), bias=normal(C))),
        ("gelu", gelu, dict(x=2 * normal((N, D)))),
        ("softmax", softmax, dict(x=normal((H, N, D)))),
        ("dot_product_attention, causal", dot_product_attention, dict(**look, causal=True)),
        ("dot_product_attention, to all", dot_product_attention, dict(**look, causal=False)),
        ("attention, causal", attention, dict(**attend, causal=True)),
        ("attention, to all", attention, dict(**attend, causal=False)),
        ("query_attention", query_attention, query),
        ("take_rows", take_rows, dict(x=normal((N, D)), rows=rows)),
        ("mean_rows", mean_rows, dict(x=normal((N, D)), lengths=lengths)),
        ("cross_entropy", cross_entropy, dict(logits=normal((B, C)), targets=targets)),
        ("cross_entropy, one ignored", cross_entropy, ignoring),
        ("cross_entropy, smoothed", cross_entropy, ignoring | dict(smoothing=0.3)),
        ("cross_entropy, weighted", cross_entropy, ignoring | dict(weights=weights)),
        ("cross_entropy, smoothed, weighted", cross_entropy, ignoring | dict(smoothing=0.3, weights=weights)),
        ("output_loss", output_loss, dict(x=normal((N, D)), wte=normal((V, D)), targets=rng.integers(0, V, N))),
    ]


def random_messages(rng):
    """Token ids of four messages for a SMALL model, of unequal lengths, one with a single token."""
    return [rng.integers(0, SMALL.vocab_size, T) for T in (5, 1, 8, 5)]


def random_weights(rng, shapes):
    """float64 {name: array} in which nothing is zero or one, as in a fresh model: a wrong gradient could hide there."""
    params = {}
    for name, shape in shapes.items():
        gain = ".ln_" in f".{name}" and name.endswith(".weight")
        params[name] = far_from_0_and_1(rng, shape) if gain else 0.5 * rng.standard_normal(shape)
    return params


def far_from_0_and_1(rng, shape):
    return rng.uniform(1.5, 2.5, shape)


def operations():
    """Yields (row, numbers, error) of every input of every operation."""
    rng = np.random.default_rng(1)
    for label, op, arguments in operation_cases(rng):
        for name, error in operation_errors(rng, op, **arguments).items():
            yield f"{label}: d{name}", arguments[name].size, error


def classifiers():
    """Yields (row, numbers, error) of every parameter of a small classifier, at every position, causal or not."""
    rng = np.random.default_rng(2)
    params = random_weights(rng, parameter_shapes(SMALL) | {"head.weight": (6, 7), "head.bias": (7,)})
    messages = random_messages(rng)
    dlogits = rng.standard_normal((len(messages), 7))
    ids, lengths = pack(messages)
    for position, causal in product(POSITIONS, (True, False)):
        pooling = Pooling(position, causal)

        def logits(tape, pooling=pooling):
            return classifier(tape, ids, lengths, SMALL, pooling)

        tape = Tape(params, frozenset(params))
        logits(tape)[1](dlogits)
        errors = relative_errors(lambda params: (logits(Tape(params))[0] * dlogits).sum(), params, tape.grads)
        yield from by_kind(errors, params)


def low_rank_adapters():
    """Yields (row, numbers, error) of every adapter that LoRA adds to a small classifier."""
    rng = np.random.default_rng(4)
    base = random_weights(rng, parameter_shapes(SMALL) | {"head.weight": (6, 7), "head.bias": (7,)})
    new = random_weights(rng, {name: array.shape for name, array in adapters(base, SMALL, 4, Generator(4)).items()})
    ids, lengths = pack(random_messages(rng))
    dlogits, scale = rng.standard_normal((len(lengths), 7)), 1.5

    def logits(params, trainable=frozenset()):
        merged, d_merge = merge(params, SMALL, scale)
        tape = Tape(merged, trainable)
        return *classifier(tape, ids, lengths, SMALL), lambda: d_merge(tape.grads)

    _, d_classifier, gradients = logits(base | new, adapted_weights(SMALL))
    d_classifier(dlogits)
    yield from by_kind(relative_errors(lambda new: (logits(base | new)[0] * dlogits).sum(), new, gradients()), new)


def language_models():
    """Yields (row, numbers, error) of every parameter of a small language model."""
    rng = np.random.default_rng(3)
    params = random_weights(rng, parameter_shapes(SMALL))
    ids, lengths = pack(random_messages(rng))
    targets = rng.integers(0, SMALL.vocab_size, len(ids))
    tape = Tape(params, frozenset(params))
    language_model(tape, ids, lengths, targets, SMALL)[1]()
    errors = relative_errors(
        lambda params: language_model(Tape(params), ids, lengths, targets, SMALL)[0], params, tape.grads
    )
    yield from by_kind(errors, params)


def hessians():
    """Yields (row, numbers, error) of u·Hv = v·Hu, where H is the Hessian of a small classifier's loss.

    The gradient's own derivative is symmetric. A slip in a gradient that is not the derivative of the loss breaks that.
    """
    rng = np.random.default_rng(5)
    params = random_weights(rng, parameter_shapes(SMALL) | {"head.weight": (6, 7), "head.bias": (7,)})
    messages = random_messages(rng)
    numbers = rng.integers(0, 7, len(messages))
    clf = SimpleNamespace(params=params, config=SMALL, lora_scale=None)
    for choice, position in product(("last_block", "all"), POSITIONS):
        clf.trainable, clf.pooling = trainable_names(choice, params, SMALL), Pooling(position)
        clf.frozen_blocks = frozen_depth(clf.trainable, SMALL)
        u, v = ({name: rng.standard_normal(params[name].shape) for name in clf.trainable} for _ in range(2))
        times = hessian(clf, messages, numbers)
        once, again = (sum(np.vdot(a[name], b[name]) for name in a) for a, b in ((u, times(v)), (v, times(u))))
        yield f"u·Hv = v·Hu, {choice}", 2 * sum(a.size for a in u.values()), abs(once - again) / abs(once)


def by_kind(errors, params):
    """Yields (row, numbers, error) of {name: error}. A row is a kind of parameter, all blocks' together."""
    for name, error in errors.items():
        yield re.sub(r"^h\.\d+", "h.*", name), params[name].size, error


# What is checked, the bound on its relative errors, and the function that yields (row, numbers, error).
CHECKS = (
    ("operations", 1e-12, operations),
    ("classifier", 1e-11, classifiers),
    ("LoRA", 1e-11, low_rank_adapters),
    ("language model", 1e-11, language_models),
    ("second derivatives", 1e-10, hessians),
)
