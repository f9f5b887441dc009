"""What a fitted completer returns: completed rows, a score, attributes, storage."""

import io
import pickle

import joblib
import numpy as np
import pytest
import skops.io
from _completion import (
    completer_of,
    error,
    every_solver,
    low_rank,
    predicted,
    triplets_of,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skrfm import EntryRegressor, LinRFMCompleter
from skrfm.completion._low_rank import _fitted

# -- transform ----------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_fit_transform_is_fit_and_transform(loss, noise, solver):
    _, X = low_rank(noise=noise)
    completer = completer_of(solver=solver, loss=loss, max_rank=4)
    together = completer.fit_transform(X)
    assert_array_equal(together, completer.fit(X).transform(X))


@every_solver
@pytest.mark.parametrize("center", [False, True])
def test_new_rows_are_completed(center, solver):
    full, X = low_rank(90, 40)
    full, X = full + 5 * center, X + 5 * center
    completer = completer_of(solver=solver, center=center).fit(X[:60])
    assert error(completer.transform(X[60:]), full[60:]) < 1e-6
    assert error(completer.transform(X[[77]]), full[[77]]) < 1e-6


def test_a_row_of_a_noisy_matrix_is_a_ridge_regression_on_the_factors():
    """The same one in `transform` as in the fit, for the rows of the fit."""
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4, keep_observed=False).fit(X)
    assert_allclose(completer.transform(X), predicted(completer), rtol=1e-9)


def test_predicted_entries_are_those_of_the_factors(monkeypatch):
    monkeypatch.setattr(_fitted, "_BLOCK", 7)  # so that there are several
    _, X = low_rank(noise=0.3)
    completer = completer_of(center=True, max_rank=4).fit(X)
    rows, cols = (index.ravel() for index in np.indices(X.shape))
    got = completer.predict_entries(rows, cols).reshape(X.shape)
    assert_allclose(got, predicted(completer), rtol=1e-12, atol=1e-12)
    none = np.array([], dtype=int)
    assert completer.predict_entries(none, none).shape == (0,)
    again = completer.predict_entries([3, 3], [5, 5])
    assert_allclose(again, predicted(completer)[3, 5])


# -- score and attributes -----------------------------------------------------------


def test_the_score_is_near_1_for_a_matrix_that_is_recovered():
    _, X = low_rank()
    completer = completer_of().fit(X)
    assert 1 - 1e-9 < completer.score(X) <= 1


@every_solver
def test_the_score_of_a_noisy_matrix(solver):
    full, X = low_rank(noise=0.5)
    completer = completer_of(solver=solver, max_rank=4).fit(X)
    score = completer.score(X)
    assert score == completer.score(X) == completer.fit(X).score(X)
    assert 0.6 < score < 0.95
    assert score != completer.set_params(random_state=1).score(X)


@every_solver
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_factors_are_orthonormal_and_sorted(noise, solver):
    _, X = low_rank(noise=noise)
    completer = completer_of(solver=solver, max_rank=6).fit(X)
    U, s, V = completer.factors_
    assert U.shape == (60, len(s)) and V.shape == (40, len(s))
    assert completer.rank_ == len(s) <= 6
    assert_allclose(U.T @ U, np.eye(len(s)), atol=1e-12)
    assert_allclose(V.T @ V, np.eye(len(s)), atol=1e-12)
    assert (np.diff(s) <= 0).all() and s[-1] > 0
    assert completer.n_features_in_ == 40


STAGES = [
    (0.0, "auto", ["match"]),
    (0.3, "auto", ["match", "hide", "fit"]),
    (0.0, 0.01, ["fit"]),
    (0.3, 0.01, ["fit"]),
]


@every_solver
@pytest.mark.parametrize(("noise", "alpha", "stages"), STAGES)
def test_the_history_has_a_row_for_each_iteration(noise, alpha, stages, solver):
    _, X = low_rank(noise=noise)
    completer = completer_of(solver=solver, max_rank=4, alpha=alpha).fit(X)
    history = completer.history_
    assert list(history) == ["stage", "iter", "epsilon", "rank", "score"]
    assert {len(column) for column in history.values()} == {completer.n_iter_}
    assert list(dict.fromkeys(history["stage"])) == stages
    for stage in stages:
        chosen = history["stage"] == stage
        assert_array_equal(history["iter"][chosen], np.arange(chosen.sum()))
        # with a ridge ε stays in proportion to a spectrum that may still grow
        if alpha == "auto":
            assert (np.diff(history["epsilon"][chosen]) <= 0).all()
        assert (1 <= history["rank"][chosen]).all()
        assert (history["rank"][chosen] <= 4).all()
    assert history["rank"][-1] == completer.rank_
    assert completer.converged_
    hidden = "hide" in stages
    assert np.isfinite(completer.validation_score_) == hidden


def test_the_last_fit_repeats_the_smoothing_of_the_search():
    _, X = low_rank(noise=0.3)
    history = completer_of(max_rank=4).fit(X).history_
    searched, fitted = (
        history["epsilon"][history["stage"] == stage] for stage in ("hide", "fit")
    )
    assert_array_equal(fitted, searched[: len(fitted)])
    best = np.argmin(history["score"][history["stage"] == "hide"])
    assert len(fitted) == best + 1


def test_a_larger_ridge_leaves_larger_residuals_and_smaller_values():
    _, X = low_rank(noise=0.3)
    sizes = []
    for alpha in (0.001, 0.01, 0.1):
        completer = completer_of(alpha=alpha, max_rank=4, solver="alternating")
        U, s, V = completer.fit(X).factors_
        sizes.append([np.nansum((X - predicted(completer)) ** 2), -s.sum()])
    assert (np.diff(sizes, axis=0) > 0).all()


def test_max_rank_limits_the_rank():
    _, X = low_rank(rank=4, share=0.7)
    completer = completer_of(max_rank=2).fit(X)
    assert completer.rank_ <= 2 and len(completer.factors_[1]) <= 2


# -- storage ------------------------------------------------------------------------


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(estimator):
    data = skops.io.dumps(estimator)
    unknown = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skrfm.") for name in unknown), unknown
    return skops.io.loads(data, trusted=unknown)


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_a_completer_can_be_stored(through, loss):
    _, X = low_rank(30, 20, share=0.7, noise=0.3)
    completer = completer_of(max_rank=3, loss=loss, center=True).fit(X)
    again = through(completer)
    assert_array_equal(again.transform(X), completer.transform(X))
    assert_array_equal(again.predict_entries([3], [4]), predicted(completer)[3, 4])
    assert again.score(X) == completer.score(X)
    for name, column in completer.history_.items():
        assert_array_equal(again.history_[name], column)
    assert_array_equal(clone(again).fit_transform(X), completer.transform(X))


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_an_entry_regressor_can_be_stored(through):
    _, X = low_rank(noise=0.3)
    rows, cols, values = triplets_of(X)
    pairs = np.column_stack([rows, cols])
    regressor = EntryRegressor(completer_of(max_rank=4), shape=X.shape)
    expected = regressor.fit(pairs, values).predict(pairs)
    assert_array_equal(through(regressor).predict(pairs), expected)
    assert_array_equal(
        through(clone(regressor)).fit(pairs, values).predict(pairs), expected
    )


def test_a_fitted_completer_holds_no_dense_matrix():
    # it holds the observed entries, from which standard deviations are computed
    _, X = low_rank(300, 240, share=0.1)
    assert len(pickle.dumps(completer_of(max_rank=2).fit(X))) < X.nbytes / 4


def test_parameters_are_stored_as_they_are_given():
    seed = np.random.RandomState(0)
    completer = LinRFMCompleter(random_state=seed, tol=np.float32(1e-3))
    assert completer.get_params()["random_state"] is seed
    assert repr(clone(LinRFMCompleter(power=0.25))) == "LinRFMCompleter(power=0.25)"
    assert_allclose(completer.tol, 1e-3)
