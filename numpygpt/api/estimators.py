"""scikit-learn estimators over Classifier and GPT.features. Only scikit-learn's question for tags imports it."""

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from ..system.errors import InputError, counted
from ..training.fine_tune import fine_tune
from .classifier import Classifier
from .gpt import GPT, load

_COLUMNS = {"pandas": "columns", "polars": "schema"}  # the tables that transform can return, and how names are given

# Arguments that `fit` gives itself, or that only a run of the command needs
_GIVEN = {"gpt", "labels", "clf", "training", "validation", "eval_every", "eval_batches", "ignore_index"}
_GIVEN |= {"report", "after_epoch", "resume", "ranks", "exact"}


def _settings(function: Callable) -> dict[str, Any]:
    """Return {name: default} of the settings that GPTClassifier passes on to this function."""
    return {name: p.default for name, p in signature(function).parameters.items() if name not in _GIVEN}


class _Estimator:
    """What scikit-learn needs to clone an estimator, and to search its parameters."""

    model: str | GPT

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return {name: value} of the arguments of the constructor. There are no nested ones, so `deep` is ignored."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params):
        """Set arguments of the constructor by name. Return the estimator. Raises InputError for an unknown name."""
        known = self.get_params()
        for name in params:
            if name not in known:
                raise InputError(f"{type(self).__name__} has no parameter {name!r}: use one of {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _loaded(self) -> GPT:
        return self.model if isinstance(self.model, GPT) else load(self.model)

    def _fitted(self, name: str):
        """Return the attribute that `fit` sets."""
        if not self.__sklearn_is_fitted__():
            raise InputError(f"this {type(self).__name__} is not fitted: call fit first")
        return getattr(self, name)

    def __sklearn_is_fitted__(self) -> bool:
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def __repr__(self):
        defaults = signature(type(self)).parameters
        changed = {name: value for name, value in self.get_params().items() if value is not defaults[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


class GPTClassifier(_Estimator):
    """A Classifier and `fine_tune` as one scikit-learn classifier of texts.

    It works in `cross_val_score`, `GridSearchCV`, `Pipeline` and `clone`, and can be pickled. The same settings and
    messages give the same model. scikit-learn need not be installed.

    Parameters
    ----------
    model : str or GPT
        The pretrained model: a name or path for `numpygpt.load`, or what it returned.
    trainable, pad, position, causal, rank, alpha
        As in `numpygpt.Classifier`.
    seed : int
        Draws the head and the order of the messages.
    epochs, batch_size, lr and the other settings
        As in `numpygpt.fine_tune`.

    Attributes
    ----------
    classes_ : (C,) ndarray
        The distinct labels of `fit`, sorted: numbers, strings or booleans.
    classifier_ : Classifier
        The trained classifier. Its labels' names are the texts of `classes_`.
    history_ : pandas.DataFrame
        The loss of every step.

    Examples
    --------
    >>> import numpygpt
    >>> texts, labels = ["See you at six", "You have won a prize"] * 8, [0, 1] * 8
    >>> clf = numpygpt.GPTClassifier(trainable="head", epochs=2, lr=0.01).fit(texts, labels)
    >>> clf.predict(["You have won"]).tolist(), clf.predict_proba(["You have won"]).shape
    ([1], (1, 2))
    >>> clf
    GPTClassifier(trainable='head', epochs=2, lr=0.01)
    """

    _estimator_type = "classifier"  # for scikit-learn before 1.6, which has no tags

    def __init__(self, *args, **settings):
        bound = _SIGNATURE.bind(self, *args, **settings)
        bound.apply_defaults()
        vars(self).update(list(bound.arguments.items())[1:])

    def fit(self, X, y) -> "GPTClassifier":
        """Fine-tune a new Classifier.

        Parameters
        ----------
        X : sequence of str
            The texts: a list, an array or a column of a DataFrame.
        y : sequence
            The label of each text.

        Returns
        -------
        GPTClassifier
            The estimator itself.

        Raises
        ------
        InputError
            If a text is empty or no text, a label is missing, there are fewer than two labels or fewer messages than
            `batch_size`, the numbers of texts and labels differ, or a setting has an impossible value.
        """
        texts, (classes, numbers) = _texts(X), _classes(y)
        if len(texts) != len(numbers):
            raise InputError(
                f"{counted(len(texts), 'text')} and {counted(len(numbers), 'label')}: expected equally many"
            )
        names = [str(label) for label in classes]
        of_classifier, of_training = (
            {name: getattr(self, name) for name in _settings(function)} for function in (Classifier, fine_tune)
        )
        classifier = Classifier(self._loaded(), names, **of_classifier)
        self.history_ = fine_tune(classifier, [(text, names[i]) for text, i in zip(texts, numbers)], **of_training)
        self.classifier_, self.classes_ = classifier, classes
        return self

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each class for each of B texts, float32 (B, C). Raises InputError like `fit`."""
        classifier = self._fitted("classifier_")
        return classifier.predict(_texts(X)).iloc[:, 1:].to_numpy()

    def predict(self, X) -> np.ndarray:
        """Return the most probable class (B,) of each of B texts. Raises InputError like `fit`."""
        return self._fitted("classes_")[self.predict_proba(X).argmax(axis=1)]

    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy on texts with these labels, weighted by `sample_weight` (B,) if given."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        texts = InputTags(one_d_array=True, two_d_array=False, string=True)
        return Tags("classifier", TargetTags(required=True), classifier_tags=ClassifierTags(), input_tags=texts)


_SIGNATURE = Signature(
    [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, default="mini", annotation=str | GPT),
        *(
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in (_settings(Classifier) | _settings(fine_tune)).items()
        ),
    ]
)
GPTClassifier.__init__.__signature__ = _SIGNATURE  # type: ignore[attr-defined]


class GPTFeatures(_Estimator):
    """`GPT.features` as a scikit-learn transformer of texts, for any other classifier. It helps if labels are scarce.

    Parameters
    ----------
    model : str or GPT
        The pretrained model: a name or path for `numpygpt.load`, or what it returned.

    Attributes
    ----------
    gpt_ : GPT
        The loaded model, after `fit`.

    Examples
    --------
    >>> import numpygpt
    >>> numpygpt.GPTFeatures("mini").fit_transform(["Are you home?", "You have WON"]).shape
    (2, 896)
    """

    _sklearn_output_config: dict[str, str] = {}  # under this name, scikit-learn's clone copies it

    def __init__(self, model: str | GPT = "mini"):
        self.model = model

    def fit(self, X=None, y=None) -> "GPTFeatures":
        """Load the model. Nothing is learned from the texts. Return the estimator itself."""
        self.gpt_ = self._loaded()
        return self

    def transform(self, X) -> Any:
        """Return the features (B, (n_layer + 1) n_embd) of B texts, an ndarray unless `set_output` chose a table.

        Raises InputError like `GPT.features`.
        """
        features = self._fitted("gpt_").features(_texts(X))
        chosen = self._sklearn_output_config.get("transform")
        if chosen is None and (sklearn := sys.modules.get("sklearn")):
            chosen = sklearn.get_config().get("transform_output")
        if chosen in (None, "default"):
            return features
        table = import_module(chosen).DataFrame(features, **{_COLUMNS[chosen]: list(self.get_feature_names_out())})
        return (
            table.set_index(X.index) if chosen == "pandas" and hasattr(X, "index") and not callable(X.index) else table
        )

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the features, gptfeatures0 and so on."""
        config = self._fitted("gpt_").config
        return np.array([f"gptfeatures{i}" for i in range((config.n_layer + 1) * config.n_embd)], object)

    def set_output(self, *, transform: str | None = None) -> "GPTFeatures":
        """Choose what `transform` returns: "default" (an ndarray), "pandas" or "polars". Return the estimator."""
        if transform not in (None, "default", *_COLUMNS):
            raise InputError(f"transform {transform!r}: use one of default, {', '.join(_COLUMNS)}")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def fit_transform(self, X, y=None) -> Any:
        """Load the model, and return the features of the texts."""
        return self.fit().transform(X)

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        texts = InputTags(one_d_array=True, two_d_array=False, string=True)
        kept = TransformerTags(preserves_dtype=[])
        return Tags("transformer", TargetTags(required=False), transformer_tags=kept, input_tags=texts)


def _texts(X) -> list:
    """Return the texts as a list. Raises InputError for a table."""
    texts = np.asarray(X, object)  # as an array of strings, all would be as long as the longest
    if texts.ndim != 1:
        what = f"a table of shape {texts.shape}" if texts.ndim else f"the single value {X!r:.40}"
        raise InputError(f'X: expected a list or a column of texts, got {what}. Give one column, such as frame["text"]')
    return texts.tolist()


def _classes(y) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted distinct labels (C,), and each label's index (B,) among them."""
    import pandas as pd

    labels = np.asarray(y)
    if labels.ndim != 1:
        raise InputError(f"y: expected one label for each text, got an array of shape {labels.shape}")
    missing = np.flatnonzero(pd.isna(np.asarray(y, object)))
    if missing.size:
        raise InputError(f"label {missing[0] + 1} is missing. Add it or leave out the message")
    try:
        if labels.dtype.kind == "U" and not all(isinstance(label, str) for label in y):  # NumPy wrote 1 as "1"
            raise TypeError
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in y})
        raise InputError(f"y: labels of several types ({', '.join(kinds)}) have no order. Use one type") from None
    if len(classes) < 2:
        found = f"every text has the label {classes[0]!s:.40}" if len(classes) else "there are no labels"
        raise InputError(f"y: {found}; a classifier needs at least two labels")
    return classes, numbers
