"""Completers within scikit-learn: its checks, entries as rows of X, callbacks."""

import numpy as np
import pytest
from _completion import (
    completer_of,
    error,
    every_solver,
    low_rank,
    predicted,
    triplets_of,
)
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from _progress import Recorder, StopAfter, has_rich
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.utils import estimator_checks

from skrfm import EntryRegressor, LinRFMCompleter
from skrfm.inspection import ProgressBar

REASON = "X is pairs of integers (row, column)"
DUPLICATES = "X has pairs that occur more than once"

# -- scikit-learn's checks ------------------------------------------------------------


def expected_failures(estimator):
    """The checks of a regressor that fail, since their X is not pairs of integers."""
    if isinstance(estimator, LinRFMCompleter):
        return {}
    return dict.fromkeys(FAILING, REASON) | dict.fromkeys(REPEATING, DUPLICATES)


FAILING = [
    "check_all_zero_sample_weights_error",
    "check_array_api_input",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_regressor_data_not_an_array",
    "check_regressors_int",
    "check_regressors_no_decision_function",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weights_list",
    "check_supervised_y_2d",
]
REPEATING = [
    "check_sample_weights_not_overwritten",
    "check_sample_weights_shape",
]

# the defaults, a given ridge with the other solver, which takes a single stage, and the
# loss that leaves entries out
ESTIMATORS = [
    LinRFMCompleter(random_state=0),
    LinRFMCompleter(random_state=0, solver="alternating", alpha=0.1, tol=1e-3),
    LinRFMCompleter(random_state=0, loss="absolute", keep_observed=False),
    EntryRegressor(LinRFMCompleter(random_state=0)),
]


# the checks of sparse input store next to nothing
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@parametrize_with_checks(
    ESTIMATORS,
    expected_failed_checks=expected_failures,
    # completers read their input in the same lines, whatever the loss
    keep=lambda estimator, check: (
        getattr(estimator, "loss", None) != "absolute" or not check.keywords
    ),
)
def test_estimator_checks(estimator, check):
    check(estimator)


# These checks see columns and containers, not the solver: one fast completer does.
# The set_output checks themselves pass arrays to estimators fitted on data frames.
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
def test_extra_checks(name):
    getattr(estimator_checks, name)("LinRFMCompleter", ESTIMATORS[1])


def test_the_parameters_of_an_entry_regressor_are_checked():
    check = estimator_checks.check_param_validation
    check("EntryRegressor", ESTIMATORS[-1])


# -- entries as rows of X -------------------------------------------------------------


@pytest.fixture
def entries():
    """Pairs, entries and the shape of a noisy matrix of rank 2."""
    _, X = low_rank(noise=0.3)
    rows, cols, values = triplets_of(X)
    return np.column_stack([rows, cols]), values, X.shape


def regressor_of(shape=None, **parameters):
    return EntryRegressor(completer_of(**{"max_rank": 4} | parameters), shape=shape)


@every_solver
def test_a_regressor_is_its_completer(entries, solver):
    pairs, y, shape = entries
    regressor = regressor_of(shape, solver=solver).fit(pairs, y)
    completer = completer_of(max_rank=4, solver=solver).fit_entries(*pairs.T, y, shape)
    expected = completer.predict_entries(*pairs.T)
    assert_array_equal(regressor.predict(pairs), expected)
    assert_array_equal(predicted(regressor.completer_), predicted(completer))
    assert regressor.n_features_in_ == 2
    assert not hasattr(regressor.completer, "factors_")  # a clone was fitted
    assert regressor.score(pairs, y) == r2_score(y, expected) > 0.8


def test_weights_are_passed_on(entries):
    pairs, y, shape = entries
    weight = np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=len(y))
    regressor = regressor_of(shape).fit(pairs, y, sample_weight=weight)
    completer = completer_of(max_rank=4)
    completer.fit_entries(*pairs.T, y, shape, sample_weight=weight)
    expected = completer.predict_entries(*pairs.T)
    assert_array_equal(regressor.predict(pairs), expected)
    got = regressor.score(pairs, y, sample_weight=weight)
    assert got == r2_score(y, expected, sample_weight=weight)


def test_without_a_shape_the_largest_indices_are_taken(entries):
    pairs, y, shape = entries
    regressor = regressor_of().fit(pairs, y)
    assert regressor.shape is None
    assert predicted(regressor.completer_).shape == shape
    expected = regressor_of(shape).fit(pairs, y).predict(pairs)
    assert_array_equal(regressor.predict(pairs), expected)
    seen = pairs[:, 0] < 59
    regressor.fit(pairs[seen], y[seen])
    with pytest.raises(ValueError, match="rows must lie in 0 … 58"):
        regressor.predict(pairs)


def test_cross_validation_predicts_entries_that_are_left_out(entries):
    pairs, y, shape = entries
    folds = KFold(4, shuffle=True, random_state=0)
    scores = cross_val_score(regressor_of(shape), pairs, y, cv=folds)
    assert ((scores > 0.8) & (scores < 1)).all()
    by_hand = []
    for train, test in folds.split(pairs):
        regressor = regressor_of(shape).fit(pairs[train], y[train])
        by_hand.append(regressor.score(pairs[test], y[test]))
    assert_array_equal(scores, by_hand)
    left_out = cross_val_predict(regressor_of(shape), pairs, y, cv=folds)
    assert r2_score(y, left_out) == pytest.approx(scores.mean(), abs=0.02)
    weight = np.ones(len(y))
    weighted = cross_val_score(
        regressor_of(shape), pairs, y, cv=folds, params={"sample_weight": weight}
    )
    assert_array_equal(weighted, scores)


def test_a_grid_search_finds_the_rank(entries):
    pairs, y, shape = entries
    grid = {"completer__max_rank": [1, 2], "completer__solver": ["alternating"]}
    folds = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(regressor_of(shape), grid, cv=folds)
    search.fit(pairs, y, sample_weight=np.ones(len(y)))
    assert search.best_params_["completer__max_rank"] == 2
    assert search.best_estimator_.completer_.rank_ == 2


def test_a_regressor_can_be_cloned_and_its_completer_set(entries):
    pairs, y, shape = entries
    regressor = regressor_of(shape).fit(pairs, y)
    again = clone(regressor)
    assert not hasattr(again, "completer_")
    assert again.completer is not regressor.completer
    assert_array_equal(again.fit(pairs, y).predict(pairs), regressor.predict(pairs))
    again.set_params(completer__max_rank=1, shape=None).fit(pairs, y)
    assert again.completer_.rank_ == 1
    assert regressor.completer_.rank_ == 2


def test_pairs_may_be_whole_numbers_of_any_type(entries):
    pairs, y, shape = entries
    expected = regressor_of(shape).fit(pairs, y).predict(pairs)
    for dtype in (np.int32, np.uint8, np.float32, float):
        regressor = regressor_of(shape).fit(pairs.astype(dtype), y)
        assert_array_equal(regressor.predict(pairs.astype(dtype)), expected)
    regressor.fit(pairs.tolist(), y.tolist())
    assert_array_equal(regressor.predict(pairs.tolist()), expected)


def test_single_precision_is_kept(entries):
    pairs, y, shape = entries
    regressor = regressor_of(shape).fit(pairs, y.astype(np.float32))
    assert regressor.predict(pairs).dtype == np.float32


def test_bad_pairs_are_an_error(entries):
    pairs, y, shape = entries
    regressor = regressor_of(shape)
    with pytest.raises(ValueError, match="X must have two columns.* it has 3"):
        regressor.fit(np.column_stack([pairs, pairs[:, 0]]), y)
    with pytest.raises(ValueError, match="X must hold integers.* OrdinalEncoder"):
        regressor.fit(pairs + 0.5, y)
    with pytest.raises(ValueError, match="X must hold integers.* OrdinalEncoder"):
        regressor.fit(np.array([["ann", "film"], ["bob", "film"]]), [1.0, 2.0])
    with pytest.raises(ValueError, match="cols must lie in 0 … 39"):
        regressor.fit(pairs - [0, 1], y)
    with pytest.raises(ValueError, match="cols must lie in"):
        regressor_of().fit(pairs - [0, 100], y)
    with pytest.raises(ValueError, match="2 of the entries are given more than once"):
        regressor.fit(np.vstack([pairs, pairs[:2]]), np.append(y, y[:2]))
    with pytest.raises(ValueError, match="NaN"):
        regressor.fit(pairs, np.append(y[1:], np.nan))
    with pytest.raises(ValueError, match="shape must be"):
        regressor_of(shape=(60, 40, 2)).fit(pairs, y)
    with pytest.raises(ValueError, match="The 'shape' parameter of EntryRegressor"):
        regressor_of(shape=60).fit(pairs, y)
    with pytest.raises(ValueError, match="The 'completer' parameter"):
        EntryRegressor(completer=None).fit(pairs, y)


def test_a_failed_fit_leaves_the_fitted_regressor_as_it_was(entries):
    pairs, y, shape = entries
    regressor = regressor_of(shape).fit(pairs, y)
    before = dict(vars(regressor))
    with pytest.raises(ValueError, match="two columns"):
        regressor.fit(np.ones((len(y), 3), dtype=int), y)
    with pytest.raises(ValueError, match="more than once"):
        regressor.fit(np.zeros_like(pairs), y)
    assert vars(regressor) == before


# -- callbacks ------------------------------------------------------------------------


class CompletionRecorder(Recorder):
    """Keeps the whole matrix of every fitted completer that callbacks get."""

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.ended.append(context)
        if fitted_estimator is not None:
            self.offered.append((context, predicted(fitted_estimator), X))


STAGES = [
    (0.0, "auto", ["match"]),
    (0.3, "auto", ["match", "hide", "fit"]),
    (0.3, 0.01, ["fit"]),
]


@every_solver
@pytest.mark.parametrize(("noise", "alpha", "stages"), STAGES)
def test_each_stage_is_a_task_with_a_round_for_each_iteration(
    noise, alpha, stages, solver
):
    _, X = low_rank(noise=noise)
    recorder = CompletionRecorder()
    completer = completer_of(max_rank=4, alpha=alpha, solver=solver)
    completer.set_callbacks(recorder).fit(X)
    rounds, history = recorder.rounds(), completer.history_
    assert len(rounds) == completer.n_iter_
    parents = {id(context.parent): context.parent for context in rounds}.values()
    assert [parent.task_name for parent in parents] == stages
    assert_array_equal([c.parent.task_name for c in rounds], history["stage"])
    assert_array_equal([c.task_id for c in rounds], history["iter"])
    assert {id(c) for c in recorder.begun} == {id(c) for c in recorder.ended}
    assert len(recorder.begun) == len(recorder.ended)
    root = recorder.ended[-1]
    assert root.parent is None
    assert {id(parent.parent) for parent in parents} == {id(root)}
    # no task has more subtasks than announced: a progress bar would overflow
    for context in recorder.ended:
        parts = sum(other.parent is context for other in recorder.ended)
        assert context.max_subtasks is None or parts <= context.max_subtasks
    assert recorder.is_set_up and recorder.is_torn_down


@every_solver
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_callbacks_get_the_completer_of_each_round(noise, solver):
    """Also completers that are fitted to a part of the entries."""
    full, X = low_rank(noise=noise)
    recorder = CompletionRecorder()
    completer = completer_of(max_rank=4, solver=solver).set_callbacks(recorder).fit(X)
    rounds = [
        (context.parent.task_name, error(matrix, full))
        for context, matrix, _ in recorder.offered
        if context.task_name == "round"
    ]
    assert [stage for stage, _ in rounds] == completer.history_["stage"].tolist()
    for stage in {stage for stage, _ in rounds}:
        errors = [e for name, e in rounds if name == stage]
        assert np.isfinite(errors).all() and min(errors) < 0.2
    root, matrix, data = recorder.offered[-1]
    assert root.parent is None and data is X
    assert_array_equal(matrix, predicted(completer))


@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("noise", "alpha", "stages"), STAGES)
@pytest.mark.parametrize("number", [0, 2])
def test_a_callback_can_stop_every_stage(number, noise, alpha, stages):
    _, X = low_rank(noise=noise)
    completer = completer_of(max_rank=4, alpha=alpha)
    completer.set_callbacks(StopAfter(number)).fit(X)
    history = completer.history_
    for stage in set(history["stage"]):
        assert history["iter"][history["stage"] == stage].max() <= number
    # a search that was cut short has found no match, so that the next stage begins
    expected = ["fit"] if alpha != "auto" else ["match", "hide", "fit"]
    assert list(dict.fromkeys(history["stage"])) == expected
    assert np.isfinite(completer.transform(X)).all()
    assert completer.n_iter_ == len(history["stage"]) and not completer.converged_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_stop_with_a_ridge_is_an_end_after_so_many_iterations():
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4, alpha=0.01)
    stopped = completer.set_callbacks(StopAfter(4)).fit_transform(X)
    limited = completer_of(max_rank=4, alpha=0.01, max_iter=5).fit_transform(X)
    assert_array_equal(stopped, limited)


def test_callbacks_are_torn_down_after_an_error():
    recorder = CompletionRecorder()
    completer = completer_of().set_callbacks(recorder)
    with pytest.raises(ValueError, match="All entries of X are missing"):
        completer.fit(np.full((3, 2), np.nan))
    assert recorder.is_torn_down == recorder.is_set_up


def test_entries_given_by_index_have_the_same_tasks():
    _, X = low_rank(noise=0.3)
    names = []
    for fit in (
        lambda completer: completer.fit(X),
        lambda completer: completer.fit_entries(*triplets_of(X), X.shape),
    ):
        recorder = CompletionRecorder()
        fit(completer_of(max_rank=4).set_callbacks(recorder))
        names.append([context.task_name for context in recorder.ended])
    assert [name.replace("fit_entries", "fit") for name in names[1]] == names[0]


def test_the_scoring_monitor_logs_each_round():
    _, X = low_rank()
    monitor = ScoringMonitor(scoring=lambda completer, X, y=None: completer.score(X))
    completer = completer_of(max_rank=4).set_callbacks(monitor).fit(X)
    rows = monitor.get_logs().data
    assert sum(row["task_name"] == "round" for row in rows) == completer.n_iter_


@pytest.mark.skipif(not has_rich(), reason="the bar needs rich")
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_progress_bar_runs(noise, capfd):
    _, X = low_rank(noise=noise)
    completer = completer_of(max_rank=4)
    expected = completer.fit_transform(X)
    completer.set_callbacks(ProgressBar()).fit(X)
    assert_allclose(completer.transform(X), expected)
    assert "match" in capfd.readouterr().out
