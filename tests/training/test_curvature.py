"""Hessian-vector products are symmetric and equal PyTorch's. Their largest eigenvalue is found."""

import numpy as np
import pytest

from numpygpt import Classifier, InputError, hessian_product, load
from numpygpt.system.settings import POSITIONS
from numpygpt.training.curvature import largest_eigenvalue

TEXTS = ["See you at six", "You have won a prize! Call now", "ok"]
LABELS = ["ham", "spam", "ham"]


def a_classifier(trainable="last_block", **settings):
    clf = Classifier(load("mini"), ["ham", "spam"], trainable, **settings)
    rng = np.random.default_rng(0)
    for name in clf.trainable:
        if "lora" in name:  # half of the second derivatives are zero at LoRA's initial B
            clf.params[name] += 0.05 * rng.standard_normal(clf.params[name].shape, np.float32)
    return clf


def a_vector(clf, seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(clf.params[name].shape) for name in sorted(clf.trainable)}


def dot(a, b):
    return sum(np.vdot(a[name], b[name]) for name in a)


@pytest.mark.parametrize("trainable", ["head", "last_block", pytest.param("lora", marks=pytest.mark.slow)])
def test_the_hessian_is_symmetric(trainable):
    clf = a_classifier(trainable)
    u, v = a_vector(clf, 1), a_vector(clf, 2)
    once, again = (dot(a, hessian_product(clf, TEXTS, LABELS, b)) for a, b in ((u, v), (v, u)))
    assert once == pytest.approx(again, rel=1e-10) and abs(once) > 1e-3


@pytest.mark.parametrize("position", POSITIONS)
def test_a_hessian_vector_product_is_the_gradients_directional_derivative(position):
    clf = a_classifier(position=position)
    v, h = a_vector(clf, 1), 1e-5
    found = hessian_product(clf, TEXTS, LABELS, v)
    params = {name: array.astype(np.float64) for name, array in clf.params.items()}

    def gradients(step):
        clf.params = params | {name: params[name] + step * v[name] for name in v}
        return clf.loss(TEXTS, LABELS)[1]

    above, below = gradients(h), gradients(-h)
    for name in found:
        expected = (above[name] - below[name]) / (2 * h)
        np.testing.assert_allclose(found[name], expected, atol=1e-5 * abs(expected).max() + 1e-9, err_msg=name)


def test_the_product_of_many_messages_is_their_mean_product():
    clf, texts = a_classifier("head"), [f"call {number} now" for number in range(11)]
    labels = ["ham", "spam"] * 5 + ["ham"]
    v = a_vector(clf, 1)
    each = [hessian_product(clf, [text], [label], v) for text, label in zip(texts, labels)]
    for name, array in hessian_product(clf, texts, labels, v).items():
        np.testing.assert_allclose(array, np.mean([one[name] for one in each], axis=0), rtol=1e-10, atol=1e-16)


def test_a_product_leaves_the_classifier_unchanged():
    clf = a_classifier()
    before = {name: array.copy() for name, array in clf.params.items()}
    hessian_product(clf, TEXTS, LABELS, a_vector(clf, 1))
    assert clf.params.keys() == before.keys()
    assert all(array.dtype == np.float32 and np.array_equal(array, before[n]) for n, array in clf.params.items())


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda v: v.pop("head.bias"), "an array for each trainable parameter: head.bias, head.weight"),
        (lambda v: v.update(wte=np.ones(3)), "an array for each trainable parameter"),
        (lambda v: v.update({"head.bias": np.ones(3)}), r"head.bias must hold \(2,\) finite real numbers"),
        (lambda v: v.update({"head.bias": np.array([1, np.nan])}), "finite"),
        (lambda v: v.update({"head.bias": np.array([1, 1j])}), "real"),
        (lambda v: v.update({"head.bias": [1, [2]]}), "real"),
    ],
)
def test_a_vector_that_does_not_fit_the_parameters_is_refused(spoil, message):
    clf = a_classifier("head")
    v = a_vector(clf, 1)
    spoil(v)
    with pytest.raises(InputError, match=message):
        hessian_product(clf, TEXTS, LABELS, v)


def test_texts_without_labels_and_other_models_are_refused():
    clf = a_classifier("head")
    with pytest.raises(InputError, match="3 texts and 2 labels"):
        hessian_product(clf, TEXTS, LABELS[:2], a_vector(clf, 1))
    with pytest.raises(InputError, match="clf: expected a Classifier, not a GPT"):
        hessian_product(clf.gpt, TEXTS, LABELS, a_vector(clf, 1))


@pytest.mark.parametrize("size", [1e-300, 1e250])
def test_a_product_is_linear_in_a_vector_of_any_size(size):
    clf = a_classifier("head")
    v = a_vector(clf, 1)
    expected = hessian_product(clf, TEXTS, LABELS, v)
    found = hessian_product(clf, TEXTS, LABELS, {name: size * array for name, array in v.items()})
    for name, array in found.items():
        np.testing.assert_allclose(array / size, expected[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("eigenvalues", [(5.0, 1.0, 0.1), (1.0, -7.0, 0.1), (2.0, 2.0, 2.0)])
def test_the_largest_eigenvalue_keeps_its_sign(eigenvalues):
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    matrix = q @ np.diag([*eigenvalues, *rng.uniform(-0.05, 0.05, 9)]) @ q.T

    def product(v):
        moved = matrix @ np.concatenate([v["a"].ravel(), v["b"]])
        return {"a": moved[:10].reshape(2, 5), "b": moved[10:]}

    found = largest_eigenvalue(product, {"a": np.empty((2, 5)), "b": np.empty(2)})
    assert found == pytest.approx(max(eigenvalues, key=abs), rel=1e-9)


def test_a_product_equals_pytorchs_double_backward():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    clf = a_classifier("last_block", position="last")
    config = clf.config
    settings = dict(n_embd=config.n_embd, n_layer=config.n_layer, n_head=config.n_head, n_positions=config.n_positions)
    model = (
        transformers.GPT2Model(
            transformers.GPT2Config(vocab_size=config.vocab_size, attn_implementation="eager", **settings)
        )
        .double()
        .eval()
    )
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(torch.tensor(clf.params[name], dtype=torch.float64))
    named |= {name: torch.tensor(clf.params[name], dtype=torch.float64) for name in ("head.weight", "head.bias")}
    learning = [named[name].requires_grad_() for name in sorted(clf.trainable)]
    losses = []
    for ids, number in zip(*clf._labelled(TEXTS, LABELS)):
        row = model(torch.tensor(ids[None].astype(np.int64))).last_hidden_state[0, -1]
        logits = row @ named["head.weight"] + named["head.bias"]
        losses.append(torch.nn.functional.cross_entropy(logits[None], torch.tensor([number])))
    v = a_vector(clf, 1)
    grads = torch.autograd.grad(sum(losses) / len(losses), learning, create_graph=True)
    directional = sum((grad * torch.tensor(v[name])).sum() for grad, name in zip(grads, sorted(v)))
    expected = dict(zip(sorted(v), torch.autograd.grad(directional, learning)))
    for name, found in hessian_product(clf, TEXTS, LABELS, v).items():
        other = expected[name].numpy()
        np.testing.assert_allclose(found, other, atol=1e-10 * abs(other).max() + 1e-14, err_msg=name)
