"""python -m numpygpt.gradcheck: check every hand-written gradient against the complex-step derivative."""

import re
import sys
from itertools import product

import numpy as np

from .model.classifier import classifier
from .model.config import Config
from .model.language import language_model
from .model.lora import adapted_weights, adapters, merge
from .model.parameters import parameter_shapes
from .model.reading import POSITIONS, Reading
from .model.tape import Tape
from .ops.attention import attention
from .ops.cross_entropy import cross_entropy
from .ops.embedding import embedding
from .ops.gelu import gelu
from .ops.layernorm import layernorm
from .ops.linear import linear
from .ops.output_loss import output_loss
from .ops.pool import mean_rows, take_rows
from .ops.query_attention import query_attention
from .ops.softmax import softmax
from .system import command
from .text.batches import pack
from .training.rng import Generator

STEP = 1e-30


def complex_step(f, arrays, name):
    """The derivative of f, which takes {name: complex128 array} and returns a scalar, by every number of arrays[name].

    Taylor: f(x + ih) = f(x) + ih f'(x) - h^2 f''(x)/2 - …, so f'(x) = Im f(x + ih) / h with an error of h^2: nothing, for h = 1e-30
    (Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions").
    """
    x = arrays[name]
    derivative = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        real = x[i]
        x[i] = real + STEP * 1j
        derivative[i] = f(arrays).imag / STEP
        x[i] = real
    return derivative


def relative_errors(f, arrays, grads):
    """{name: error} of grads, the hand-written gradients of the scalar f(arrays), for each of the float64 arrays {name: array}.

    The error of a tensor is max |gradient - derivative| / max |derivative|, or infinite where the shapes differ. All arrays go in as
    complex128, because operations work in place on their first result, which has to hold imaginary parts from any of them.
    """
    arrays = {name: array.astype(np.complex128) for name, array in arrays.items()}
    errors = {}
    for name in arrays:
        derivative = complex_step(f, arrays, name)
        same_shape = grads[name].shape == derivative.shape
        errors[name] = np.abs(grads[name] - derivative).max() / np.abs(derivative).max() if same_shape else np.inf
    return errors


def operation_errors(rng, op, **arguments):
    """relative_errors of an operation for each float64 array among its arguments, which stand in its own order.

    The loss is sum(result * dy) with a random dy: with a dy of ones, a softmax's gradient is zero whatever its backward says.
    """
    y, backward = op(**arguments)
    dy = rng.standard_normal(np.shape(y))
    gradients = backward(dy)
    grads = dict(zip(arguments, gradients if isinstance(gradients, tuple) else (gradients,)))
    arrays = {name: a for name, a in arguments.items() if isinstance(a, np.ndarray) and a.dtype == np.float64}
    return relative_errors(lambda arrays: (op(**arguments | arrays)[0] * dy).sum(), arrays, grads)


def operation_cases(rng):
    """(label, operation, arguments) of every operation. Sizes that could be mixed up all differ; one message has a single token."""
    lengths, N, D, H, B, C, V, P = np.array([4, 4, 1]), 9, 10, 2, 3, 7, 8, 6
    rows = np.cumsum(lengths) - 1
    normal, gain = rng.standard_normal, far_from_0_and_1(rng, D)
    ids, targets = rng.integers(0, V // 2, N), rng.integers(0, C, B)
    attend, query = (
        dict(qkv=normal((N, 3 * D)), lengths=lengths, n_head=H),
        dict(lengths=lengths, rows=rows, n_head=H),
    )
    return [
        ("embedding", embedding, dict(ids=ids, wte=normal((V, D)), wpe=normal((P, D)), lengths=lengths)),
        ("layernorm", layernorm, dict(x=normal((N, D)), gain=gain, bias=normal(D))),
        ("linear", linear, dict(x=normal((N, D)), weight=normal((D, C)), bias=normal(C))),
        ("gelu", gelu, dict(x=2 * normal((N, D)))),
        ("softmax", softmax, dict(x=normal((H, N, D)))),
        ("attention, causal", attention, dict(**attend, causal=True)),
        ("attention, to all", attention, dict(**attend, causal=False)),
        (
            "query_attention",
            query_attention,
            dict(x=normal((N, D)), weight=normal((D, 3 * D)), bias=normal(3 * D), **query),
        ),
        ("take_rows", take_rows, dict(x=normal((N, D)), rows=rows)),
        ("mean_rows", mean_rows, dict(x=normal((N, D)), lengths=lengths)),
        ("cross_entropy", cross_entropy, dict(logits=normal((B, C)), targets=targets)),
        (
            "cross_entropy, one ignored",
            cross_entropy,
            dict(logits=normal((B, C)), targets=np.array([2, 0, 5]), ignore_index=0),
        ),
        ("output_loss", output_loss, dict(x=normal((N, D)), wte=normal((V, D)), targets=rng.integers(0, V, N))),
    ]


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
    for position, causal in product(POSITIONS, (True, False)):
        ids, lengths = pack(messages)

        def logits(tape):
            return classifier(tape, ids, lengths, SMALL, Reading(position, causal))

        tape = Tape(params, frozenset(params))
        logits(tape)[1](dlogits)
        errors = relative_errors(lambda params: (logits(Tape(params))[0] * dlogits).sum(), params, tape.grads)
        yield from by_kind(errors, params)


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
    base = {name: array.astype(np.complex128) for name, array in base.items()}
    yield from by_kind(relative_errors(lambda new: (logits(base | new)[0] * dlogits).sum(), new, gradients()), new)


def by_kind(errors, params):
    """Yields (row, numbers, error) of {name: error}. A row is a kind of parameter, all blocks' together."""
    for name, error in errors.items():
        yield re.sub(r"^h\.\d+", "h.*", name), params[name].size, error


SMALL = Config(vocab_size=11, n_positions=9, n_embd=6, n_layer=2, n_head=3)


def random_messages(rng):
    """Token ids of four messages for a SMALL model, of unequal lengths, one with a single token."""
    return [rng.integers(0, SMALL.vocab_size, T) for T in (5, 1, 8, 5)]


def random_weights(rng, shapes):
    """float64 {name: array} in which nothing is zero, or one, as in a fresh model: a wrong gradient could hide there."""
    params = {}
    for name, shape in shapes.items():
        gain = ".ln_" in f".{name}" and name.endswith(".weight")
        params[name] = far_from_0_and_1(rng, shape) if gain else 0.5 * rng.standard_normal(shape)
    return params


def far_from_0_and_1(rng, shape):
    return rng.uniform(1.5, 2.5, shape)


# What is checked, the bound on its relative errors, and the function that yields (row, numbers, error).
CHECKS = (
    ("operations", 1e-12, operations),
    ("classifier", 1e-11, classifiers),
    ("LoRA", 1e-11, low_rank_adapters),
    ("language model", 1e-11, language_models),
)


def arguments(argv=None):
    return command.parser(
        "gradcheck",
        "Check every hand-written gradient against the complex-step derivative: of each operation, then of whole models.\n"
        "\n"
        "A complex step is f(x + ih): it adds a tiny imaginary number to one input. By Taylor's series its imaginary part is h f'(x),\n"
        "up to h^3, so Im f(x + ih) / h is the derivative. Unlike a finite difference it subtracts no two nearly equal numbers, so h\n"
        "can be 1e-30 and the derivative is right to the last digits.",
        ["python -m numpygpt.gradcheck"],
    ).parse_args(argv)


def main(argv=None):
    arguments(argv)
    wrong = []
    for title, bound, check in CHECKS:
        print(f"{title + f', at most {bound:.0e}':<40}{'numbers':>10}{'largest relative error':>26}")
        numbers, errors = {}, {}
        for row, count, error in check():
            numbers[row] = numbers.get(row, 0) + count
            errors.setdefault(row, []).append(error)
        for row, found in errors.items():
            holds = all(error <= bound for error in found)  # false for a NaN, too
            wrong += [] if holds else [row]
            print(f"  {row:<38}{numbers[row]:>10,}{max(found):>26.1e}{'' if holds else '  WRONG'}")
        print(flush=True)
    print(f"wrong: {', '.join(wrong)}" if wrong else "every gradient holds")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
