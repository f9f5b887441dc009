"""LinRFMCompleter: what it recovers, what it must not depend on, what it returns."""

import warnings

import numpy as np
import pytest
from _completion import (
    completer_of,
    error,
    every_dtype,
    every_solver,
    low_rank,
    predicted,
    triplets_of,
)
from numpy.testing import assert_allclose, assert_array_equal

from skrfm.completion._entries import ObservedEntries
from skrfm.completion._low_rank import _lin_rfm, _problem
from skrfm.exceptions import NumericalWarning

# -- recovery -----------------------------------------------------------------------


@every_solver
@pytest.mark.parametrize("max_rank", [None, "twice"])
@pytest.mark.parametrize(
    ("m", "n", "rank", "share"),
    [(60, 40, 2, 0.5), (30, 90, 1, 0.3), (50, 50, 4, 0.6), (200, 20, 2, 0.6)],
)
def test_a_low_rank_matrix_is_recovered_exactly(m, n, rank, share, max_rank, solver):
    full, X = low_rank(m, n, rank, share)
    max_rank = 2 * rank if max_rank == "twice" else None
    completer = completer_of(max_rank=max_rank, solver=solver).fit(X)
    assert completer.rank_ == rank and completer.converged_
    assert set(completer.history_["stage"]) == {"match"}
    assert np.isnan(completer.validation_score_)
    assert error(predicted(completer), full) < 1e-6
    assert error(completer.transform(X), full) < 1e-6


def test_the_exact_solver_recovers_a_matrix_too():
    full, X = low_rank(40, 30)
    completer = completer_of(solver="exact", max_rank=4).fit(X)
    assert completer.rank_ == 2
    assert error(predicted(completer), full) < 1e-6


@every_solver
@pytest.mark.parametrize("power", [0.25, 0.4])
def test_other_powers_recover_a_matrix_too(power, solver):
    """From more entries than the logarithm needs."""
    full, X = low_rank(share=0.7)
    completer = completer_of(power=power, solver=solver, max_rank=4).fit(X)
    assert completer.rank_ == 2
    assert error(predicted(completer), full) < 1e-5


@every_solver
def test_a_matrix_of_condition_number_1e5_is_recovered(solver):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(size, 3)))[0] for size in (80, 60))
    s = np.array([1, 3e-3, 1e-5])
    full = (U * s) @ V.T
    X = np.where(rng.random(full.shape) < 0.6, full, np.nan)
    completer = completer_of(solver=solver).fit(X)
    assert completer.rank_ == 3
    assert_allclose(completer.factors_[1], s, rtol=1e-3)
    assert error(predicted(completer), full) < 1e-7


@every_solver
@every_dtype
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_error_of_a_noisy_matrix_is_close_to_that_with_its_tangent_space_known(
    noise, dtype, solver
):
    """With it known, the share df / count of the variance of the noise remains."""
    full, X = low_rank(100, 80, noise=noise)
    completer = completer_of(solver=solver, max_rank=6).fit(X.astype(dtype))
    free, count = 2 * (100 + 80 - 2), np.isfinite(X).sum()
    rmse = np.sqrt(np.mean((predicted(completer) - full) ** 2))
    assert completer.rank_ == 2 and completer.converged_
    assert rmse < 1.2 * noise * np.sqrt(free / count)
    # the noise of the hidden entries cannot be predicted
    expected = 1 - (noise**2 + rmse**2) / np.nanvar(X)
    assert completer.validation_score_ == pytest.approx(expected, abs=0.05)


@every_solver
def test_a_huber_loss_ignores_gross_errors(solver):
    full, X = low_rank(80, 60, rank=3)
    rng = np.random.default_rng(1)
    X[rng.random(X.shape) < 0.05] += 20
    robust = completer_of(loss="huber", solver=solver).fit(X)
    assert robust.rank_ == 3
    assert error(predicted(robust), full) < 1e-3
    robust.set_params(keep_observed=False)
    assert error(robust.transform(X), full) < 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        squared = completer_of(solver=solver).fit(X)
    assert error(predicted(squared), full) > 0.1


@every_solver
@pytest.mark.parametrize("seed", [1, 7, 17])
def test_a_huber_loss_ignores_gross_errors_among_small_ones(seed, solver):
    full, X = low_rank(80, 60, rank=3, noise=0.1, seed=seed)
    X[np.random.default_rng(1).random(X.shape) < 0.05] += 20
    completer = completer_of(loss="huber", solver=solver, max_rank=6).fit(X)
    assert error(predicted(completer), full) < 0.1


@every_dtype
@every_solver
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_precision_of_the_data_is_kept(loss, solver, dtype):
    full, X = low_rank()
    completer = completer_of(loss=loss, solver=solver, max_rank=4)
    completed = completer.fit_transform(X.astype(dtype))
    arrays = *completer.factors_, completer.mean_, completed
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    assert completer.predict_entries([0, 3], [1, 1]).dtype == dtype
    tolerance = 1e-6 if dtype == np.float64 else 1e-3
    assert error(completed, full) < tolerance
    assert error(predicted(completer), full) < tolerance
    other = np.float32 if dtype == np.float64 else np.float64
    assert completer.transform(X.astype(other)).dtype == other


# -- what the result does not depend on ---------------------------------------------


@every_solver
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
def test_scaled_values_are_completed_alike(factor, noise, solver):
    """To the last bit for powers of two, noise or not."""
    _, X = low_rank(noise=noise)
    completer = completer_of(solver=solver, max_rank=4)
    expected = factor * completer.fit_transform(X)
    assert_array_equal(completer.fit_transform(factor * X), expected)


@every_dtype
@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_values_may_be_large_or_small(factor, dtype):
    full, X = low_rank()
    completer = completer_of().fit((factor * X).astype(dtype))
    assert completer.rank_ == 2
    tolerance = 1e-6 if dtype == np.float64 else 1e-3
    assert error(predicted(completer) / factor, full) < tolerance


@every_solver
def test_rows_and_columns_may_come_in_any_order(solver):
    full, X = low_rank()
    rng = np.random.default_rng(0)
    rows, cols = rng.permutation(60), rng.permutation(40)
    got = completer_of(solver=solver).fit_transform(X[np.ix_(rows, cols)])
    assert error(got, full[np.ix_(rows, cols)]) < 1e-6


@every_solver
def test_the_transposed_matrix_is_completed_alike(solver):
    full, X = low_rank()
    completer = completer_of(solver=solver)
    assert error(completer.fit_transform(X.T), full.T) < 1e-6
    assert completer.rank_ == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_seed_does_not_matter_where_a_matrix_is_recovered(seed):
    full, X = low_rank()
    assert error(completer_of(random_state=seed).fit_transform(X), full) < 1e-6


@every_solver
def test_the_same_seed_gives_the_same_fit(solver):
    """Also where entries are hidden, and whatever else is drawn meanwhile."""
    _, X = low_rank(noise=0.3)
    fits = []
    for seed in (0, 0, np.random.RandomState(0)):
        fits.append(completer_of(solver=solver, random_state=seed).fit(X))
        np.random.default_rng().random(7)
    for fit in fits[1:]:
        assert_array_equal(predicted(fit), predicted(fits[0]))
        assert_array_equal(fit.history_["score"], fits[0].history_["score"])


@every_solver
def test_entries_of_weight_0_count_as_missing(solver):
    _, X = low_rank(noise=0.1)
    rows, cols, values = triplets_of(X)
    weight = np.random.default_rng(0).choice([0.0, 0.5, 2.0], size=len(rows))
    values[weight == 0] = 1e6
    completer = completer_of(solver=solver, max_rank=4)
    completer.fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    got, seen = predicted(completer), weight > 0
    completer.fit_entries(
        rows[seen], cols[seen], values[seen], X.shape, sample_weight=weight[seen]
    )
    assert_array_equal(got, predicted(completer))


@every_solver
def test_entries_of_equal_weight_are_entries_without(solver):
    _, X = low_rank(noise=0.3)
    triplets, completer = triplets_of(X), completer_of(solver=solver, max_rank=4)
    expected = predicted(completer.fit_entries(*triplets, X.shape))
    ones = np.ones(len(triplets[0]))
    completer.fit_entries(*triplets, X.shape, sample_weight=ones)
    assert_array_equal(predicted(completer), expected)


@every_solver
def test_noisy_entries_of_little_weight_do_less_harm(solver):
    full, X = low_rank(80, 60, noise=0.1)
    rows, cols, values = triplets_of(X)
    rng = np.random.default_rng(0)
    noisy = rng.random(len(rows)) < 0.4
    values[noisy] += 2 * rng.normal(size=noisy.sum())
    weight = np.where(noisy, 1 / 400, 1.0)
    completer = completer_of(solver=solver, max_rank=4)
    plain = predicted(completer.fit_entries(rows, cols, values, X.shape))
    completer.fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    assert completer.rank_ == 2
    assert error(predicted(completer), full) < 0.06 < 0.2 < error(plain, full)


# -- columns that differ in level ---------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_centering_is_subtracting_the_means_of_the_columns(noise):
    _, X = low_rank(noise=noise)
    X += np.linspace(-50, 50, 40)
    mean = np.nanmean(X, axis=0)
    completer = completer_of(center=True, max_rank=5).fit(X)
    assert_allclose(completer.mean_, mean, rtol=1e-12)
    by_hand = completer_of(max_rank=5).fit(X - mean)
    assert by_hand.rank_ == completer.rank_
    assert_allclose(predicted(completer), predicted(by_hand) + mean, rtol=1e-6)
    assert_allclose(completer.transform(X), by_hand.transform(X - mean) + mean)


def test_the_means_are_weighted():
    _, X = low_rank(noise=0.3)
    rows, cols, values = triplets_of(X)
    weight = np.random.default_rng(0).uniform(0.5, 2, size=len(rows))
    completer = completer_of(center=True, max_rank=5)
    completer.fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    expected = [
        np.average(values[cols == j], weights=weight[cols == j]) for j in range(40)
    ]
    assert_allclose(completer.mean_, expected)


def test_centering_helps_where_columns_differ_in_level():
    full, X = low_rank(60, 40, rank=1, share=0.3, noise=0.5)
    level = np.linspace(-20, 20, 40)
    got = completer_of(center=True, max_rank=3).fit(X + level)
    assert error(predicted(got) - level, full) < 0.6


def test_a_column_without_entries_gets_the_mean_of_all():
    _, X = low_rank()
    X += 3
    X[:, 7] = np.nan
    completer = completer_of(center=True)
    with pytest.warns(NumericalWarning, match="1 column of X without any"):
        completed = completer.fit_transform(X)
    assert_allclose(completed[:, 7], np.nanmean(X))


# -- nothing but what is observed ---------------------------------------------------


def positions_of(entries):
    return set(zip(entries.rows.tolist(), entries.cols.tolist(), strict=True))


@every_solver
def test_the_hidden_entries_are_not_fitted(solver, monkeypatch):
    """The solver of the middle stage never gets the entries that are hidden."""
    given, hidden = [], []
    solve, draw = _problem.SOLVERS[solver], ObservedEntries.draw_hidden

    def spying_solve(entries, smoothing, **options):
        given.append(positions_of(entries))
        return solve(entries, smoothing, **options)

    def spying_draw(entries, *arguments):
        mask = draw(entries, *arguments)
        hidden.append(positions_of(entries.select(mask)))
        return mask

    monkeypatch.setitem(_problem.SOLVERS, solver, spying_solve)
    monkeypatch.setattr(ObservedEntries, "draw_hidden", spying_draw)
    _, X = low_rank(noise=0.3)
    completer_of(solver=solver, max_rank=4).fit(X)
    everything = set(
        zip(*(index.tolist() for index in triplets_of(X)[:2]), strict=True)
    )
    ((hidden,), (match, hide, fit)) = hidden, given
    assert match == fit == everything
    assert hide == everything - hidden
    assert len(hidden) == round(0.1 * len(everything))


def scored_values(completer, X, monkeypatch):
    """What `score` compares: the hidden entries, and what it fills in for them."""
    compared = []

    def spy(truth, got):
        compared.append((truth, got))
        return 0.5

    monkeypatch.setattr(_lin_rfm, "r2_score", spy)
    assert completer.score(X) == 0.5
    return compared[0]


def test_the_score_fills_in_without_the_hidden_entries(monkeypatch):
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4, validation_fraction=0.2).fit(X)
    truth, expected = scored_values(completer, X, monkeypatch)
    rows, cols, values = triplets_of(X)
    hidden = np.isin(values, truth)
    assert hidden.sum() == len(truth) == round(0.2 * len(values))
    poisoned = X.copy()
    poisoned[rows[hidden], cols[hidden]] = 1e9
    truth, got = scored_values(completer, poisoned, monkeypatch)
    assert_array_equal(truth, 1e9)
    assert_array_equal(got, expected)


@every_solver
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_value_of_missing_entries_has_no_effect(noise, solver):
    _, X = low_rank(noise=noise)
    completer = completer_of(solver=solver, max_rank=4)
    expected = completer.fit_transform(X), predicted(completer), completer.score(X)
    for sentinel in (-1.0, 0.0, 1e300):
        filled = np.nan_to_num(X, nan=sentinel)
        other = completer_of(solver=solver, max_rank=4, missing_values=sentinel)
        got = other.fit_transform(filled), predicted(other), other.score(filled)
        for value, reference in zip(got, expected, strict=True):
            assert_array_equal(value, reference)


def test_a_row_is_completed_from_its_own_entries_alone():
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4).fit(X)
    expected = completer.transform(X)
    poisoned = X.copy()
    poisoned[1:] *= 1e9
    assert_array_equal(completer.transform(poisoned)[0], expected[0])
    assert_allclose(completer.transform(X[:1]), expected[:1], rtol=1e-12)


def test_observed_entries_are_kept_or_predicted():
    """`keep_observed` changes nothing else: the other entries stay the same."""
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4).fit(X)
    kept = completer.transform(X)
    smooth = completer.set_params(keep_observed=False).transform(X)
    seen = ~np.isnan(X)
    assert_array_equal(kept[seen], X[seen])
    assert_array_equal(kept[~seen], smooth[~seen])
    assert (smooth[seen] != X[seen]).all()
