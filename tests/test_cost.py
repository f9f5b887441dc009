"""Forecasts of the costs of fits."""

from itertools import count, pairwise
from time import process_time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_is_fitted

from skrfm import (
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm._search import _folds, most_runs
from skrfm._sklearn import clone
from skrfm.inspection import CostEstimate, estimate_cost
from skrfm.inspection._cost import _forecast, _rounds
from skrfm.inspection._cost._search import rounds_of_batch

ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None, "max_iter": 3}


@pytest.fixture
def ticking(monkeypatch):
    """Let everything that is measured take one tick of both clocks."""
    ticks = count()
    clocks = lambda: np.full(2, next(ticks), dtype=float)  # noqa: E731
    for module in (_rounds, _forecast):
        monkeypatch.setattr(module, "clocks", clocks)


def table(n_rows, dtype=np.float32, *, d=3):
    X = np.random.default_rng(0).normal(size=(n_rows, d)).astype(dtype)
    return X, X[:, 0] * X[:, 1]


def works(model, X, y):
    return _forecast.MachineForecast(clone(model), X, y).work.all()


MODELS = [
    (RFMRegressor(random_state=0), False),
    (RFMClassifier(random_state=0, scaling="clipped"), True),
    (RFMRegressorCV(n_candidates=3, random_state=0), False),
    (RFMClassifierCV(n_candidates=3, scaling="clipped", random_state=0), True),
    (XRFMRegressor(RFMRegressor(**ONE), max_leaf_size=200), False),
    (XRFMClassifier(RFMClassifier(**ONE), max_leaf_size=200), True),
]


@pytest.mark.parametrize(
    ("model", "classes"), MODELS, ids=lambda value: type(value).__name__
)
def test_all_estimators_and_nothing_is_changed(model, classes):
    X, y = table(300)
    y = np.where(y > 0, "b", "a") if classes else y
    X_before, y_before, random_state = X.copy(), y.copy(), np.random.RandomState(3)
    model = clone(model).set_params(random_state=random_state)
    attributes, state = dict(vars(model)), random_state.get_state()[1].copy()
    cost = estimate_cost(model, X, y)
    assert isinstance(cost, CostEstimate)
    assert 0 < cost.seconds < 600 and 0 < cost.cpu_seconds < 600
    assert isinstance(cost.memory, int) and cost.memory > 4 * 60**2
    assert vars(model) == attributes and model.random_state is random_state
    assert_array_equal(random_state.get_state()[1], state)
    assert_array_equal(X, X_before)
    assert_array_equal(y, y_before)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


def test_repr_is_short():
    cost = CostEstimate(seconds=1.23456, cpu_seconds=2.0, memory=123_456_789)
    assert repr(cost) == "CostEstimate(seconds=1.23, cpu_seconds=2, memory=1.23e+08)"


@pytest.mark.parametrize("parameters", [{}, {"n_machines": 1}, {"validation": "loo"}])
def test_the_seconds_grow_with_the_rows(ticking, parameters):
    model = RFMRegressor(random_state=0, max_iter=2).set_params(**parameters)
    seconds = [estimate_cost(model, *table(n)).seconds for n in (1500, 3000, 6000)]
    assert seconds[0] < seconds[1] < seconds[2]


def test_a_factorisation_grows_with_the_third_power_of_the_rows(ticking):
    model = RFMRegressor(**ONE, solver="cholesky").set_params(max_iter=0)
    costs = _forecast.MachineForecast(model, *table(2000)).costs
    solver = costs.solver(True)
    assert solver.seconds(4000)[0] == pytest.approx(8 * solver.seconds(2000)[0])
    (path,) = costs.paths
    rounds = costs.rounds(path, True)
    assert rounds.predict(4000, 100)[1] == 2 * rounds.predict(2000, 100)[1]


def test_a_fit_of_one_candidate_has_the_rounds_of_its_history():
    X, y = table(120)
    model = RFMRegressor(**ONE)
    (work,) = works(model, X, y)
    history = model.fit(X, y).history_
    assert work.rounds == len(history["iter"]) == 4
    assert work.parts == [(120, 0)] and work.gradients == 0.75


@pytest.mark.parametrize("n_rows", [300, 1600])
def test_the_stages_are_those_of_the_fit(n_rows):
    X, y = table(n_rows)
    model = RFMRegressor(random_state=0, max_iter=2)
    *search, final = works(model, X, y)
    history = model.fit(X, y).history_
    rows = [max(n for n, _ in work.parts) for work in search]
    assert rows == sorted(set(history["rows"]))
    assert final.parts == [(n_rows, 0)] and final.final
    forecast = _forecast.MachineForecast(clone(model), X, y)
    candidates, stages = forecast.work._candidates, forecast.work._stages
    most = 3 * most_runs(stages, candidates)
    assert sum(work.rounds for work in search) <= most
    assert final.rounds <= 3 * model.n_machines


def test_a_stage_that_may_be_left_out_counts_in_part(monkeypatch):
    sizes = {"_MOST_ROWS": 1000, "_FINALIST_ROWS": 750, "_SMALL": 200, "_MEDIUM": 400}
    for name, size in sizes.items():
        monkeypatch.setattr(_folds, name, size)
    X, y = table(1600)
    *_, before, finalists, _ = works(RFMRegressor(random_state=0, max_iter=2), X, y)
    assert before.parts == [(700, 300)] and finalists.parts == [(750, 850)]
    assert 0 < finalists.rounds < before.rounds


@pytest.mark.parametrize("by_halving", [False, True])
@pytest.mark.parametrize("max_iter", [0, 1, 5, 20])
def test_rounds_are_at_most_those_of_all_candidates(max_iter, by_halving):
    for n in (1, 4, 30):
        rounds = rounds_of_batch(n, max_iter, by_halving=by_halving)
        assert n <= rounds <= n * (max_iter + 1)
    assert rounds_of_batch(0, max_iter, by_halving=by_halving) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_memory_is_that_of_the_kernel_matrix(dtype, ticking):
    memory = [
        estimate_cost(RFMRegressor(**ONE), *table(n, dtype)).memory
        for n in (2000, 4000)
    ]
    itemsize = np.dtype(dtype).itemsize
    matrix = itemsize * 4000**2
    assert matrix < memory[1] < 1.2 * matrix
    assert memory[1] - memory[0] >= itemsize * (4000**2 - 2000**2)


def test_a_streamed_matrix_takes_no_memory(ticking):
    model = RFMRegressor(**ONE, solver="eigenpro")
    assert estimate_cost(model, *table(4000)).memory < 4 * 4000**2


def test_a_tree_takes_the_memory_of_its_leaves(ticking):
    X, y = table(4000)
    leaf = RFMRegressor(**ONE)
    tree = XRFMRegressor(leaf, max_leaf_size=1000)
    found, alone = (estimate_cost(model, X, y) for model in (tree, leaf))
    assert 4 * 1000**2 < found.memory < alone.memory / 3
    parallel = estimate_cost(tree.set_params(n_jobs=2), X, y)
    assert found.memory < parallel.memory < 2.1 * found.memory
    assert parallel.seconds < found.seconds


def test_each_tree_takes_as_long(ticking):
    X, y = table(1000)
    tree = XRFMRegressor(RFMRegressor(**ONE), max_leaf_size=400)
    costs = [estimate_cost(tree.set_params(n_trees=k), X, y) for k in (1, 2, 3)]
    first, second = (b.seconds - a.seconds for a, b in pairwise(costs))
    assert second == pytest.approx(first) and first > 0


def test_the_budget_is_respected(ticking):
    X, y = table(1200)
    model = RFMRegressor(max_iter=2, random_state=0)
    cost = estimate_cost(model, X, y)
    budget = cost.seconds / 2
    limited = estimate_cost(model.set_params(time_budget=budget), X, y)
    assert limited.seconds == pytest.approx(budget)
    assert limited.cpu_seconds == pytest.approx(cost.cpu_seconds / 2)
    generous = estimate_cost(model.set_params(time_budget=10 * budget), X, y)
    assert generous.seconds == cost.seconds


def test_folds_at_the_same_time_take_less_time_and_more_memory(ticking):
    X, y = table(900)
    model = RFMRegressor(validation="cv", cv=4, max_iter=1, random_state=0)
    alone = estimate_cost(model, X, y)
    parallel = estimate_cost(model.set_params(n_jobs=2), X, y)
    assert parallel.seconds < alone.seconds
    assert parallel.cpu_seconds == alone.cpu_seconds
    assert parallel.memory > alone.memory


def test_errors_on_bad_input():
    X, y = table(50)
    supported = "supports RFMRegressor, .*XRFMRegressor and XRFMClassifier; got Ridge"
    with pytest.raises(TypeError, match=supported):
        estimate_cost(Ridge(), X, y)
    with pytest.raises(TypeError, match="got <class"):
        estimate_cost(RFMRegressor, X, y)
    with pytest.raises(ValueError, match="'max_iter' parameter"):
        estimate_cost(RFMRegressor(max_iter=-1), X, y)
    with pytest.raises(ValueError, match="'max_leaf_size' parameter"):
        estimate_cost(XRFMRegressor(max_leaf_size=0), X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimate_cost(RFMRegressor(), X, y[:-1])
    with pytest.raises(ValueError, match="class"):
        estimate_cost(RFMClassifier(), X, np.zeros(50))


# -- fewer centres than rows ----------------------------------------------------------


def test_few_centres_take_time_by_the_rows_and_memory_by_the_centres(ticking):
    def cost(n, n_centers):
        model = RFMRegressor(**ONE | {"max_iter": 0}, n_centers=n_centers)
        return estimate_cost(model, *table(n))

    few, rows, centers = cost(8000, 400), cost(16_000, 400), cost(8000, 800)
    assert few.seconds < rows.seconds < 3 * few.seconds
    assert few.seconds < centers.seconds
    matrices = 16 * (800**2 - 400**2)
    assert matrices < centers.memory - few.memory < 3 * matrices
    assert cost(8000, None).memory > 5 * few.memory


@pytest.mark.parametrize("kind", ["kmeans", "given", "read in batches"])
def test_forecasts_of_few_centres_are_near_the_fit(kind, monkeypatch):
    X, y = table(4000, d=4)
    model = RFMRegressor(**ONE, n_centers=300, random_state=0)
    if kind == "read in batches":
        monkeypatch.setattr("skrfm._tables._stream.SAMPLE_ROWS", 2000)
    elif kind == "given":
        model.set_params(n_centers="auto", centers=X[:300])
    else:
        model.set_params(centers=kind)
    model.fit(X, y)  # compiles what has to be compiled
    found = estimate_cost(model, X, y)
    began = process_time()
    model.fit(X, y)
    assert 0.2 < found.cpu_seconds / (process_time() - began) < 5
    assert 16 * 300**2 < found.memory < 10**8


def test_stages_have_all_centres_and_the_fit_few():
    X, y = table(3000)
    model = RFMRegressor(n_centers=200, random_state=0, max_iter=2)
    forecast = _forecast.MachineForecast(clone(model), X, y)
    *search, final = forecast.work.all()
    assert not any(forecast.costs.uses_centers(work) for work in search)
    assert forecast.costs.uses_centers(final)
    assert final.early == final.gradients < 1


def test_leaves_of_few_centres_take_memory_by_the_centres(ticking):
    def cost(n_centers):
        leaf = RFMRegressor(**ONE, n_centers=n_centers)
        model = XRFMRegressor(leaf, max_leaf_size=4000, split="sides", search="leaves")
        return estimate_cost(model, *table(8000))

    few, more, all_rows = cost(400), cost(800), cost(None)
    matrices = 16 * (800**2 - 400**2)
    assert matrices < more.memory - few.memory < 3 * matrices
    assert all_rows.memory > 4 * few.memory


def test_leaves_may_have_more_centres_than_the_search_has_rows(ticking):
    leaf = RFMRegressor(**ONE, n_centers=7000, random_state=0)
    model = XRFMRegressor(leaf, max_leaf_size=9000, split="sides", random_state=0)
    found = estimate_cost(model, *table(18_000))
    assert 16 * 7000**2 < found.memory < 3 * 16 * 7000**2


def test_a_table_of_one_leaf_is_halved_only_by_auto(ticking):
    X, y = table(9000)

    def seconds(max_leaf_size):
        model = XRFMRegressor(RFMRegressor(**ONE), max_leaf_size=max_leaf_size)
        return estimate_cost(model, X, y).seconds

    assert seconds(9000) < seconds("auto")


def test_refined_splits_and_compared_finalists_take_longer(ticking):
    X, y = table(9000)

    def seconds(**parameters):
        leaf = RFMRegressor(**ONE, n_centers=200, random_state=0)
        model = XRFMRegressor(leaf, max_leaf_size=4500, random_state=0)
        return estimate_cost(model.set_params(**parameters), X, y).seconds

    refined = seconds(search="leaves")
    assert seconds(search="leaves", split="sides") < refined < seconds()


def test_a_forecast_of_a_tree_of_few_centres_is_near_the_fit():
    X, y = table(5000, d=4)
    leaf = RFMRegressor(**ONE, n_centers=200)
    model = XRFMRegressor(leaf, max_leaf_size=2500, split="sides", random_state=0)
    model.fit(X, y)  # compiles what has to be compiled
    found = estimate_cost(model, X, y)
    began = process_time()
    model.fit(X, y)
    assert 0.2 < found.cpu_seconds / (process_time() - began) < 5
