"""scikit-learn's callbacks: which tasks they see, what they get, how they stop."""

import sys

import numpy as np
import pytest
from _progress import Recorder, StopAfter, has_rich
from numpy.testing import assert_array_equal
from sklearn.callback import ScoringMonitor
from sklearn.metrics import r2_score

from skrfm import RFMClassifier, RFMRegressor
from skrfm.exceptions import NumericalWarning
from skrfm.inspection import ProgressBar

ONE = {"kernel": "laplace", "alpha": 0.1}


# -- tasks --------------------------------------------------------------------------


def test_one_task_per_round(table):
    recorder = Recorder()
    machine = RFMRegressor(**ONE, validation=None, max_iter=3)
    machine.set_callbacks(recorder).fit(*table)
    rounds = recorder.rounds()
    assert [context.task_id for context in rounds] == [0, 1, 2, 3]
    (run,) = {id(context.parent): context.parent for context in rounds}.values()
    assert run.max_subtasks == 4
    assert run.parent.task_name == "fit" and run.parent.parent is None
    assert recorder.is_set_up and recorder.is_torn_down


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", None])
@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier])
def test_every_task_that_begins_ends(cls, validation, n_jobs, table, classes):
    recorder = Recorder()
    machine = cls(validation=validation, cv=2, max_iter=2, n_jobs=n_jobs)
    machine.set_callbacks(recorder).fit(*(table if cls is RFMRegressor else classes))
    assert len(recorder.begun) == len(recorder.ended)
    assert {id(context) for context in recorder.begun} == {
        id(context) for context in recorder.ended
    }
    assert recorder.ended[-1].parent is None
    # no task has more parts than it promised: a progress bar would overflow
    for context in recorder.ended:
        parts = sum(other.parent is context for other in recorder.ended)
        assert context.max_subtasks is None or parts <= context.max_subtasks


def test_rounds_of_a_collapsed_recursion_are_no_tasks(rng):
    recorder = Recorder()
    machine = RFMRegressor(**ONE, validation=None, max_iter=4)
    with pytest.warns(NumericalWarning):
        machine.set_callbacks(recorder).fit(rng.normal(size=(12, 2)), np.ones(12))
    assert len(recorder.rounds()) == 1


def test_the_fitted_machine_of_each_round_is_offered(table):
    X, y = table
    recorder = Recorder()
    machine = RFMRegressor(**ONE, validation=None, max_iter=2)
    machine.set_callbacks(recorder).fit(X, y)
    offered = [
        (context.task_id, predicted)
        for context, predicted, _ in recorder.offered
        if context.task_name == "round"
    ]
    assert [number for number, _ in offered] == [0, 1, 2]
    for number, predicted in offered:
        alone = RFMRegressor(**ONE, validation=None, max_iter=number).fit(X, y)
        assert_array_equal(predicted, alone.predict(X))
    root, predicted, targets = recorder.offered[-1]
    assert root.parent is None
    assert_array_equal(predicted, machine.predict(X))
    assert_array_equal(targets, y)


@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier])
def test_models_scored_on_given_validation_rows_are_offered(cls, table, classes):
    X, y = table if cls is RFMRegressor else classes
    recorder = Recorder()
    machine = cls(**ONE, max_iter=2).set_callbacks(recorder)
    machine.fit(X, y, X_val=X[:20], y_val=y[:20])
    assert len(recorder.offered) >= 2
    assert_array_equal(recorder.offered[-1][1], machine.predict(X))


def test_callbacks_are_torn_down_after_an_error(table):
    X, y = table
    recorder = Recorder()
    machine = RFMRegressor(kernel="none").set_callbacks(recorder)
    with pytest.raises(ValueError, match="Unknown kernel"):
        machine.fit(X, y)
    assert recorder.is_torn_down == recorder.is_set_up


# -- stopping -----------------------------------------------------------------------


def test_a_callback_can_stop_the_recursion(table):
    X, y = table
    machine = RFMRegressor(**ONE, validation=None, max_iter=5)
    machine.set_callbacks(StopAfter(1)).fit(X, y)
    expected = RFMRegressor(**ONE, validation=None, max_iter=1).fit(X, y)
    assert_array_equal(machine.predict(X), expected.predict(X))
    assert machine.best_iter_ == 1
    assert machine.n_iter_ == 1
    assert_array_equal(machine.history_["iter"], [0, 1])


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout"])
@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier])
def test_a_callback_can_stop_the_choice(cls, validation, table, classes):
    X, y = table if cls is RFMRegressor else classes
    recorder = Recorder()
    machine = cls(**ONE, validation=validation, max_iter=5, cv=2)
    machine.set_callbacks(StopAfter(1), recorder).fit(X, y)
    assert machine.history_["iter"].max() == 1
    assert machine.best_iter_ <= 1 and machine.n_iter_ == 1
    assert max(context.task_id for context in recorder.rounds()) == 1


@pytest.mark.parametrize("alpha", [0.1, "auto"])
def test_a_callback_can_stop_a_classifier_that_keeps_the_last_round(alpha, classes):
    """Its temperature comes from the last round it ran."""
    X, labels = classes
    machine = RFMClassifier(
        kernel="laplace", alpha=alpha, alphas=(0.1,), validation=None, max_iter=4
    )
    machine.set_callbacks(StopAfter(1)).fit(X, labels)
    expected = RFMClassifier(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    expected.fit(X, labels)
    assert machine.best_iter_ == 1
    assert_array_equal(machine.predict_proba(X), expected.predict_proba(X))


# -- of scikit-learn ---------------------------------------------------------------


def test_the_scoring_monitor_logs_each_round(table):
    X, y = table
    monitor = ScoringMonitor(scoring="r2")
    machine = RFMRegressor(**ONE, validation=None, max_iter=2)
    machine.set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs().data
    scores = [row["r2"] for row in rows if row["task_name"] == "round"]
    assert len(scores) == 3
    for number, score in enumerate(scores):
        alone = RFMRegressor(**ONE, validation=None, max_iter=number).fit(X, y)
        assert score == pytest.approx(r2_score(y, alone.predict(X)), rel=1e-12)


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", None])
def test_the_scoring_monitor_of_a_classifier(validation, classes):
    X, labels = classes
    monitor = ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    machine = RFMClassifier(**ONE, validation=validation, cv=2, max_iter=1)
    machine.set_callbacks(monitor).fit(X, labels, sample_weight=np.ones(60))
    rows = monitor.get_logs().data
    root = [row for row in rows if len(row["task_id_path"]) == 1]
    assert root[0]["accuracy"] == machine.score(X, labels)


@pytest.mark.skipif(not has_rich(), reason="the bar needs rich")
@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", None])
@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier])
def test_the_progress_bar_runs(cls, validation, table, classes, capfd):
    X, y = table if cls is RFMRegressor else classes
    machine = cls(validation=validation, cv=2, max_iter=2, n_jobs=2, random_state=0)
    expected = machine.fit(X, y).predict(X)
    machine.set_callbacks(ProgressBar()).fit(X, y)
    assert_array_equal(machine.predict(X), expected)
    assert "fit" in capfd.readouterr().out


def test_the_progress_bar_without_rich_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)  # an import of it fails
    message = r'needs the package rich.* python -m pip install "skrfm\[progress\]"'
    with pytest.raises(ImportError, match=message):
        ProgressBar()


@pytest.mark.skipif(not has_rich(), reason="the bar needs rich")
def test_the_progress_bar_refuses_what_that_of_scikit_learn_refuses():
    with pytest.raises(ValueError, match="'max_propagation_depth' parameter"):
        ProgressBar(max_propagation_depth=-1)
    assert ProgressBar(max_propagation_depth=None).max_propagation_depth is None
