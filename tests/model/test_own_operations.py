"""A learner's own operations train the classifier with exactly the shipped operations' losses."""

import numpy as np
import pytest

from numpygpt.model.own_operations import SHIPPED, OwnOperations
from numpygpt.ops.attention import attention
from numpygpt.ops.dot_product_attention import dot_product_attention
from numpygpt.ops.gelu import gelu
from numpygpt.ops.layernorm import layernorm
from numpygpt.ops.linear import linear
from numpygpt.ops.softmax import softmax
from numpygpt.study import exercises
from numpygpt.system.errors import InputError, Note
from numpygpt.training.fine_tune import fine_tune
from tests.training.test_fine_tune import RECIPE, a_run

# The exercises that are operations of a classifier. causal_attention has the same function as attention.
NAMES = "linear softmax cross_entropy gelu layernorm embedding take_rows mean_rows attention query_attention".split()


def solution(name):
    """Return the function that an exercise's solved file defines."""
    space = {}
    exec(exercises.exercise(name).solution_text(), space)
    return space[name]


def one_backward(operation):
    """Convert an operation to the form with one backward."""

    def whole(*args):
        y, functions = operation(*args)
        return y, lambda dy: tuple(function(dy) for function in functions)

    return whole


def history(choice="all", position="last", **settings):
    clf, (training, validation) = a_run(choice, position)
    rows = fine_tune(clf, training, validation, **RECIPE | dict(label_smoothing=0.1), **settings)
    return rows, clf.params


@pytest.mark.parametrize("form", [lambda operation: operation, one_backward])
@pytest.mark.parametrize(
    "choice, position, unused", [("all", "last", {"mean_rows"}), ("last_block", "mean", {"embedding"})]
)
def test_solved_exercises_train_a_classifier_with_the_shipped_losses(choice, position, unused, form):
    unused = unused | ({"take_rows", "query_attention"} if position == "mean" else set())
    unused |= {"softmax"} if form is one_backward else set()  # its wrapper hides the calls of softmax
    own = {name: form(solution(name)) for name in NAMES if name not in unused}
    expected, params = history(choice, position)
    found, trained = history(choice, position, ops=own)
    assert found.equals(expected)
    assert all(np.array_equal(params[name], trained[name]) for name in params)


def test_a_wrong_operation_changes_the_losses():
    expected, _ = history()

    def doubled(x, gain, bias, epsilon=1e-5):
        y, (dx, dgain, dbias) = layernorm(x, gain, bias, epsilon)
        return y, (lambda dy: 2 * dx(dy), dgain, dbias)

    found, _ = history(ops={"layernorm": doubled})
    losses = [rows["loss"].dropna().to_numpy() for rows in (expected, found)]
    assert losses[0][0] == losses[1][0] and losses[0][-1] != losses[1][-1]


def test_a_given_softmax_is_used_by_attention_and_the_loss():
    calls = []

    def counted(x):
        calls.append(x.ndim)
        return softmax(x)

    own = OwnOperations({"softmax": counted})
    qkv = np.random.default_rng(0).standard_normal((6, 12))
    y, (dqkv,) = own[attention](qkv, T=3, n_head=2)
    expected, (right,) = attention(qkv, T=3, n_head=2)
    assert np.array_equal(y, expected) and np.array_equal(dqkv(y), right(y))
    assert calls == [4] and own[gelu] is gelu
    assert own[SHIPPED["cross_entropy"]] is not SHIPPED["cross_entropy"]


def test_attention_has_the_exercises_arguments_unless_its_first_is_qkv():
    assert OwnOperations({"attention": solution("attention")}).given.keys() == {dot_product_attention}
    assert OwnOperations({"causal_attention": solution("causal_attention")}).given.keys() == {dot_product_attention}
    assert OwnOperations({"attention": attention}).given.keys() == {attention}


def test_a_given_operation_may_omit_optional_arguments():
    def short(x, gain, bias):
        return layernorm(x, gain, bias)

    x, gain = np.ones((2, 3)), np.ones(3)
    own = OwnOperations({"layernorm": short})[layernorm]
    assert np.array_equal(own(x, gain, gain)[0], layernorm(x, gain, gain)[0])
    with pytest.raises(InputError, match="takes no epsilon"):
        own(x, gain, gain, epsilon=1e-3)


def returning(result):
    return lambda x, weight, bias: result


@pytest.mark.parametrize(
    "given, message",
    [
        ({"layrenorm": layernorm}, "no operation 'layrenorm'.*layernorm"),
        ({"gelu": 3}, "gelu is a int, not a function"),
        ({"attention": solution("attention"), "causal_attention": solution("causal_attention")}, "two functions"),
        ({"linear": returning(np.ones(3))}, "must return its result and its gradient functions"),
        ({"linear": returning((1.0, [1, 2, 3]))}, "one backward, or a tuple of functions"),
        ({"gelu": lambda x: (x, (np.ones_like, np.ones_like))}, "returns 2 functions, not 1: dx"),
        ({"gelu": lambda x: (x, lambda dy: (dy, dy))}, "returns 2 gradients, not 1: dx"),
        ({"gelu": lambda x: (x, (lambda dy: None,))}, "dx of your gelu is not written yet"),
        ({"gelu": lambda x: (x, (lambda dy: dy.sum(),))}, r"dx of your gelu has the shape \(\), not"),
    ],
)
def test_an_operation_that_does_not_fit_is_refused_before_training(given, message):
    clf, (training, validation) = a_run("all")
    before = {name: array.copy() for name, array in clf.params.items()}
    with pytest.raises(InputError, match=message):
        fine_tune(clf, training, validation, **RECIPE, ops=given)
    assert all(np.array_equal(before[name], clf.params[name]) for name in before)


def test_an_operation_that_is_never_called_is_named():
    with pytest.warns(Note, match="never called your mean_rows: "):
        history(ops={"mean_rows": SHIPPED["mean_rows"], "gelu": gelu})


def test_gradient_functions_are_matched_by_name_not_order():
    def turned(x, weight, bias):
        y, (dx, dweight, dbias) = linear(x, weight, bias)
        return y, (dbias, dweight, dx)

    _, (dx, _, _) = OwnOperations({"linear": turned})[linear](np.ones((2, 3)), np.ones((3, 4)), np.ones(4))
    assert dx(np.ones((2, 4))).shape == (2, 3)
