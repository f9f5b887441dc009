"""XRFM within a number of seconds, and what its callbacks see."""

from time import time

import numpy as np
import pytest
from _progress import Recorder, StopAfter, has_rich
from numpy.testing import assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm._search import _budget
from skrfm.inspection import ProgressBar
from skrfm.xrfm import _fitting, _parallel
from skrfm.xrfm._parallel import Deadline
from skrfm.xrfm._rows import HeldRows, LeafData

QUICK = {"kernel": "laplace", "alpha": 0.1, "max_iter": 2, "validation": None}


@pytest.fixture
def table(rng):
    X = rng.normal(size=(600, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])


# -- the budget -----------------------------------------------------------------------


@pytest.mark.parametrize("cls", [XRFMRegressor, XRFMClassifier])
@pytest.mark.parametrize("search", ["root", "leaves"])
def test_every_leaf_has_its_first_round_whatever_the_budget(cls, search, table):
    X, y = table
    y = y if cls is XRFMRegressor else y > 0
    settings = {"max_leaf_size": 200, "search": search, "random_state": 0}
    model = cls(**settings, time_budget=1e-9).fit(X, y)
    assert [leaf.best_iter_ for leaf in model.estimators_[0]] == [0] * 3
    if search == "root":
        assert len(model.root_estimator_.history_["score"]) == 1
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("search", ["root", "leaves"])
def test_a_large_budget_changes_nothing(search, table):
    X, y = table
    estimator = RFMRegressor(alphas=(0.01, 1.0), max_iter=2)
    settings = {"max_leaf_size": 300, "search": search, "random_state": 0}
    model = XRFMRegressor(estimator, **settings, time_budget=1e6).fit(X, y)
    free = XRFMRegressor(estimator, **settings).fit(X, y)
    assert_array_equal(model.predict(X), free.predict(X))


@pytest.mark.parametrize(("n_trees", "n_jobs"), [(1, 1), (2, 1), (1, 2)])
def test_the_seconds_are_shared_among_the_leaves(n_trees, n_jobs, table, monkeypatch):
    """By a clock on which the fit of a leaf takes a second of a budget of twelve."""
    now, shares = [0.0], []
    monkeypatch.setattr(_fitting, "time", lambda: now[0])
    monkeypatch.setattr(_parallel, "time", lambda: now[0])
    monkeypatch.setattr(_fitting, "effective_n_jobs", lambda n_jobs: n_jobs)
    fit_leaf = _fitting.fit_leaf

    def timed_fit_leaf(estimator, data, *, seed, deadline, share):
        limited = RFMRegressor()
        deadline.limit(limited, share)
        shares.append(limited.time_budget)
        now[0] += 1.0
        return fit_leaf(estimator, data, seed=seed)

    monkeypatch.setattr(_fitting, "fit_leaf", timed_fit_leaf)
    forester = _fitting.Forester(
        RFMRegressor(**QUICK),
        HeldRows(LeafData(*table, np.ones(600))),
        max_rows=150,
        max_split_samples=200,
        n_trees=n_trees,
        n_jobs=n_jobs,
        deadline=Deadline(12.0),
        tasks=_fitting.FitTasks.of_fit(XRFMRegressor()),
    )
    for module in (_fitting, _parallel):
        monkeypatch.setattr(
            module,
            "run_jobs",
            lambda make_job, n, n_jobs: (call(make_job(k)) for k in range(n)),
        )
    for number in range(n_trees):
        forester.fit_tree(number, seed=0)
    n = 4 * n_trees
    left = [(12.0 - k) * n_jobs / (n - k) for k in range(n)]
    assert shares == pytest.approx([min(12.0 - k, s) for k, s in enumerate(left)])


def call(job):
    function, args, kwargs = job
    return function(*args, **kwargs)


def test_rounds_end_with_the_budget(table, monkeypatch):
    """By a clock on which a round takes a second, and another at the first one."""
    X, y = table
    clock = iter(np.arange(1000.0))
    monkeypatch.setattr(_budget, "perf_counter", lambda: next(clock))
    monkeypatch.setattr("skrfm._sklearn._fitting.perf_counter", lambda: 0.0)
    settings = QUICK | {"max_iter": 9, "random_state": 0}
    model = RFMRegressor(**settings, time_budget=3.0).fit(X, y)
    assert model.n_iter_ == model.best_iter_ == 3
    expected = RFMRegressor(**{**settings, "max_iter": 3}).fit(X, y)
    assert_array_equal(model.predict(X), expected.predict(X))


def test_the_deadline_is_by_the_time_of_day():
    model = RFMRegressor()
    Deadline.after(None).limit(model, 1.0)
    assert model.time_budget is None
    Deadline.after(100.0).limit(model, 0.5)
    assert 49 < model.time_budget <= 50
    Deadline(time() - 5).limit(model, 0.5)
    assert 0 < model.time_budget < 1e-6


# -- callbacks ------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_tasks_of_the_fit(n_jobs, table):
    X, y = table
    recorder = Recorder()
    leaf = RFMRegressor(**QUICK)
    model = XRFMRegressor(leaf, max_leaf_size=200, n_trees=2, n_jobs=n_jobs)
    model.set_callbacks(recorder).fit(X, y)
    assert recorder.is_set_up and recorder.is_torn_down
    assert [id(c) for c in recorder.begun if c.parent is None] == [
        id(recorder.ended[-1])
    ]
    assert len(recorder.begun) == len(recorder.ended)
    names = [context.task_name for context in recorder.ended]
    tree = ["splits", *["leaf"] * 3, "leaves"]
    assert names == ["search", *tree, *tree, "fit"]
    for context in recorder.ended:
        parts = sum(other.parent is context for other in recorder.ended)
        assert context.max_subtasks is None or parts <= context.max_subtasks
    ((_, predicted, targets),) = recorder.offered
    assert_array_equal(predicted, model.predict(X))
    assert_array_equal(targets, y)


class StopAtLeaf(StopAfter):
    """Stops after the leaf with a given number."""

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "leaf" and context.task_id == self.number


def test_leaves_after_a_stop_learn_no_features(table):
    X, y = table
    leaf = RFMRegressor(**QUICK)
    settings = {"max_leaf_size": 200, "search": "leaves", "random_state": 0}
    model = XRFMRegressor(leaf, **settings).set_callbacks(StopAtLeaf(1)).fit(X, y)
    assert [leaf.best_iter_ for leaf in model.estimators_[0]] == [2, 2, 0]
    assert model.score(X, y) > 0.9


def test_callbacks_are_torn_down_after_an_error(table):
    recorder = Recorder()
    model = XRFMRegressor(RFMRegressor(kernel="none")).set_callbacks(recorder)
    with pytest.raises(ValueError, match="Unknown kernel"):
        model.fit(*table)
    assert recorder.is_set_up and recorder.is_torn_down
    assert not hasattr(model, "n_leaves_")


@pytest.mark.skipif(not has_rich(), reason="the bar needs rich")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_the_progress_bar_shows_the_search_and_the_leaves(n_jobs, table, capsys):
    X, y = table
    model = XRFMClassifier(RFMClassifier(max_iter=1), max_leaf_size=200, n_jobs=n_jobs)
    model.set_callbacks(ProgressBar()).fit(X, y > 0)
    shown = capsys.readouterr().out
    assert "search" in shown and "leaves" in shown and "100%" in shown
