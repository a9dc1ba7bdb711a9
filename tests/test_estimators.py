"""GPTClassifier and GPTFeatures work with scikit-learn's tools and pass its checks."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from numpygpt import Classifier, GPTClassifier, GPTFeatures, InputError, fine_tune, load
from tests.tiny import save_model, written

TEXTS = [text for pair in zip(written("ham", 24), written("spam", 24)) for text in pair]
LABELS = ["ham", "spam"] * 24


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return str(folder)


def small(model, **settings):
    return GPTClassifier(model, **{"trainable": "last_block", "epochs": 4, "lr": 0.03} | settings)


def test_the_estimator_trains_like_classifier_and_fine_tune(model):
    found = small(model, seed=5, pad="end", batch_size=4, label_smoothing=0.0).fit(TEXTS, LABELS)
    clf = Classifier(load(model), ["ham", "spam"], "last_block", pad="end", seed=5)
    history = fine_tune(clf, list(zip(TEXTS, LABELS)), epochs=4, lr=0.03, seed=5, batch_size=4, label_smoothing=0.0)
    pd.testing.assert_frame_equal(found.history_, history)
    assert found.history_["loss"].count() == 48 and "train_loss" not in history
    np.testing.assert_array_equal(found.predict_proba(TEXTS), clf.predict(TEXTS)[["ham", "spam"]])
    assert found.predict(TEXTS).tolist() == clf.predict(TEXTS)["label"].tolist()
    assert found.score(TEXTS, LABELS) == np.mean(found.predict(TEXTS) == LABELS) > 0.8


def test_the_seed_determines_the_trained_model(model):
    first, again, other = (small(model, seed=seed).fit(TEXTS, LABELS).predict_proba(TEXTS) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("labels", [[7, -3], ["b", "a"], [True, False], [0.5, 0.25], ["1", "10"]], ids=str)
@pytest.mark.parametrize("kind", [list, np.array, lambda labels: pd.Series(labels, index=range(48, 0, -1))])
def test_labels_of_any_type_are_predicted_unchanged(model, labels, kind):
    clf = small(model).fit(kind(TEXTS), kind(labels * 24))
    assert clf.classes_.tolist() == sorted(labels)
    answers = clf.predict(kind(TEXTS)).tolist()
    assert type(answers[0]) is type(labels[0]) and np.mean(np.array(answers) == labels * 24) > 0.8
    assert clf.score(TEXTS, labels * 24) == np.mean(np.array(answers) == labels * 24)
    assert clf.classes_[clf.predict_proba(TEXTS).argmax(axis=1)].tolist() == answers


def test_the_score_uses_sample_weights(model):
    clf = small(model).fit(TEXTS, LABELS)
    assert clf.score(TEXTS[:2], ["ham", "ham"], [3, 1]) == 0.75


def test_estimators_work_without_scikit_learn(model):
    script = f"""if True:
        import sys
        sys.modules["sklearn"] = None  # an import of it fails
        from numpygpt import GPTClassifier, GPTFeatures
        texts, labels = {TEXTS[:16]!r}, {LABELS[:16]!r}
        clf = GPTClassifier({model!r}, epochs=1).fit(texts, labels)
        print(clf.predict_proba(texts).shape, GPTFeatures({model!r}).fit_transform(texts).shape)
    """
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "(16, 2) (16, 24)\n"


@pytest.mark.parametrize(
    "use, message",
    [
        (
            lambda clf: clf.fit(pd.DataFrame({"text": TEXTS}), LABELS),
            r"^X: .*a table of shape \(48, 1\)\. Give one column",
        ),
        (
            lambda clf: clf.fit("a text", ["ham"]),
            "^X: expected a list or a column of texts, got the single value 'a te",
        ),
        (lambda clf: clf.fit([*TEXTS[:-1], None], LABELS), "^message 48 is (None|nan); expected a text"),
        (lambda clf: clf.fit([*TEXTS[:-1], ""], LABELS), "^message 48 is empty"),
        (lambda clf: clf.fit(TEXTS, LABELS[:-1]), "^48 texts and 47 labels"),
        (
            lambda clf: clf.fit(TEXTS, [LABELS]),
            r"^y: expected one label for each text, got an array of shape \(1, 48\)",
        ),
        (lambda clf: clf.fit(TEXTS, [*LABELS[:-1], None]), "^label 48 is missing"),
        (lambda clf: clf.fit(TEXTS, [*range(47), np.nan]), "^label 48 is missing"),
        (
            lambda clf: clf.fit(TEXTS, pd.Series([1, "ham"] * 24)),
            r"^y: labels of several types \(int, str\) have no order",
        ),
        (lambda clf: clf.fit(TEXTS, pd.Series([*LABELS[:-1], None], dtype="string")), "^label 48 is missing"),
        (lambda clf: clf.fit(TEXTS, [1, "ham"] * 24), r"^y: labels of several types \(int, str\) have no order"),
        (lambda clf: clf.fit(TEXTS, ["ham"] * 48), "^y: every text has the label ham; a classifier needs at least two"),
        (lambda clf: clf.fit([], []), "^y: there are no labels"),
        (
            lambda clf: GPTFeatures().set_output(transform="arrow"),
            "^transform 'arrow': use one of default, pandas, polars",
        ),
        (lambda clf: clf.fit(TEXTS[:7], LABELS[:7]), "do not fill one batch of 8"),
        (lambda clf: clf.set_params(lr=-1).fit(TEXTS, LABELS), "^lr: expected a number above 0"),
        (lambda clf: clf.set_params(position="middle").fit(TEXTS, LABELS), "^position 'middle'"),
        (
            lambda clf: clf.set_params(learning_rate=1),
            "^GPTClassifier has no parameter 'learning_rate': use one of model, ",
        ),
        (lambda clf: clf.predict(TEXTS), "^this GPTClassifier is not fitted: call fit first"),
        (lambda clf: clf.predict_proba(TEXTS), "^this GPTClassifier is not fitted"),
        (lambda clf: GPTFeatures().transform(TEXTS), "^this GPTFeatures is not fitted: call fit first"),
        (lambda clf: GPTFeatures().fit_transform(["a", 5]), "^message 2 is 5"),
        (lambda clf: GPTFeatures("nonsense").fit(), "no such folder or file"),
    ],
)
def test_invalid_use_of_an_estimator_is_refused_in_one_line(model, use, message):
    with pytest.raises(InputError, match=message) as raised:
        use(small(model))
    assert "\n" not in str(raised.value)


def test_an_unknown_setting_is_a_type_error(model):
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        GPTClassifier(model, epoch=1)


# scikit-learn's tools


def test_clones_cross_validation_and_a_search_work(model):
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    clf = small(model)
    assert base.is_classifier(clf) and repr(base.clone(clf)) == repr(clf)
    scores = selection.cross_val_score(clf, TEXTS, LABELS, cv=3)
    folds = selection.StratifiedKFold(3).split(TEXTS, LABELS)
    expected = [
        small(model).fit(np.array(TEXTS)[a], np.array(LABELS)[a]).score(np.array(TEXTS)[b], np.array(LABELS)[b])
        for a, b in folds
    ]
    assert scores.tolist() == expected
    search = selection.GridSearchCV(clf, {"trainable": ["head", "last_block"], "lr": [1e-6, 0.03]}, cv=2)
    search.fit(pd.Series(TEXTS), pd.Series(LABELS))
    assert search.best_params_["lr"] == 0.03 and search.best_estimator_.classifier_.config.n_embd == 8
    assert search.score(TEXTS, LABELS) > 0.8 and clf.get_params()["lr"] == 0.03


def test_features_work_in_a_pipeline_and_a_column_transformer(model):
    linear = pytest.importorskip("sklearn.linear_model")
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(GPTFeatures(model), linear.LogisticRegression())
    assert pipeline.fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.9
    np.testing.assert_array_equal(pipeline[0].transform(TEXTS), load(model).features(TEXTS))
    table = pd.DataFrame({"text": TEXTS, "hour": range(48)})
    columns = ColumnTransformer([("text", GPTFeatures(model), "text"), ("rest", "passthrough", ["hour"])])
    assert columns.fit_transform(table).shape == (48, 25)
    named = columns.set_output(transform="pandas").fit_transform(table.set_index(table.index + 7))
    assert list(named.columns[[0, 23, 24]]) == ["text__gptfeatures0", "text__gptfeatures23", "rest__hour"]
    assert named.index[0] == 7 and columns.transform(table).equals(named.set_index(table.index))
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))


def test_a_loaded_gpt_can_be_the_model_and_is_cloned(model):
    base = pytest.importorskip("sklearn.base")
    clf = base.clone(small(load(model))).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(clf.predict_proba(TEXTS), small(model).fit(TEXTS, LABELS).predict_proba(TEXTS))


# scikit-learn's own checks. They use tables of numbers, so a subclass writes each row as words.


def as_words(X):
    return [" ".join(f"{value:.1f}" for value in row) for row in np.asarray(X, float)]


def of_tables(tags):
    tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
    return tags


class OfNumbers(GPTClassifier):
    def __sklearn_tags__(self):
        return of_tables(super().__sklearn_tags__())

    def fit(self, X, y):
        return super().fit(as_words(X), y)

    def predict_proba(self, X):
        return super().predict_proba(as_words(X))


class FeaturesOfNumbers(GPTFeatures):
    def __sklearn_tags__(self):
        return of_tables(super().__sklearn_tags__())

    def transform(self, X):
        return super().transform(as_words(X))


CHECKS = """
    check_estimator_cloneable check_estimator_tags_renamed check_valid_tag_types check_estimator_repr
    check_no_attributes_set_in_init check_do_not_raise_errors_in_init_or_set_params check_mixin_order
    check_parameters_default_constructible check_get_params_invariance check_set_params check_fit_score_takes_y
    check_estimators_overwrite_params check_dont_overwrite_parameters check_estimators_fit_returns_self
    check_readonly_memmap_input check_positive_only_tag_during_fit check_dict_unchanged check_fit_idempotent
    check_fit_check_is_fitted check_estimators_pickle check_pipeline_consistency check_methods_subset_invariance
    check_methods_sample_order_invariance check_f_contiguous_array_estimator
""".split()


@pytest.mark.parametrize("kind", [OfNumbers, FeaturesOfNumbers])
@pytest.mark.parametrize("check", CHECKS)
def test_the_estimators_pass_scikit_learns_check(model, kind, check, monkeypatch):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    # Its tolerance is float64's. A float32 kernel's last bits depend on a text's place in its batch.
    close, of_float32 = checks.assert_allclose_dense_sparse, {"rtol": 1e-4, "atol": 1e-5}
    monkeypatch.setattr(checks, "assert_allclose_dense_sparse", lambda a, b, **given: close(a, b, **given | of_float32))
    estimator = OfNumbers(model, epochs=1, batch_size=2) if kind is OfNumbers else FeaturesOfNumbers(model)
    getattr(checks, check)(kind.__name__, estimator)
