"""XRFM: leaves, soft routing, weights, classes, and parallel jobs."""

import pickle
from concurrent.futures import CancelledError

import numpy as np
import pytest
from _estimator_checks import parametrize_with_checks
from joblib import delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm.xrfm._leaves import ConstantModel
from skrfm.xrfm._parallel import run_jobs
from skrfm.xrfm._tree import route

QUICK = RFMRegressor(
    kernel="laplace", alpha=0.1, max_iter=1, validation=None, scaling=None
)
SEARCH = {"alphas": (0.01, 1.0), "cv": 2, "max_iter": 1}
QUICK_CLASSES = RFMClassifier(kernel="laplace", alpha=0.1, max_iter=1, validation=None)


def expected_failures(estimator):
    check = "check_sample_weight_equivalence_on_dense_data"
    if estimator.max_leaf_size != "auto":
        return {check: "directions come from random rows, which repetition changes"}
    return {check: "repeated rows change the folds, which cannot be passed"}


@parametrize_with_checks(
    [
        # the search of the defaults, at the root, with fewer candidates and rounds
        XRFMRegressor(RFMRegressor(**SEARCH), random_state=0),
        XRFMClassifier(RFMClassifier(**SEARCH), random_state=0),
        XRFMRegressor(QUICK, max_leaf_size=12, search="leaves"),
        XRFMClassifier(QUICK_CLASSES, max_leaf_size=12, search="leaves"),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator_checks(estimator, check):
    check(estimator)


def root_of(model):
    """Return the root of the first tree."""
    return model._fitted.trees[0].root


def choice_of(model):
    """Return the kernel, the ridge and the round of a model."""
    return repr(model.kernel_), model.alpha_, model.best_iter_


@pytest.fixture
def table(rng):
    X = rng.normal(size=(600, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])


@pytest.fixture
def labels(rng):
    X = rng.normal(size=(500, 3))
    return X, np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.5])]


def test_small_table_has_one_leaf_equal_to_the_estimator(table):
    X, y = table
    X, y = X[:400], y[:400]  # the median distance is that of all rows
    model = XRFMRegressor(QUICK, random_state=0).fit(X, y)
    assert model.n_leaves_ == 1 and model.root_estimator_ is None
    assert_array_equal(model.predict(X), QUICK.fit(X, y).predict(X))


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_predictions_are_weighted_averages_of_leaves(temperature, table):
    X, y = table
    model = XRFMRegressor(
        QUICK, max_leaf_size=100, search="leaves", temperature=temperature, n_trees=2
    ).fit(X, y)
    assert model.n_leaves_ == 12
    expected = np.zeros(len(X))
    for tree, models in zip(model._fitted.trees, model.estimators_, strict=True):
        for leaf in route(tree.root, X, temperature):
            outputs = models[leaf.number].predict(X[leaf.rows])
            expected[leaf.rows] += leaf.weight * outputs / 2
    assert_allclose(model.predict(X), expected)


def test_leaves_are_fitted_to_their_rows(table):
    X, y = table
    model = XRFMRegressor(
        QUICK, max_leaf_size=150, search="leaves", temperature=0, random_state=0
    ).fit(X, y)
    for leaf in route(root_of(model), X, 0.0):
        expected = QUICK.fit(X[leaf.rows], y[leaf.rows]).predict(X)
        got = model.estimators_[0][leaf.number].predict(X)
        assert_allclose(got, expected, atol=1e-8)


def test_split_is_along_the_direction_of_the_target(rng):
    X = rng.normal(size=(1200, 6))
    y = np.tanh(3 * (X[:, 0] + X[:, 1]))
    model = XRFMRegressor(QUICK, max_leaf_size=700, search="leaves").fit(X, y)
    direction = np.abs(root_of(model).direction.vector)
    assert direction[:2].min() > 0.6 and direction[2:].max() < 0.2
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert model.feature_importances_[:2].sum() > 0.8


def test_search_at_the_root_chooses_for_all_leaves(table):
    X, y = table
    model = XRFMRegressor(max_leaf_size=150, random_state=0).fit(X, y)
    root = model.root_estimator_
    assert len(root.X_fit_) == 240 and len(root.history_["score"]) > 1
    found = {choice_of(leaf) for leaf in model.estimators_[0]}
    assert len(found) == 1
    rounds = found.pop()
    compared = [(repr(r.kernel), r.alpha, r.max_iter) for r in root._fitted.rivals]
    compared = [choice_of(root), *compared[:2]]
    halved = [(kernel, alpha, n // 2) for kernel, alpha, n in compared if n >= 4]
    assert rounds in compared + halved
    each = XRFMRegressor(max_leaf_size=150, search="leaves", random_state=0).fit(X, y)
    assert each.root_estimator_ is None
    assert all(len(leaf.history_["score"]) > 1 for leaf in each.estimators_[0])


@pytest.mark.parametrize(("max_rows", "n_fitted"), [(1600, 2000), (700, 1120)])
def test_search_at_the_root_fits_about_as_many_rows_as_a_leaf_has(
    max_rows, n_fitted, rng
):
    X = rng.normal(size=(2000, 3))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=2000)
    estimator = RFMRegressor(alphas=(0.01, 1.0), max_iter=2)
    model = XRFMRegressor(estimator, max_leaf_size=max_rows, random_state=0).fit(X, y)
    root = model.root_estimator_
    assert len(root.X_fit_) == n_fitted and root.machine_weights_ == [1.0]
    last = root.history_["rows"].max()
    assert 0.7 * min(max_rows, 1500) < last < 1.3 * max_rows


@pytest.mark.parametrize("validation", ["loo", None])
def test_validation_of_the_estimator_is_kept(validation, table):
    X, y = table
    estimator = RFMRegressor(validation=validation, max_iter=2)
    model = XRFMRegressor(estimator, max_leaf_size=150, random_state=0).fit(X, y)
    root = model.root_estimator_
    assert len(root.X_fit_) == 150
    if validation is None:
        assert root.best_iter_ == 2


def test_class_that_only_validation_rows_have(rng):
    X = rng.normal(size=(1500, 3))
    y = np.where(X[:, 0] > 0, "a", "b")
    y[rng.choice(1500, 3)] = "c"
    estimator = RFMClassifier(kernel="laplace", alpha=0.1, max_iter=1)
    model = XRFMClassifier(estimator, max_leaf_size=400, random_state=0).fit(X, y)
    assert model.root_estimator_.n_iter_ == 1
    assert set(model.classes_) == {"a", "b", "c"}
    assert model.score(X, y) > 0.95


def test_the_search_takes_classes_of_few_rows(rng):
    X, y = rng.normal(size=(14, 2)), np.array([0, 1] * 3 + [0] + [2] * 7)
    order = np.empty(14, dtype=int)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=2)[0]
    order[np.random.default_rng(seed).permutation(14)] = np.arange(14)
    model = XRFMClassifier(max_leaf_size=13, random_state=0).fit(X, y[order])
    assert model.n_leaves_ == 2
    assert np.isfinite(model.predict_proba(X)).all()


def test_soft_routing_is_better_than_hard_routing(rng):
    X = rng.normal(size=(1500, 4))
    y = np.sin(2 * X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3] + 0.3 * rng.normal(size=1500)
    scores = {}
    for temperature in (0.0, 0.1):
        model = XRFMRegressor(
            QUICK, max_leaf_size=130, search="leaves", temperature=temperature
        ).fit(X[:1000], y[:1000])
        scores[temperature] = model.score(X[1000:], y[1000:])
    assert scores[0.1] > scores[0.0] + 0.01


def test_class_probabilities_and_labels(labels):
    X, y = labels
    model = XRFMClassifier(QUICK_CLASSES, max_leaf_size=150, random_state=0).fit(X, y)
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    assert model.score(X, y) > 0.9


def test_leaves_of_one_class(rng):
    X = rng.normal(size=(200, 2))
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = XRFMClassifier(
        QUICK_CLASSES, max_leaf_size=60, temperature=0, search="leaves"
    ).fit(X, y)
    assert any(isinstance(leaf, ConstantModel) for leaf in model.estimators_[0])
    assert model.score(X, y) > 0.97
    tree = model._fitted.trees[0]
    for leaf in route(tree.root, model._fitted.coding.encode(X), 0):
        if isinstance(tree.models[leaf.number], ConstantModel):
            n_rows = tree.n_rows[leaf.number]
            assert n_rows == len(leaf.rows)
            least = model.predict_proba(X[leaf.rows]).min(axis=1)
            assert_allclose(least, 0.5 / (n_rows + 1))


@pytest.mark.parametrize("temperature", [0, 0.3])
def test_no_probability_is_zero_or_one(temperature, rng):
    """A class that no leaf nearby has may still be that of a row, as scorers need."""
    X = rng.normal(size=(600, 2))
    y = np.where(X[:, 0] > 1.5, "rare", np.where(X[:, 1] > 0, "up", "down"))
    y[:3] = "rare"
    model = XRFMClassifier(
        QUICK_CLASSES, max_leaf_size=40, temperature=temperature, random_state=0
    ).fit(X, y)
    leaves = model.estimators_[0]
    assert any(len(getattr(leaf, "classes_", [0])) < 3 for leaf in leaves)
    new = rng.normal(size=(5000, 2))
    proba = model.predict_proba(new)
    assert 0 < proba.min() <= proba.max() < 1
    assert_allclose(proba.sum(axis=1), 1)


def test_constant_targets():
    X = np.random.default_rng(0).normal(size=(100, 3))
    model = XRFMRegressor(QUICK, max_leaf_size=20).fit(X, np.ones(100))
    assert_allclose(model.predict(X), 1)
    assert_array_equal(model.feature_importances_, 0)


def test_several_outputs_and_float32(table):
    X, y = table
    model = XRFMRegressor(QUICK, max_leaf_size=150, random_state=0)
    both = model.fit(X, np.c_[y, 2 * y + 1]).predict(X)
    assert both.shape == (600, 2)
    assert_allclose(both[:, 1], 2 * both[:, 0] + 1, atol=1e-8)
    narrow = X.astype(np.float32)
    assert model.fit(narrow, y).predict(narrow).dtype == np.float32


def test_rows_without_weight_are_absent(table):
    X, y = table
    weight = np.ones(600)
    weight[::3] = 0
    model = XRFMRegressor(QUICK, max_leaf_size=150, random_state=0)
    got = model.fit(X, y, sample_weight=weight).predict(X)
    kept = weight > 0
    assert_array_equal(model.fit(X[kept], y[kept]).predict(X), got)


def test_threads_and_pickles_give_the_same_model(table):
    X, y = table
    model = XRFMRegressor(QUICK, max_leaf_size=150, n_trees=2, random_state=0)
    expected = model.fit(X, y).predict(X)
    # threads of BLAS in two threads of joblib would wait for each other
    with parallel_config("threading"), threadpool_limits(1):
        assert_allclose(model.set_params(n_jobs=2).fit(X, y).predict(X), expected)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


@pytest.mark.parametrize("n_cancelled", [1, 3])
def test_cancelled_jobs_are_run_again(n_cancelled):
    cancelled = []

    def job(number):
        if number == 2 and len(cancelled) < n_cancelled:
            cancelled.append(number)
            raise CancelledError
        return 10 * number

    results = list(run_jobs(delayed(job), 5, None))
    assert results == [0, 10, 20, 30, 40] and len(cancelled) == n_cancelled


def test_jobs_that_are_always_cancelled_raise():
    def job(number):
        raise CancelledError

    with pytest.raises(CancelledError):
        list(run_jobs(delayed(job), 1, None))


def test_grid_search(table):
    X, y = table
    search = GridSearchCV(
        XRFMRegressor(QUICK, max_leaf_size=200, random_state=0),
        {"temperature": [0, 0.2], "estimator__alpha": [0.1, 1.0]},
        cv=2,
    ).fit(X, y)
    assert search.best_score_ > 0.5


def test_error_messages(table):
    X, y = table
    with pytest.raises(ValueError, match="'estimator' parameter of XRFMRegressor"):
        XRFMRegressor(RFMClassifier()).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        XRFMClassifier().fit(X, np.zeros(600, dtype=int))


def test_memory_budget_bounds_the_leaves(table):
    X, y = table
    model = XRFMRegressor(QUICK, memory_budget=8.01e-9 / 0.6 * 100**2, random_state=0)
    assert model.fit(X, y).n_leaves_ == 6
    assert model.fit(X.astype(np.float32), y).n_leaves_ == 5
    # in processes, the same would take seconds to start them
    with parallel_config("threading"), threadpool_limits(1):
        assert model.set_params(n_jobs=4).fit(X, y).n_leaves_ == 12
        assert model.set_params(max_leaf_size=20).fit(X, y).n_leaves_ == 30
    with pytest.raises(ValueError, match="memory_budget=1e-09 allows 0 rows in a leaf"):
        model.set_params(memory_budget=1e-9).fit(X, y)
