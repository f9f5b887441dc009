"""Averages of machines: which are selected, and that outputs are weighted means."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification, make_friedman1
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import KFold, StratifiedKFold

from skrfm import RFMClassifier, RFMClassifierCV, RFMRegressor, RFMRegressorCV
from skrfm._search import TrialResult, select

SEARCH = {"n_candidates": 12, "max_iter": 1, "random_state": 0}


# -- the choice -----------------------------------------------------------------------


def trials_of(outputs, score):
    trials = [TrialResult(score(out), None, out) for out in outputs]
    return sorted(trials, key=lambda trial: -trial.score)


def negative_error(y):
    return lambda out: -float(np.mean((out - y) ** 2))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 6), most=st.integers(1, 4))
def test_no_further_step_improves_the_average(seed, count, most):
    """By brute force over all that the last step could have added."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=40)
    score = negative_error(y)
    trials = trials_of(y + rng.normal(size=(count, 40)), score)
    chosen, weights = select(trials, score, most)
    assert chosen[0] is trials[0] and len(chosen) <= most
    assert sum(weights) == pytest.approx(1)
    outputs = np.array([trial.outputs for trial in trials])
    shares = np.zeros(count)
    for trial, weight in zip(chosen, weights, strict=True):
        shares[trials.index(trial)] = weight
    reached = score(shares @ outputs)
    assert reached >= trials[0].score
    # the least number of equal shares that gives the weights
    total = next(
        n
        for n in range(1, 13)
        if np.allclose(shares * n % 1 % 1, 0, atol=1e-9)
        or np.allclose(np.round(shares * n), shares * n)
    )
    counts = np.round(shares * total).astype(int)
    if total < 12:
        for added in np.eye(count, dtype=int):
            more = counts + added
            if np.count_nonzero(more) <= most:
                assert score(more @ outputs / more.sum()) <= reached + 1e-12


def test_two_with_opposite_errors_get_equal_weights():
    y = np.zeros(10)
    error = np.linspace(1, 2, 10)
    trials = trials_of([y + error, y - error, y + 5], negative_error(y))
    assert select(trials, negative_error(y), 5) == (trials[:2], [0.5, 0.5])
    assert select(trials, negative_error(y), 1) == (trials[:1], [1.0])


# -- regression -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbers():
    X, y = make_friedman1(260, n_features=6, noise=2.0, random_state=1)
    return X[:160], y[:160], X[160:], y[160:]


@pytest.fixture(scope="module")
def regressor(numbers):
    X, y, _, _ = numbers
    return RFMRegressorCV(**SEARCH, cv=KFold(3)).fit(X, y)


def test_outputs_are_those_of_the_machines_averaged(numbers, regressor):
    X, y, X_new, _ = numbers
    machines, shares = regressor.machines_, regressor.machine_weights_
    assert 1 < len(machines) <= 5 and sum(shares) == pytest.approx(1)
    parts = [machine.predict(X_new) for machine in machines]
    expected = np.average(parts, axis=0, weights=shares)
    assert_allclose(regressor.predict(X_new), expected, rtol=1e-10)
    # the attributes of one machine are those of the best
    assert_array_equal(regressor.dual_coef_, machines[0].dual_coef_)
    best = RFMRegressor(**regressor.best_params_, validation=None, random_state=0)
    assert_allclose(parts[0], best.fit(X, y).predict(X_new), rtol=1e-9)


def test_machines_are_estimators_that_can_be_fitted_again(numbers, regressor):
    X, y, X_new, _ = numbers
    for machine in regressor.machines_:
        assert type(machine) is RFMRegressor
        expected = machine.predict(X_new)
        again = pickle.loads(pickle.dumps(machine)).fit(X, y)
        assert_allclose(again.predict(X_new), expected, rtol=1e-9)
        assert_allclose(again.metric_, machine.metric_, rtol=1e-9)
        assert again.best_iter_ == machine.best_iter_ and again.n_iter_ >= 1


def test_the_score_of_the_average_is_that_of_cross_validation(numbers, regressor):
    X, y, _, _ = numbers
    scores = []
    for train, test in KFold(3).split(X):
        # columns are scaled once, on all rows, as the search does it
        rows = regressor.X_fit_
        parts = [
            clone(machine)
            .set_params(scaling=None)
            .fit(rows[train], y[train])
            .predict(rows[test])
            for machine in regressor.machines_
        ]
        averaged = np.average(parts, axis=0, weights=regressor.machine_weights_)
        scores.append(r2_score(y[test], averaged))
    assert regressor.average_score_ == pytest.approx(np.mean(scores), abs=1e-8)
    assert regressor.average_score_ > regressor.best_score_


def test_the_deviation_is_that_of_a_mixture(numbers, regressor):
    _, _, X_new, _ = numbers
    mean, std = regressor.predict(X_new, return_std=True)
    shares = np.array(regressor.machine_weights_)[:, None]
    found = [m.predict(X_new, return_std=True) for m in regressor.machines_]
    means, stds = (np.array(part) for part in zip(*found, strict=True))
    square = (shares * (stds**2 + means**2)).sum(axis=0)
    assert_allclose(mean, (shares * means).sum(axis=0), rtol=1e-10)
    assert_allclose(std, np.sqrt(square - mean**2), rtol=1e-8)


def test_one_machine_is_the_best_alone(numbers, regressor):
    X, y, X_new, _ = numbers
    alone = RFMRegressorCV(**SEARCH, cv=KFold(3), n_machines=1).fit(X, y)
    assert alone.machine_weights_ == [1.0]
    assert alone.average_score_ == alone.best_score_ == regressor.best_score_
    expected = regressor.machines_[0].predict(X_new)
    assert_allclose(alone.predict(X_new), expected, rtol=1e-12)


def test_several_targets_and_a_pickle(numbers):
    X, y, X_new, _ = numbers
    Y = np.c_[y, X[:, 0] + y]
    model = RFMRegressorCV(**SEARCH, cv=3).fit(X, Y)
    assert len(model.machines_) > 1
    expected = model.predict(X_new)
    assert expected.shape == (100, 2)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_new), expected)


# -- classification -------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes(n_classes):
    X, codes = make_classification(
        300,
        n_features=8,
        n_informative=6,
        n_classes=n_classes,
        weights=[0.6, 0.2][: n_classes - 1],
        flip_y=0.2,
        random_state=1,
    )
    y = np.array(["a", "b", "c"])[codes]
    model = RFMClassifierCV(
        **SEARCH, cv=StratifiedKFold(3), class_weight="balanced"
    ).fit(X[:200], y[:200])
    assert len(model.machines_) > 1
    scores = [m.decision_function(X[200:]) for m in model.machines_]
    averaged = np.average(scores, axis=0, weights=model.machine_weights_)
    assert_allclose(model.decision_function(X[200:]), averaged, rtol=1e-9, atol=1e-12)
    proba = model.predict_proba(X[200:])
    assert_array_equal(model.predict(X[200:]), model.classes_[proba.argmax(axis=1)])
    assert log_loss(y[200:], proba) < np.log(n_classes)
    for machine in model.machines_:
        assert type(machine) is RFMClassifier
        assert_array_equal(machine.classes_, model.classes_)
        assert_allclose(machine.predict_proba(X[200:]).sum(axis=1), 1)
        # one that is fitted again has the weights of the classes, too
        again = clone(machine).fit(X[:200], y[:200])
        expected = machine.decision_function(X[200:])
        assert_allclose(again.decision_function(X[200:]), expected, rtol=1e-7)
