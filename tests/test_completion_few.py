"""Matrices of hardly more entries than degrees of freedom, and gross errors."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from _completion import completer_of, entries_of, error, low_rank, predicted
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from skrfm.completion._entries import degrees_of_freedom
from skrfm.completion._low_rank import _gauss_newton, _restarts, _rows
from skrfm.completion._low_rank._iterates import Iterate, RowModel, Smoothing
from skrfm.completion._low_rank._loss import probability_right
from skrfm.completion._low_rank._problem import problem_of
from skrfm.completion._low_rank._projected import ProjectedSystem
from skrfm.completion._low_rank._stages import Completion
from skrfm.completion._low_rank._variational import variational
from skrfm.exceptions import NumericalWarning

few_entries = pytest.mark.filterwarnings("ignore:A matrix of rank")


def scarce(oversampling, m=80, n=60, rank=3, seed=0):
    """A matrix of a rank, and so many entries of it: `rank` or more in each row."""
    rng = np.random.default_rng(seed)
    full = rng.normal(size=(m, rank)) @ rng.normal(size=(rank, n))
    keys = rng.random(full.shape)
    first = np.argsort(keys, axis=1)[:, :rank]
    np.put_along_axis(keys, first, -1.0, axis=1)
    first = np.argsort(keys, axis=0)[:rank]
    np.put_along_axis(keys, first, -1.0, axis=0)
    count = round(oversampling * degrees_of_freedom(rank, full.shape))
    seen = keys <= np.sort(keys, axis=None)[count - 1]
    return full, np.where(seen, full, np.nan)


def with_gross_errors(share, *, size=10.0, noise=0.0, seed=0, **shape):
    """A matrix, partly observed with errors, and the mask of the wrong entries."""
    full, X = low_rank(80, 60, rank=3, share=0.6, noise=noise, seed=seed, **shape)
    rng = np.random.default_rng(seed + 1)
    wrong = ~np.isnan(X) & (rng.random(X.shape) < share)
    return full, X + size * wrong * rng.normal(size=X.shape), wrong


# -- one step against naive formulas --------------------------------------------------


def symmetric(lower):
    """A matrix from its lower triangle, which is all that is set."""
    lower = np.tril(lower)
    return lower + np.tril(lower, -1).swapaxes(-1, -2)


def test_the_posterior_of_rows_is_that_of_bayesian_regression():
    rng = np.random.default_rng(0)
    m, n, k, noise = 7, 5, 3, 0.3
    _, X = low_rank(m, n, share=0.6, noise=0.5)
    X[3] = np.nan  # a row without entries has the prior
    entries = entries_of(X)
    V, factor = rng.normal(size=(n, k)), rng.normal(size=(n, k, k))
    spread = factor @ factor.swapaxes(1, 2)
    prior = symmetric(rng.normal(size=(k, k))) + 5 * np.eye(k)
    weight = rng.uniform(0.2, 1, size=len(entries))
    (U, covariance), squares = entries.posterior_rows(
        (V, spread), weight=weight, prior=prior, noise=noise
    )
    for i in range(m):
        own = entries.rows == i
        cols, w, y = entries.cols[own], weight[own], entries.values[own]
        second = [np.outer(V[j], V[j]) + spread[j] for j in cols]
        precision = prior + sum(a * b for a, b in zip(w, second, strict=True)) / noise
        expected = np.linalg.inv(precision)
        mean = expected @ (w * y / noise @ V[cols])
        assert_allclose(symmetric(covariance[i]), expected, atol=1e-12)
        assert_allclose(U[i], mean, atol=1e-12)
        moments = np.outer(mean, mean) + expected
        of_errors = [
            a * a - 2 * a * (mean @ V[j]) + np.sum(moments * b)
            for a, j, b in zip(y, cols, second, strict=True)
        ]
        assert_allclose(squares[own], of_errors, atol=1e-10)


def weighted_problem():
    """Weighted entries with an empty row, and columns."""
    rng = np.random.default_rng(0)
    _, X = low_rank(9, 6, share=0.8, noise=0.3)
    X[2] = np.nan
    entries, V = entries_of(X), rng.normal(size=(6, 2))
    entries.weight = rng.uniform(0.2, 2, size=len(entries))
    return entries, V


def eliminated_naively(entries, V):
    """The rows that fit columns, and the Gauss-Newton matrix of these."""
    n, k = V.shape
    rows, expected = np.zeros((entries.shape[0], k)), np.zeros((n * k, n * k))
    blocks = expected.reshape(n, k, n, k)
    for i in range(entries.shape[0]):
        own = entries.rows == i
        cols, root = entries.cols[own], np.sqrt(entries.weight[own])
        A = root[:, None] * V[cols]
        u = np.linalg.lstsq(A, root * entries.values[own], rcond=None)[0]
        rest = np.eye(len(cols)) - A @ np.linalg.pinv(A)
        for a, j in enumerate(cols):
            for b, other in enumerate(cols):
                factor = root[a] * root[b] * rest[a, b]
                blocks[j, :, other] += factor * np.outer(u, u)
        rows[i] = u
    return rows, expected


def test_eliminated_rows_have_the_gradient_and_system_of_the_columns():
    entries, V = weighted_problem()
    U, square, system, gradient = entries.eliminated_rows(V, 0.0)
    rows, expected = eliminated_naively(entries, V)
    assert_allclose(U, rows, atol=1e-12)
    assert_allclose(symmetric(system), expected, atol=1e-12)
    residuals = entries.values - np.sum(U[entries.rows] * V[entries.cols], axis=1)
    assert square == pytest.approx(np.sum(entries.weight * residuals**2))
    step = 1e-6
    for j, c in np.ndindex(V.shape):
        change = np.zeros_like(V)
        change[j, c] = step
        above = entries.eliminated_rows(V + change, 0.0)[1]
        below = entries.eliminated_rows(V - change, 0.0)[1]
        slope = (above - below) / (2 * step)
        assert -2 * gradient[j, c] == pytest.approx(slope, abs=1e-6 * square)


@pytest.mark.parametrize("ridge", [0.0, 1e-14])
def test_rows_whose_columns_are_zero_are_zero(ridge):
    _, X = low_rank(9, 6, share=1, noise=0.3)
    X[3, 2:] = np.nan
    V = np.random.default_rng(0).normal(size=(6, 2))
    V[:2] = 0
    entries = entries_of(X)
    U, square, system, gradient = entries.eliminated_rows(V, ridge)
    rows, expected = eliminated_naively(entries, V)
    assert_array_equal(U[3], 0)
    assert_allclose(U, rows, atol=1e-10)
    assert_allclose(symmetric(system), expected, atol=1e-10)
    assert np.isfinite(square) and np.isfinite(gradient).all()


@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.parametrize("seed", [2, 4])
def test_a_matrix_of_zeros_and_few_ones_is_completed(seed):
    """Columns of zeros alone have no direction; some rows are observed only there."""
    rng = np.random.default_rng(seed)
    observed, ones = rng.random((30, 10)) < 0.5, rng.random((30, 10)) < 0.05
    X = np.where(observed, ones.astype(float), np.nan)
    assert np.isfinite(completer_of().fit_transform(X)).all()
    # most entries are zero, so that their median is no unit of the others
    robust = completer_of(loss="absolute", keep_observed=False)
    assert np.isfinite(robust.fit_transform(X)).all()


@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
def test_the_only_entry_that_is_not_zero_may_be_hidden():
    """Whatever the seed is, hiding entries must not leave zeros alone to be fitted."""
    X = np.full((12, 4), np.nan)
    X[np.arange(12), np.arange(12) % 4] = 0.0
    X[5, 1] = 1.0
    for seed in range(12):
        completed = completer_of(random_state=seed).fit_transform(X)
        assert np.isfinite(completed).all() and np.abs(completed).max() <= 1.0


def test_conjugate_gradients_solve_the_system_of_the_columns():
    entries, V = weighted_problem()
    rows, expected = eliminated_naively(entries, V)
    iterated = ProjectedSystem(entries, V, 0.0)
    formed = _gauss_newton.FormedSystem(entries, V, 0.0)
    assert_allclose(iterated.U, rows, atol=1e-10)
    assert iterated.square == pytest.approx(formed.square)
    scale = np.array([[0.3, 0.1], [0.1, 0.2]])
    gradient = entries.eliminated_rows(V, 0.0)[3]
    damped = expected + np.kron(np.eye(len(V)), scale)
    change = np.linalg.solve(damped, gradient.ravel()).reshape(V.shape)
    assert_allclose(formed.solve(scale), change, atol=1e-10)
    assert_allclose(iterated.solve(scale), change, atol=1e-3 * np.abs(change).max())
    for j in range(len(V)):  # the preconditioner inverts the block of each column
        block = np.linalg.inv(damped[2 * j : 2 * j + 2, 2 * j : 2 * j + 2])
        assert_allclose(iterated.blocks(scale)[j], block, atol=1e-10)


def test_weighted_starts_find_what_entries_of_little_weight_hide():
    full, X = scarce(3.0)
    rng = np.random.default_rng(0)
    bad = ~np.isnan(X) & (rng.random(X.shape) < 0.2)
    entries = entries_of(X + bad * rng.normal(size=X.shape))
    weight = np.where(bad[entries.rows, entries.cols], 1e-8, 3.0)
    errors = []
    for of_entries in (weight, np.ones(len(entries))):
        entries.weight = of_entries
        iterates = variational(
            entries,
            Smoothing(),
            max_rank=3,
            loss="squared",
            random_state=np.random.RandomState(0),
        )
        for _ in range(30):
            iterate = next(iterates)
        errors.append(error((iterate.U * iterate.s) @ iterate.V.T, full))
    assert errors[0] < 1e-3 < 0.1 < errors[1]


def test_the_scale_of_the_weights_of_a_start_has_no_effect():
    _, X = low_rank(20, 15, rank=2, share=0.7, noise=0.1)
    entries, found = entries_of(X), []
    for loss in ("squared", "absolute"):
        for factor in (1.0, 50.0):
            entries.weight = np.full(len(entries), factor)
            iterates = variational(
                entries,
                Smoothing(),
                max_rank=3,
                loss=loss,
                random_state=np.random.RandomState(0),
            )
            found.append([next(iterates).residuals for _ in range(4)][-1])
        assert_allclose(found[-1], found[-2], rtol=1e-9)


def test_the_probability_of_right_entries_is_bayes_rule():
    errors = np.array([0.0, 0.1, 1.0, 3.0, 10.0])
    right = 0.7 * norm.pdf(errors, scale=0.5)
    wrong = 0.3 * norm.pdf(errors, scale=4.0)
    got = probability_right(errors**2, noise=0.25, wrong_share=0.3, wrong_variance=16.0)
    assert_allclose(got, np.maximum(right / (right + wrong), 1e-12), rtol=1e-10)


# -- few entries ----------------------------------------------------------------------


@few_entries
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(80, 60), (50, 90)])
def test_few_entries_are_matched_from_random_starts(shape, seed):
    full, X = scarce(1.3, *shape, seed=seed)
    completer = completer_of().fit(X)
    assert completer.rank_ == 3 and completer.converged_
    assert error(predicted(completer), full) < 1e-5
    assert completer.history_["stage"][-1] == "refine"


@few_entries
def test_a_match_in_single_precision():
    full, X = scarce(1.5)
    completer = completer_of().fit(X.astype(np.float32))
    assert completer.rank_ == 3 and completer.factors_[0].dtype == np.float32
    assert error(predicted(completer), full) < 1e-2


@few_entries
def test_entries_of_no_low_rank_are_not_matched():
    _, X = scarce(1.3)
    rng = np.random.default_rng(0)
    X[~np.isnan(X)] = rng.normal(size=np.sum(~np.isnan(X)))
    completer = completer_of().fit(X)
    stages = completer.history_["stage"]
    assert "start" in stages and stages[-1] in ("fit", "draw")
    # nothing can be predicted
    assert np.std(predicted(completer)) < 0.5


def test_no_starts_where_a_low_rank_predicts_hidden_entries():
    _, X = low_rank(80, 60, rank=3, share=0.6, noise=0.1)
    assert "start" not in completer_of().fit(X).history_["stage"]


def test_starts_that_agree_end_the_search():
    _, X = low_rank(60, 40, rank=2, share=0.5, noise=0.5)
    found = problem_for(X)
    history = []
    match = _restarts.match_from_few_entries(*found, watched(), history)
    assert match is None
    starts = [row for row in history if row.iter == 0]
    assert len(starts) == 2


def problem_for(X, **parameters):
    """The entries of a matrix, and the Problem of a completer."""
    entries = entries_of(X)
    matrix = SimpleNamespace(entries=entries, shape=entries.shape)
    return entries, problem_of(completer_of(**parameters), matrix)


def watched():
    """A Progress without callbacks."""

    def watch(iterates):
        for iterate in iterates:
            yield iterate
            if iterate.last:
                return

    return SimpleNamespace(open=lambda name, n: SimpleNamespace(watch=watch))


def iterate_of(entries, full, rank):
    """The Iterate of a matrix."""
    U, s, Vt = np.linalg.svd(full)
    U, s, V = U[:, :rank], s[:rank], Vt[:rank].T
    return Iterate(
        number=0,
        entries=entries,
        U=U,
        s=s,
        V=V,
        eps=1e-8,
        penalty=0.0,
        exponent=1.0,
        residuals=entries.values - entries.products(U * s, V),
        weight=entries.weight,
    )


def test_a_match_that_is_one_of_many_loses_a_rank():
    full, X = scarce(2.0)
    changed = full.copy()
    changed[5] += 3 * np.isnan(X[5])  # where the row is not observed
    entries, problem = problem_for(X)
    start = Completion(
        iterate=iterate_of(entries, changed, 4), converged=True, exact=True
    )
    match = _restarts.reduced(entries, problem, watched(), start)
    iterate = match.iterate
    assert match.exact and iterate.rank == 3
    assert error((iterate.U * iterate.s) @ iterate.V.T, full) < 1e-7


@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.parametrize("seed", [1, 8, 12])
def test_no_rank_is_saved_by_values_without_bound(seed):
    """Some matrices of rank 2 have limits of higher rank.

    ones = [[1, 1], [1, 0]] at any three of four entries has rank 1 only in the limit of
    a large value at the fourth where the third is 0.
    """
    rng = np.random.default_rng(seed)
    observed, ones = rng.random((30, 12)) < 0.7, rng.random((30, 12)) < 0.03
    X = np.where(observed, ones.astype(float), np.nan)
    assert np.abs(completer_of().fit_transform(X)).max() < 5


def test_gauss_newton_converges_quadratically_near_a_match():
    full, X = scarce(1.5)
    entries = entries_of(X)
    rng = np.random.default_rng(0)
    near = full + 1e-3 * rng.normal(size=full.shape)
    start = iterate_of(entries, near, 3)
    assert _gauss_newton.is_cheap(entries, 3)
    iterates = _gauss_newton.gauss_newton(entries, start, 3)
    sizes = [np.abs(next(iterates).residuals).max() for _ in range(4)]
    assert sizes[0] < 1e-2 and sizes[-1] < 1e-12


@few_entries
@pytest.mark.parametrize("solver", ["conjugate gradients", "two-sided"])
def test_larger_systems_are_iterated_or_left_to_the_two_sided_solver(
    monkeypatch, solver
):
    monkeypatch.setattr(_gauss_newton, "_MOST_UNKNOWNS", 1)
    if solver == "two-sided":
        monkeypatch.setattr(_gauss_newton, "_MOST_ITERATED_WORK", 1)
    full, X = scarce(1.6)
    completer = completer_of().fit(X)
    assert error(predicted(completer), full) < 1e-5


def test_iterated_steps_converge_as_those_of_formed_systems(monkeypatch):
    full, X = scarce(1.2, seed=1)
    entries = entries_of(X)
    near = full + 1e-2 * np.random.default_rng(0).normal(size=full.shape)
    start, sizes = iterate_of(entries, near, 3), []
    for most in (2000, 1):
        monkeypatch.setattr(_gauss_newton, "_MOST_UNKNOWNS", most)
        iterates = _gauss_newton.gauss_newton(entries, start, 3)
        sizes.append([np.abs(next(iterates).residuals).max() for _ in range(5)])
    assert_allclose(sizes[1][0], sizes[0][0], rtol=0.5)
    assert sizes[0][-1] < 1e-10 and sizes[1][-1] < 1e-10


def test_directions_without_support_vanish():
    full, X = scarce(2.0)
    solver = partial(variational, max_rank=6, loss="squared")
    iterates = solver(entries_of(X), Smoothing(), random_state=np.random.RandomState(0))
    for _ in range(30):
        iterate = next(iterates)
    assert error((iterate.U * iterate.s) @ iterate.V.T, full) < 1e-3
    assert iterate.s[3] < 1e-4 * iterate.s[2]


# -- gross errors ---------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3])
def test_gross_errors_have_no_effect(share):
    full, X, wrong = with_gross_errors(share)
    completer = completer_of(loss="absolute", keep_observed=False).fit(X)
    assert completer.rank_ == 3
    assert error(predicted(completer), full) < 1e-7
    assert error(completer.transform(X), full) < 1e-7
    found = np.zeros_like(wrong)
    found[completer.outliers_] = True
    assert_array_equal(found, wrong)


@pytest.mark.parametrize("size", [3.0, 1e3, 1e6])
def test_the_size_of_gross_errors_has_no_effect(size):
    full, X, _ = with_gross_errors(0.2, size=size)
    completer = completer_of(loss="absolute", keep_observed=False).fit(X)
    assert error(predicted(completer), full) < 1e-6


def test_new_rows_are_completed_without_their_wrong_entries():
    full, X, _ = with_gross_errors(0.2)
    completer = completer_of(loss="absolute", keep_observed=False).fit(X[:60])
    assert error(completer.transform(X[60:]), full[60:]) < 1e-6


def test_gross_errors_among_noise():
    full, X, wrong = with_gross_errors(0.2, noise=0.1)
    robust = completer_of(loss="absolute", keep_observed=False).fit(X)
    _, clean = low_rank(80, 60, rank=3, share=0.6, noise=0.1)
    best = completer_of().fit(np.where(wrong, np.nan, clean))
    assert error(predicted(robust), full) < 1.3 * error(predicted(best), full)


def test_noise_alone_is_no_gross_error():
    _, X = low_rank(80, 60, rank=3, share=0.6, noise=0.3)
    completer = completer_of(loss="absolute", keep_observed=False).fit(X)
    assert len(completer.outliers_[0]) < 0.01 * np.sum(~np.isnan(X))


def test_entries_that_stay_in_the_result_are_named():
    _, X, wrong = with_gross_errors(0.1)
    with pytest.warns(NumericalWarning, match=f"{wrong.sum()} of the entries look"):
        completer_of(loss="absolute").fit(X)


def test_no_outliers_with_another_loss():
    _, X = low_rank()
    rows, cols = completer_of().fit(X).outliers_
    assert len(rows) == len(cols) == 0


def test_huber_with_a_ridge_of_zero_is_refused():
    _, X = low_rank()
    with pytest.raises(ValueError, match=r"alpha=0 .* loss='absolute'"):
        completer_of(loss="huber", alpha=0).fit(X)


@pytest.mark.parametrize("alpha", [0, 0.01])
def test_a_given_ridge_is_used_without_the_wrong_entries(alpha):
    full, X, _ = with_gross_errors(0.1)
    completer = completer_of(loss="absolute", alpha=alpha, keep_observed=False)
    assert error(predicted(completer.fit(X)), full) < (1e-6 if alpha == 0 else 0.2)


def test_a_matrix_without_values_has_no_wrong_rows():
    V = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0]
    entries = entries_of(np.zeros((3, 6)))
    got = _rows.new_rows(entries, RowModel(V, np.full(2, 0.1)))
    assert_array_equal(got, 0)
    zeros = completer_of(loss="absolute").fit(np.zeros((5, 4)))
    assert_array_equal(zeros.transform(np.zeros((2, 4))), 0)
