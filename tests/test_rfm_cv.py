"""The random search: its scores by hand, its end, its candidates, and scorers."""

from itertools import groupby

import numpy as np
import pytest
from _estimator_checks import parametrize_with_checks
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_wine, make_friedman1
from sklearn.metrics import get_scorer, make_scorer, mean_pinball_loss
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.preprocessing import scale

import skrfm._recursion._prepared as distances
from skrfm import RFMClassifier, RFMClassifierCV, RFMRegressor, RFMRegressorCV
from skrfm._backend import NumpyBackend
from skrfm._recursion import Candidate
from skrfm._search import halve
from skrfm.kernels import NTK, GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace
from skrfm.rfm._cv._space import RandomCandidates, parameters_of

SMALL = {"n_candidates": 3, "max_iter": 1, "random_state": 0}


@parametrize_with_checks([RFMRegressorCV(**SMALL), RFMClassifierCV(**SMALL)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    X, y = make_friedman1(120, n_features=6, noise=0.5, random_state=0)
    return scale(X), y


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return scale(X), np.array(["red", "white", "rosé"])[y]


def by_hand(model, row, kind, X, y, folds, scoring=None):
    """The score of a candidate at a round, by scikit-learn."""
    params, rounds = model.cv_results_["params"][row], model.cv_results_["iter"][row]
    machine = kind(**params, max_iter=int(rounds), validation=None, scaling=None)
    return cross_val_score(machine, X, y, cv=folds, scoring=scoring)


def test_scores_are_those_of_cross_validation(table):
    X, y = table
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    model = RFMRegressorCV(
        n_candidates=6, max_iter=2, cv=folds, scaling=None, random_state=0
    ).fit(X, y)
    results = model.cv_results_
    for row in range(6):
        expected = by_hand(model, row, RFMRegressor, X, y, folds)
        got = [results[f"split{k}_test_score"][row] for k in range(3)]
        assert_allclose(got, expected, atol=1e-8)
        assert_allclose(results["mean_test_score"][row], expected.mean(), atol=1e-8)
        assert_allclose(results["std_test_score"][row], expected.std(), atol=1e-8)
    assert model.best_score_ == results["mean_test_score"].max()
    assert results["rank_test_score"][model.best_index_] == 1


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "f1_macro"])
def test_any_scorer(scoring, wine):
    X, y = wine
    folds = list(StratifiedKFold(3).split(X, y))
    model = RFMClassifierCV(
        n_candidates=3,
        max_iter=1,
        cv=folds,
        scoring=scoring,
        scaling=None,
        random_state=0,
    ).fit(X, y)
    if scoring != "roc_auc_ovr":  # which depends on the temperature of the whole
        for row in range(3):
            expected = by_hand(model, row, RFMClassifier, X, y, folds, scoring)
            found = model.cv_results_["mean_test_score"][row]
            assert_allclose(found, expected.mean(), atol=1e-9)
    assert 0.8 < model.best_score_ <= 1


def test_a_custom_scorer(table):
    X, y = table
    loss = make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.9)
    folds = list(KFold(3).split(X))
    model = RFMRegressorCV(**SMALL, cv=folds, scoring=loss, scaling=None).fit(X, y)
    expected = by_hand(model, 0, RFMRegressor, X, y, folds, loss)
    assert_allclose(model.cv_results_["mean_test_score"][0], expected.mean())
    assert model.best_score_ <= 0


def test_the_default_score_of_classes_is_the_log_loss(wine):
    X, y = wine
    model = RFMClassifierCV(**SMALL).fit(X, y)
    loss = -model.cv_results_["mean_test_score"]
    assert (0 < loss).all() and (loss < 0.5).all()
    assert get_scorer("neg_log_loss")(model, X, y) > model.best_score_


def test_the_model_is_that_of_the_best_parameters(table):
    X, y = table
    model = RFMRegressorCV(n_candidates=5, n_machines=1, random_state=0).fit(X, y)
    same = RFMRegressor(**model.best_params_, validation=None).fit(X, y)
    assert_allclose(model.predict(X), same.predict(X), rtol=1e-9)
    assert model.best_iter_ == model.best_params_["max_iter"]
    assert repr(model.kernel_) == repr(model.best_params_["kernel"])


def test_the_search_is_at_least_as_good_as_the_default_candidates(table):
    X, y = table
    few = RFMRegressorCV(n_candidates=6, random_state=0).fit(X, y)
    many = RFMRegressorCV(n_candidates=12, random_state=0).fit(X, y)
    assert many.best_score_ >= few.best_score_
    names = {repr(kernel) for kernel in few.cv_results_["param_kernel"]}
    assert names == {"Laplace()", "L1Laplace()", "NTK(bias=0.5)"}


def test_candidates_of_one_distance_share_it(table, monkeypatch):
    """Of rows that no metric has mapped: the median, and distances that take roots."""
    X, y = table
    search = RFMRegressorCV(n_candidates=24, cv=3, max_iter=0, random_state=0)
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    compute, calls = NumpyBackend.distance_powers, []

    def counted(self, kernel, T, *, category_sizes=()):
        calls.append((kernel.norm_order, kernel.coordinatewise))
        return compute(self, kernel, T, category_sizes=category_sizes)

    monkeypatch.setattr(NumpyBackend, "distance_powers", counted)
    kernels = search.fit(X, y).cv_results_["param_kernel"]
    norms = [(kernel.norm_order, kernel.coordinatewise) for kernel in kernels]
    assert len(set(norms)) > 4
    runs = [norm for norm, _ in groupby(norms) if norm[0] not in (1, 2)]
    assert len(runs) < sum(norm[0] not in (1, 2) for norm in norms) / 2
    assert len(calls) == 3 * (len(set(norms)) + len(runs)) + 1  # the model
    monkeypatch.setattr(distances, "_MOST_BYTES", 0)
    got = search.fit(X, y).cv_results_["mean_test_score"]
    assert_allclose(got, expected, rtol=1e-8)


def test_a_seed_gives_the_same_search(table):
    X, y = table
    model = RFMRegressorCV(n_candidates=6, max_iter=1, random_state=3)
    first = model.fit(X, y).cv_results_
    again = model.fit(X, y).cv_results_
    assert_array_equal(first["mean_test_score"], again["mean_test_score"])
    threads = model.set_params(n_jobs=2).fit(X, y).cv_results_
    assert_allclose(first["mean_test_score"], threads["mean_test_score"])


def test_a_budget_ends_the_search(table):
    X, y = table
    model = RFMRegressorCV(time_budget=1e-9, random_state=0).fit(X, y)
    assert len(model.cv_results_["params"]) == 1  # the first has begun
    assert model.machine_weights_ == [1.0]
    assert model.best_iter_ == 0 and model.score(X, y) > 0.5


class Trial:
    def __init__(self, *scores):
        self.scores, self.active = list(scores), True


def test_the_worse_half_ends():
    trials = [Trial(score) for score in (0.1, 0.9, 0.3, 0.8, 0.2, 0.7, 0.6, 0.5, 0.4)]
    halve(trials, 0)
    assert all(trial.active for trial in trials)
    halve(trials, 1)
    assert [t.scores[0] for t in trials if t.active] == [0.9, 0.8, 0.7, 0.6, 0.5]
    halve(trials, 2)
    halve(trials, 3)
    assert [t.scores[0] for t in trials if t.active] == [0.9, 0.8, 0.7, 0.6]


def assert_in_the_space(candidate):
    candidate.kernel.validate()
    multiple = float(candidate.bandwidth.removesuffix("*median"))
    assert 0.3 <= multiple <= 30 and 1e-6 <= candidate.alpha <= 10
    parameters = parameters_of(candidate)
    if isinstance(candidate.kernel, LpqLaplace):
        assert parameters["metric_type"] == "diag"
        assert 0.7 <= candidate.kernel.q <= candidate.kernel.p <= 2
    else:
        assert isinstance(candidate.kernel, GeneralizedLaplace)


def test_candidates_are_of_the_space():
    first = (Laplace(), L1Laplace())
    candidates = RandomCandidates(
        500, seed=0, first_kernels=first, shared={"max_iter": 2}
    ).first
    assert len(candidates) == 300
    assert all(isinstance(candidate, Candidate) for candidate in candidates)
    assert {repr(candidate.kernel) for candidate in candidates[:8]} == set(
        map(repr, first)
    )
    assert [candidate.alpha for candidate in candidates[:8]] == 2 * [
        1.0,
        0.1,
        0.01,
        0.001,
    ]
    drawn = candidates[8:]
    lpq = [r for r in drawn if isinstance(r.kernel, LpqLaplace)]
    assert 0.7 < len(lpq) / len(drawn) < 0.9
    for candidate in drawn:
        assert_in_the_space(candidate)
    metrics = {r.diagonal for r in drawn if isinstance(r.kernel, GeneralizedLaplace)}
    assert metrics == {True, False}


@pytest.mark.parametrize("count", [1, 5, 12, 13, 21, 30])
def test_candidates_are_as_many_as_asked_for(count):
    candidates = RandomCandidates(
        count, seed=0, first_kernels=(Laplace(), L1Laplace(), NTK()), shared={}
    )
    batches = [candidates.first]
    while batches[-1]:
        batches.append(candidates.next_batch(batches[0]))
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == candidates.count == count
    assert sizes[0] >= min(count, 12) and len(sizes) <= 4


@pytest.mark.parametrize(
    "kernel",
    [Laplace(), GeneralizedLaplace(0.75), L1Laplace(), LpqLaplace(1.5, 1.38), NTK()],
    ids=repr,
)
def test_later_candidates_are_near_the_best(kernel):
    best = Candidate(kernel, 5e-6, "29*median", diagonal=kernel.coordinatewise)
    worst = Candidate(Laplace(), 10, "0.3*median")
    candidates = RandomCandidates(2000, seed=0, first_kernels=(), shared={})
    near = candidates.next_batch([best, best, best, worst])
    assert len(near) == 400
    for candidate in near:
        assert candidate.diagonal == best.diagonal
        assert (candidate.kernel.of_inner_products) == kernel.of_inner_products
        if not kernel.of_inner_products:
            assert_in_the_space(candidate)
            p, q = candidate.kernel.norm_order, candidate.kernel.profile(1.0)[2]
            assert abs(p - kernel.norm_order) <= 0.25 or p - q < 0.25
    bandwidths = [float(r.bandwidth.removesuffix("*median")) for r in near]
    assert min(bandwidths) > 29 * np.exp(-2) and max(bandwidths) == 30
    ratios = np.log([candidate.alpha / 5e-6 for candidate in near])
    assert ratios.min() == pytest.approx(np.log(0.2)) and 0.5 < ratios.std() < 1.3


def test_later_batches_are_better(table):
    """The best of the first batches, of a search without them, is not the best."""
    X, y = table
    many = RFMRegressorCV(n_candidates=30, cv=3, random_state=0).fit(X, y)
    scores = many.cv_results_["mean_test_score"]
    assert len(scores) == 30
    assert many.best_index_ >= 18
    assert np.median(scores[18:]) > np.median(scores[:18])


def test_validation_rows_can_be_given(table):
    X, y = table
    model = RFMRegressorCV(**SMALL).fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    best = model.machines_[0].score(X[80:], y[80:])
    assert model.best_score_ == pytest.approx(best, abs=1e-9)
    averaged = model.score(X[80:], y[80:])
    assert model.average_score_ == pytest.approx(averaged, abs=1e-9)
    assert len(model.machines_) > 1 and averaged > best
    assert "split1_test_score" not in model.cv_results_


def test_messages(table, wine):
    with pytest.raises(ValueError, match="scoring='accuracy' cannot score"):
        RFMRegressorCV(**SMALL, scoring="accuracy").fit(*table)
    with pytest.raises(ValueError, match="scoring='r2' cannot score"):
        RFMClassifierCV(**SMALL, scoring="r2").fit(*wine)


def test_scorers_get_weights(wine):
    X, y = wine
    weight = np.where(y == "red", 5.0, 1.0)
    folds = list(StratifiedKFold(3).split(X, y))
    model = RFMClassifierCV(**SMALL, scoring="accuracy", cv=folds, scaling=None)
    model.fit(X, y, sample_weight=weight)
    row = model.best_index_
    params, rounds = model.cv_results_["params"][row], model.cv_results_["iter"][row]
    machine = RFMClassifier(
        **params, max_iter=int(rounds), validation=None, scaling=None
    )
    expected = [
        machine.fit(X[a], y[a], weight[a]).score(X[b], y[b], weight[b])
        for a, b in folds
    ]
    assert_allclose(model.best_score_, np.mean(expected))


@pytest.mark.parametrize("centers", ["kmeans", "given"])
@pytest.mark.parametrize("all_in_folds", [True, False])
def test_few_centres(all_in_folds, centers, rng, monkeypatch):
    monkeypatch.setattr("skrfm._tables._stream.SAMPLE_ROWS", 400)
    if not all_in_folds:
        monkeypatch.setattr("skrfm._search._judging.MOST_CENTERS", 100)
    X = rng.normal(size=(1500, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=1500)
    n_centers = 60
    if centers == "given":
        centers, n_centers = X[:60], "auto"
    model = RFMRegressorCV(**SMALL, cv=3, n_centers=n_centers, centers=centers)
    model.fit(X, y)
    assert model.X_fit_.shape == (60, 3)
    assert model.score(X, y) > 0.9
    for machine in model.machines_:
        assert machine.X_fit_.shape == (60, 3)
        assert machine.get_params()["n_centers"] == n_centers
    # the search has a sample, and the last fit all rows
    assert model.history_["rows"].max() < 400
    mean, std = model.predict(X, return_std=True)
    assert 0.9 < np.mean(np.abs(y - mean) < 2 * std) < 0.99


def test_classes_by_few_centres(wine):
    X, y = wine
    model = RFMClassifierCV(**SMALL, n_centers=40).fit(X, y)
    assert model.X_fit_.shape[0] == 40 and model.score(X, y) > 0.95
