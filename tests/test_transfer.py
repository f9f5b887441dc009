"""TransferKernel: its methods against plain formulas, and the choice among them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrfm import RFMClassifier, RFMRegressor, TransferKernel
from skrfm.exceptions import NumericalWarning
from skrfm.transfer._choice import compare


@pytest.fixture
def tasks(rng):
    """A source, and rows and targets of a related task."""
    X = rng.normal(size=(200, 4))
    source = Ridge(alpha=1e-3).fit(X, X @ [1.0, -2, 0, 0.5])
    X_new = rng.normal(size=(60, 4))
    return source, X_new, X_new @ [1.0, -2, 1, 0.5] + 0.1 * rng.normal(size=60)


@pytest.fixture
def classes(rng):
    """A source with three classes, and rows of a task with two of them."""
    X = rng.normal(size=(300, 3))
    source = LogisticRegression().fit(X, np.array(["a", "b", "c"])[X.argmax(axis=1)])
    X_new = rng.normal(size=(80, 3))
    y = np.array(["c", "a"])[(X_new[:, 0] > X_new[:, 2]).astype(int)]
    return source, X_new, y


def balanced(F, X):
    F = F.reshape(len(F), -1)
    return (F - F.mean(0)) * np.sqrt(X.var(0).sum() / F.var(0).sum())


# -- methods ------------------------------------------------------------------------


def test_none_is_the_target_alone(tasks):
    source, X, y = tasks
    model = TransferKernel(source, Ridge(), method="none").fit(X, y)
    assert_array_equal(model.predict(X), Ridge().fit(X, y).predict(X))


def test_projection_and_concat(tasks):
    source, X, y = tasks
    F = balanced(source.predict(X), X)
    for method, inputs in (("projection", F), ("concat", np.hstack([X, F]))):
        model = TransferKernel(source, Ridge(), method=method).fit(X, y)
        expected = Ridge().fit(inputs, y).predict(inputs)
        assert_allclose(model.predict(X), expected, rtol=1e-10)


def test_translation(tasks):
    source, X, y = tasks
    model = TransferKernel(source, Ridge(), method="translation").fit(X, y)
    correction = Ridge().fit(X, y - source.predict(X))
    expected = source.predict(X) + correction.predict(X)
    assert_allclose(model.predict(X), expected)


def test_both(tasks):
    source, X, y = tasks
    folds = list(KFold(4).split(X))
    model = TransferKernel(source, Ridge(), method="both", cv=folds).fit(X, y)
    F = balanced(source.predict(X), X)
    first = cross_val_predict(Ridge(), F, y, cv=folds)
    expected = Ridge().fit(F, y).predict(F) + Ridge().fit(X, y - first).predict(X)
    assert_allclose(model.predict(X), expected, rtol=1e-10)


def test_translation_of_classes(classes):
    source, X, y = classes
    target = RFMClassifier(kernel="laplace", alpha=0.1, validation=None)
    model = TransferKernel(source, target, method="translation", random_state=0)
    model.fit(X[:40], y[:40])
    proba = source.predict_proba(X)[:, [0, 2]]  # "a" and "c"
    proba /= proba.sum(axis=1, keepdims=True)
    indicators = (y[:, None] == np.array(["a", "c"])).astype(float)
    correction = RFMRegressor(kernel="laplace", alpha=0.1, validation=None)
    correction.fit(X[:40], indicators[:40] - proba[:40])
    sums = proba + correction.predict(X)
    assert_allclose(model.decision_function(X), sums[:, 1] - sums[:, 0], atol=1e-10)
    got = model.predict_proba(X)
    assert_allclose(got.sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[sums.argmax(axis=1)])
    assert_array_equal(got.argmax(axis=1), sums.argmax(axis=1))
    assert model.score(X[40:], y[40:]) > 0.8


def test_several_outputs(rng):
    X, W = rng.normal(size=(80, 3)), rng.normal(size=(3, 2))
    source, Y = Ridge().fit(X, X @ W), X @ W + 1
    for method in ("projection", "concat", "translation", "both", "auto"):
        model = TransferKernel(source, Ridge(), method=method).fit(X, Y)
        assert model.predict(X).shape == (80, 2)
        assert model.score(X, Y) > 0.9


# -- the choice ---------------------------------------------------------------------


def test_good_source_is_used(tasks):
    source, X, y = tasks
    target = KNeighborsRegressor(3)
    model = TransferKernel(source, target, random_state=0).fit(X[:30], y[:30])
    assert model.method_ in ("translation", "concat", "both", "projection")
    results = model.cv_results_
    best = results["method"] == model.method_
    assert results["mean_gain"][best] > results["gain_error"][best]
    alone = clone(target).fit(X[:30], y[:30])
    assert model.score(X[30:], y[30:]) > alone.score(X[30:], y[30:])


def test_losses_are_cross_validated(tasks):
    source, X, y = tasks
    folds = list(KFold(5, shuffle=True, random_state=3).split(X))
    model = TransferKernel(source, Ridge(), cv=folds).fit(X, y)
    alone = (cross_val_predict(Ridge(), X, y, cv=folds) - y) ** 2 / y.var()
    correction = cross_val_predict(Ridge(), X, y - source.predict(X), cv=folds)
    translation = (source.predict(X) + correction - y) ** 2 / y.var()
    results = {
        name: tuple(model.cv_results_[key][i] for key in ("mean_loss", "mean_gain"))
        for i, name in enumerate(model.cv_results_["method"])
    }
    assert_allclose(results["none"], (alone.mean(), 0), atol=1e-12)
    expected = translation.mean(), (alone - translation).mean()
    assert_allclose(results["translation"], expected, rtol=1e-9)


def test_source_of_noise_is_not_used(tasks, rng):
    _, X, y = tasks
    noise = KNeighborsRegressor(1).fit(rng.normal(size=(400, 4)), rng.normal(size=400))
    model = TransferKernel(noise, Ridge(), random_state=0).fit(X, y)
    assert model.method_ == "none"


def random_losses(*means, n=40, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(means)[:, None] + noise * rng.normal(size=(len(means), n))


METHODS = ["none", "projection", "concat", "translation"]


def compare_all(losses, weight):
    """Compare the methods on rows whose classes were all fitted."""
    fitted = np.ones(losses.shape[1], dtype=bool)
    return compare(losses, weight, METHODS, has_fitted_class=fitted)


@pytest.mark.parametrize(
    ("means", "chosen"),
    [
        ((1.0, 0.8, 0.7, 1.2), "concat"),  # the best
        ((1.0, 1.0, 0.99, 1.0), "none"),  # not clearly better
        ((1.0, 0.69, 0.72, 0.7), "translation"),  # as good as the best
        ((1.0, 0.4, 0.6, 0.7), "projection"),  # better than translation
    ],
)
def test_method_must_be_clearly_better(means, chosen):
    losses = random_losses(*means)
    best, results = compare_all(losses, np.ones(40))
    assert METHODS[best] == chosen
    gains = losses[0] - losses
    assert_allclose(results["mean_gain"], gains.mean(axis=1))
    assert_allclose(results["gain_error"], gains.std(axis=1) / np.sqrt(40))
    _, twice = compare_all(losses, np.full(40, 2.0))
    _, repeated = compare_all(np.repeat(losses, 2, axis=1), np.ones(80))
    for name, expected in repeated.items():
        assert_allclose(twice[name], expected)


def test_only_translation_is_compared_on_classes_that_were_not_fitted():
    losses, weight = random_losses(1.0, 0.5, 0.4, 0.6), np.ones(40)
    none = np.zeros(40, dtype=bool)
    best, _ = compare(losses, weight, METHODS, has_fitted_class=none)
    assert METHODS[best] == "translation"
    best, _ = compare(losses[:3], weight, METHODS[:3], has_fitted_class=none)
    assert METHODS[best] == "none"


def test_one_row_of_each_class_does_not_lead_to_transfer(rng):
    """A model of the target cannot predict a class that its fold does not have."""
    X = rng.normal(size=(400, 6))
    y = np.digitize(X[:, 0], [-1, 0, 1])
    source = LogisticRegression().fit(X[:300], rng.permutation(y[:300]))
    few = 300 + np.unique(y[300:], return_index=True)[1]
    model = TransferKernel(source, random_state=0).fit(X[few], y[few])
    assert model.method_ == "none"


def test_method_outputs(tasks, classes):
    source, X, y = tasks
    assert TransferKernel(source, method="outputs").fit(X, y).method_ == "translation"
    two = TransferKernel(source, Ridge(), method="outputs").fit(X, np.c_[y, y])
    assert two.method_ == "concat"
    source, X, y = classes
    other = np.where(y == "a", "x", "y")
    disjoint = TransferKernel(source, method="outputs").fit(X, other)
    assert disjoint.method_ == "concat"


def test_few_rows_are_left_out_one_at_a_time(classes):
    source, X, y = classes
    model = TransferKernel(source, LogisticRegression(), random_state=0)
    model.fit(X[:6], y[:6])
    assert len(model.cv_results_["method"]) >= 3


def test_classes_are_matched_by_name(rng):
    """The order of the classes of the source does not matter."""
    X = rng.normal(size=(200, 2))
    y = np.where(X[:, 0] > 0, 7, 3)

    class Reversed(ClassifierMixin, BaseEstimator):
        classes_ = np.array([7, 3])

        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.where(X[:, 0] > 0, 7, 3)

        def predict_proba(self, X):
            return 0.1 + 0.8 * (self.predict(X)[:, None] == self.classes_)

        def __sklearn_is_fitted__(self):
            return True

    target = RFMClassifier(random_state=0)
    model = TransferKernel(Reversed(), target, method="translation")
    model.fit(X[:20], y[:20])
    assert model.score(X, y) > 0.95


def test_perfect_source_needs_no_correction(tasks):
    source, X, _ = tasks
    model = TransferKernel(source, RFMRegressor(), method="translation")
    model.fit(X, source.predict(X))
    assert_array_equal(model.predict(X), source.predict(X))


# -- the source ---------------------------------------------------------------------


def test_source_is_fitted_to_its_own_rows(tasks, rng):
    source, X, y = tasks
    X_source = rng.normal(size=(50, 4))
    y_source = X_source.sum(axis=1)
    model = TransferKernel(Ridge(), Ridge(), method="translation")
    model.fit(X, y, X_source=X_source, y_source=y_source)
    expected = Ridge().fit(X_source, y_source)
    assert_allclose(model.source_estimator_.coef_, expected.coef_)
    assert not hasattr(model.source_estimator, "coef_")
    default = TransferKernel(random_state=0, method="concat")
    default.fit(X, y, X_source=X_source, y_source=y_source)
    assert isinstance(default.source_estimator_, RFMRegressor)


def test_fitted_source_is_shared_by_clones(tasks):
    source, X, y = tasks
    for given in (source, FrozenEstimator(source)):
        search = GridSearchCV(
            TransferKernel(given, Ridge()),
            {"method": ["none", "translation"], "target_estimator__alpha": [0.1, 10]},
        ).fit(X, y)
        best = search.best_estimator_
        assert best.source_estimator_ is given
        assert best.method_ == "translation"


def test_fit_to_another_task(tasks, classes):
    source, X, y = classes
    model = TransferKernel(source, LogisticRegression(), method="concat").fit(X, y)
    source, X, y = tasks
    model.set_params(source_estimator=source, target_estimator=Ridge()).fit(X, y)
    assert model.predict(X).dtype.kind == "f" and model.score(X, y) > 0.9


def test_pipeline(tasks):
    source, X, y = tasks
    pipeline = make_pipeline(StandardScaler(), TransferKernel(source, Ridge()))
    assert pipeline.fit(X, y).score(X, y) > 0.9


def test_weights_are_repeated_rows(tasks, rng):
    source, X, y = tasks
    weight = rng.integers(1, 4, size=len(y))
    for method in ("none", "projection", "concat", "translation"):
        model = TransferKernel(source, Ridge(), method=method)
        weighted = model.fit(X, y, sample_weight=weight).predict(X)
        rows = np.repeat(np.arange(len(y)), weight)
        assert_allclose(model.fit(X[rows], y[rows]).predict(X), weighted, rtol=1e-8)


# -- warnings and errors ------------------------------------------------------------


def test_warnings(tasks, rng):
    source, X, y = tasks
    constant = DummyRegressor().fit(X, y)
    with pytest.warns(NumericalWarning, match="same scores for all target rows"):
        model = TransferKernel(constant, Ridge(), method="concat").fit(X, y)
    assert model.method_ == "none"
    with pytest.warns(NumericalWarning, match="5 of the 60 target rows"):
        rows = np.vstack([X[:5], rng.normal(size=(20, 4))])
        TransferKernel(Ridge(), Ridge()).fit(
            X, y, X_source=rows, y_source=rows.sum(axis=1)
        )


@pytest.mark.parametrize(
    ("source", "target", "method", "message"),
    [
        (None, None, "concat", "needs a source_estimator"),
        (Ridge(), None, "auto", "source_estimator is not fitted"),
        ("fitted", RidgeClassifier(), "translation", "RFMClassifier and not for Ridge"),
        ("fitted", RFMClassifier(), "translation", "with the outputs of the target"),
    ],
)
def test_error_messages(tasks, source, target, method, message):
    fitted, X, y = tasks
    source = fitted if source == "fitted" else source
    y = y > 0 if target is not None else y
    model = TransferKernel(source, target, method=method)
    before = vars(model).copy()
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)
    assert vars(model) == before


def test_rows_without_weight_are_absent(tasks):
    source, X, y = tasks
    weight = np.arange(len(y)) % 3.0
    kept = weight > 0
    for target in (None, Ridge()):
        model = TransferKernel(source, target, random_state=0)
        got = model.fit(X, y, sample_weight=weight).predict(X)
        model.fit(X[kept], y[kept], sample_weight=weight[kept])
        assert_allclose(model.predict(X), got, rtol=1e-9)


def test_response(classes, tasks):
    source, X, y = classes
    scores = {
        "decision_function": source.decision_function(X),
        "predict_proba": source.predict_proba(X),
        "predict_log_proba": source.predict_log_proba(X),
        "predict": (source.predict(X)[:, None] == source.classes_).astype(float),
    }
    scores["auto"] = scores["decision_function"]
    for response, F in scores.items():
        target = LogisticRegression()
        model = TransferKernel(source, target, method="projection", response=response)
        inputs = balanced(F, X)
        expected = target.fit(inputs, y).decision_function(inputs)
        assert_allclose(model.fit(X, y).decision_function(X), expected, rtol=1e-9)
    source, X, y = tasks
    with pytest.raises(ValueError, match="Ridge, has no such method. It has predict"):
        TransferKernel(source, Ridge(), response="predict_proba").fit(X, y)


def test_methods_of_the_source_are_called_once(tasks):
    _, X, y = tasks
    calls = []

    class Counting(Ridge):
        def predict(self, X):
            calls.append(len(X))
            return super().predict(X)

    source = Counting().fit(X, y)
    model = TransferKernel(source, Ridge(), random_state=0).fit(X[:50], y[:50])
    model.predict(X)
    assert calls == [50, 60]


def test_source_fitted_with_column_names(tasks):
    _, X, y = tasks
    frame = pd.DataFrame(X, columns=list("abcd"))
    source = make_pipeline(
        ColumnTransformer([("some", "passthrough", ["a", "c"])]), Ridge()
    ).fit(frame, y)
    model = TransferKernel(source, Ridge(), method="translation").fit(frame, y)
    first = source.predict(frame)
    expected = first + Ridge().fit(X, y - first).predict(X)
    assert_allclose(model.predict(frame), expected)


def test_rfm_is_compared_by_its_own_validation(tasks):
    """An RFM is fitted once for each method, and validated on the folds of `cv`."""
    source, X, y = tasks
    folds = list(KFold(4, shuffle=True, random_state=1).split(X))
    target = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=0, scaling=None)
    model = TransferKernel(source, target, cv=folds).fit(X, y)
    alone = cross_val_predict(target.set_params(validation=None), X, y, cv=folds)
    is_none = model.cv_results_["method"] == "none"
    expected = np.mean((y - alone) ** 2) / y.var()
    assert_allclose(model.cv_results_["mean_loss"][is_none], expected)


def test_error_messages_about_rows(tasks):
    source, X, y = tasks
    with pytest.raises(ValueError, match="fitted on 4 columns and X has 3"):
        TransferKernel(source, Ridge()).fit(X[:, :3], y)
    with pytest.raises(ValueError, match="X_source and y_source together"):
        TransferKernel(Ridge(), Ridge()).fit(X, y, X_source=X)
    with pytest.raises(ValueError, match="is frozen"):
        model = TransferKernel(FrozenEstimator(source), Ridge())
        model.fit(X, y, X_source=X, y_source=y)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        model = TransferKernel(source, KNeighborsRegressor())
        model.fit(X, y, sample_weight=np.ones(len(y)))
    with pytest.raises(AttributeError, match="predict_proba"):
        TransferKernel(source, Ridge()).fit(X, y).predict_proba(X)
