"""Second derivatives for free: the Hessian of the loss times a vector, from the hand-written gradient.

The Hessian H holds the second derivatives of the loss L by the trainable parameters θ. Training never needs it, and for
a million parameters it would have 10^12 entries. But H v, its product with one vector, is the derivative of the
gradient ∇L in the direction v, and every operation here takes complex numbers. So a complex step is enough:

    H v = Im( ∇L(θ + i h v) ) / h

That is one forward and one backward pass, exact to rounding. No second derivative is written anywhere.
"""

from copy import copy

import numpy as np

from ..system.errors import InputError
from ..system.single_process import SingleProcess
from .batch import batch_loss
from .frozen_features import FrozenPrefix

STEP = 1e-30  # h. Its square vanishes beside 1 in float64, so the step adds no error of its own.
SOLVED = 1e-8  # the relative error at which conjugate gradients stop
GRAIN = 8  # messages that a core takes at a time, which bounds memory


def hessian_product(clf, texts, labels, v):
    """Return the Hessian of a classifier's loss times a vector.

    Parameters
    ----------
    clf : Classifier
        The classifier. Its parameters are read as float64.
    texts, labels : list of str
        B texts and their labels. The loss is their mean cross-entropy in nats, as in `Classifier.loss`.
    v : dict of str to ndarray
        The vector: an array for each trainable parameter, with the parameter's shape.

    Returns
    -------
    dict of str to ndarray
        The product, float64, with the names and shapes of `v`.

    Raises
    ------
    InputError
        If `clf` is no Classifier, `v` has other names or shapes than the trainable parameters, or the texts and labels
        are not as in `Classifier.loss`.

    Examples
    --------
    >>> import numpy as np, numpygpt
    >>> clf = numpygpt.Classifier(numpygpt.load("mini"), ["ham", "spam"], trainable="head")
    >>> v = {name: np.ones_like(clf.params[name]) for name in clf.trainable}
    >>> product = hessian_product(clf, ["See you at six", "You have won a prize"], ["ham", "spam"], v)
    >>> bool(abs(product["head.bias"]).max() < 1e-15)  # moving both logits alike changes no probability
    True
    """
    if not hasattr(clf, "trainable"):
        raise InputError(f"clf: expected a Classifier, not a {type(clf).__name__}")
    return hessian(clf, *clf._labelled(texts, labels))(v)


def hessian(clf, messages, numbers):
    """Return v -> H v, as `hessian_product` computes it, for messages of token ids and their label numbers (B,).

    The frozen blocks run once, for all products.
    """
    params = {name: array.astype(np.float64) for name, array in clf.params.items()}
    prefix = FrozenPrefix(params, clf.config, messages, clf.frozen_blocks, clf.pooling)
    numbers = np.asarray(numbers)

    def product(v):
        v = _checked(v, {name: params[name] for name in clf.trainable})
        size = max(abs(array).max() for array in v.values()) or 1.0  # h v / size is small, however large v is
        pushed = copy(clf)
        pushed.params = params | {name: params[name] + 1j * STEP * (array / size) for name, array in v.items()}

        def mean(some):
            return batch_loss(pushed, *prefix.batch(some), numbers[some], prefix.depth)

        everything = np.arange(len(messages))
        _, grads = SingleProcess().gradient(mean, everything, [len(ids) for ids in messages], GRAIN)
        return {name: size * (gradient.imag / STEP) for name, gradient in grads.items()}

    return product


def largest_eigenvalue(product, like, steps=20, seed=0):
    """Return the eigenvalue of largest magnitude of a symmetric matrix, from `steps` products with vectors (Lanczos).

    product   {name: array} -> {name: array}, such as `hessian` returns
    like      {name: array} with the names and shapes of the vectors

    Lanczos (1950) builds an orthonormal basis q of v, H v, H² v, …, in which H is a small tridiagonal matrix:
        a[k] = q[k]·H q[k]        b[k] = |H q[k] - a[k] q[k] - b[k-1] q[k-1]|
    Its extreme eigenvalues approach those of H first. Rounding destroys the orthogonality, so each new vector is made
    orthogonal to all earlier ones again.

    Gradient descent with a fixed rate diverges along an eigenvector whose eigenvalue is above 2 / rate.
    """
    names = sorted(like)
    ends = np.cumsum([like[name].size for name in names])
    q = np.random.default_rng(seed).standard_normal(ends[-1])
    basis, a, b = [], [], []
    for _ in range(min(steps, len(q))):
        basis.append(q / np.linalg.norm(q))
        parts = np.split(basis[-1], ends[:-1])
        moved = product({name: part.reshape(like[name].shape) for name, part in zip(names, parts)})
        q = np.concatenate([moved[name].ravel() for name in names])
        a.append(q @ basis[-1])
        for _ in range(2):
            q -= np.array(basis).T @ (np.array(basis) @ q)
        b.append(np.linalg.norm(q))
        if b[-1] <= 1e-12 * max(map(abs, a)):  # the basis is complete
            break
    eigenvalues = np.linalg.eigvalsh(np.diag(a) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1))
    return float(max(eigenvalues, key=abs))


def solve(product, g, damping, tolerance=SOLVED, progress=lambda done, total: None):
    """Return v with H v + λ v = g, by conjugate gradients (Hestenes and Stiefel 1952). `product` gives H v.

    Each step goes along a direction p that is conjugate to all earlier ones, p·(H + λ)q = 0, as far as the error
    falls. The steps end where |H v + λ v - g| is at most `tolerance` |g|. Without rounding, as many steps as there are
    parameters make it zero. Raises InputError where H + λ has a negative curvature.
    """
    names = sorted(g)
    ends = np.cumsum([g[name].size for name in names])

    def flat(arrays):
        return np.concatenate([arrays[name].ravel() for name in names])

    def named(vector):
        parts = zip(names, np.split(vector, ends[:-1]))
        return {name: part.reshape(g[name].shape) for name, part in parts}

    r = flat(g)
    v, p, start = np.zeros_like(r), r, r @ r
    rr = start
    for done in range(len(r)):
        if rr <= tolerance**2 * start:
            break
        moved = flat(product(named(p))) + damping * p
        curvature = p @ moved
        if curvature <= 0:
            raise InputError(
                f"the loss has a negative curvature, so these parameters are no minimum at damping "
                f"{damping:g}. Use a larger one, or the head alone"
            )
        step = rr / curvature
        v, r = v + step * p, r - step * moved
        p, rr = r + (r @ r) / rr * p, r @ r
        progress(done + 1, len(r))
    return named(v)


def _checked(v, params):
    """Return v as float64. Raises InputError unless its arrays fit the parameters."""
    if not isinstance(v, dict) or v.keys() != params.keys():
        raise InputError(f"v: expected a dict with an array for each trainable parameter: {', '.join(sorted(params))}")
    for name, array in params.items():
        try:
            found = np.asarray(v[name])
        except ValueError:  # lists of different lengths
            found = np.empty(0)
        if found.shape != array.shape or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise InputError(f"v: {name} must hold {array.shape} finite real numbers, as the parameter does")
    return {name: np.asarray(v[name], np.float64) for name in params}
