"""solver="gibbs": draws of factors against dense algebra, averages against sums."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from skrfm import LinRFMCompleter
from skrfm.completion._entries import ObservedEntries
from skrfm.completion._low_rank import _gibbs
from skrfm.completion._low_rank._iterates import Smoothing
from skrfm.exceptions import NumericalWarning


class Ratings:
    """A matrix of rank 3 with biases, of which a part is observed with noise."""

    def __init__(self, m=150, n=80, share=0.3, noise=0.5, seed=0):
        rng = np.random.default_rng(seed)
        rows, columns = rng.normal(size=(m, 3)), rng.normal(size=(n, 3))
        self.truth = 3 + rng.normal(size=(m, 1)) + rng.normal(size=n)
        self.truth += rows @ columns.T / 3**0.5
        self.rows, self.cols = np.nonzero(rng.random((m, n)) < share)
        exact = self.truth[self.rows, self.cols]
        self.values = exact + noise * rng.normal(size=len(exact))
        self.shape = m, n

    def fit(self, **parameters):
        completer = LinRFMCompleter(random_state=0, **parameters)
        return completer.fit_entries(self.rows, self.cols, self.values, self.shape)

    def error(self, completer):
        grid = np.indices(self.shape).reshape(2, -1)
        predicted = completer.predict_entries(*grid).reshape(self.shape)
        return np.sqrt(np.mean((predicted - self.truth) ** 2))


def drawn(rng, normal, m=7, n=9, k=3):
    """Return draws of rows, and what they were drawn from."""
    mask = rng.random((m, n)) < 0.7
    mask[2] = False
    Y, W = rng.normal(size=(m, n)), rng.uniform(0.5, 2, size=(m, n))
    V, offset, root = (rng.normal(size=s) for s in ((n, k), n, (k, k)))
    prior, center = root @ root.T + np.eye(k), rng.normal(size=k)
    entries = ObservedEntries(*np.nonzero(mask), Y[mask], shape=(m, n), weight=W[mask])
    rows, square = entries.drawn_rows(
        normal, V, offset, prior=prior, linear=prior @ center, precision=2.5
    )
    return rows, square, (mask, Y, W, V, offset, prior, center)


def test_draws_without_randomness_are_the_posterior_means():
    rows, square, given = drawn(np.random.default_rng(0), np.zeros((7, 3)))
    mask, Y, W, V, offset, prior, center = given
    total = 0.0
    for i in range(7):
        at = mask[i]
        X, w, t = V[at], 2.5 * W[i, at], Y[i, at] - offset[at]
        system = prior + X.T @ (w[:, None] * X)
        u = np.linalg.solve(system, prior @ center + X.T @ (w * t))
        assert_allclose(rows[i], u, rtol=1e-10, atol=1e-12)
        total += W[i, at] @ (t - X @ u) ** 2
    assert_allclose(square, total)


def test_draws_have_the_posterior_covariance():
    normal = np.random.default_rng(1).normal(size=(7, 3))
    means, _, _ = drawn(np.random.default_rng(0), np.zeros((7, 3)))
    rows, _, given = drawn(np.random.default_rng(0), normal.copy())
    mask, _, W, V, _, prior, _ = given
    for i in range(7):
        at = mask[i]
        system = prior + V[at].T @ (2.5 * W[i, at, None] * V[at])
        root = np.linalg.cholesky(system)
        assert_allclose(root.T @ (rows[i] - means[i]), normal[i], atol=1e-10)


def test_draws_of_the_prior_have_the_mean_and_the_spread_of_their_distribution():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(30, 2)) @ np.array([[1.0, 0.5], [0, 2]]) + 1
    draws = [_gibbs._draw_prior(factors, rng) for _ in range(4000)]
    precision = np.mean([p for p, _ in draws], axis=0)
    mean = factors.mean(axis=0)
    shrunk = 30 / 32 * mean
    scatter = np.eye(2) + (factors - mean).T @ (factors - mean)
    scatter += 30 * 2 / 32 * np.outer(mean, mean)
    assert_allclose(precision, 32 * np.linalg.inv(scatter), rtol=0.05)
    means = np.array([m for _, m in draws])
    assert_allclose(means.mean(axis=0), shrunk, atol=0.03)
    # of a normal-inverse-Wishart distribution: E[Σ] / 32
    expected = scatter / (32 - 2 - 1) / 32
    assert_allclose(np.cov(means.T), expected, rtol=0.15, atol=3e-3)


def test_an_average_is_the_sum_of_its_matrices(monkeypatch):
    monkeypatch.setattr(_gibbs, "_NEGLIGIBLE", 0.0)
    problem = Ratings(m=40, n=30)
    entries = ObservedEntries(
        problem.rows, problem.cols, problem.values, shape=problem.shape
    )
    chain = _gibbs._Chain.start(entries, 2, np.random.RandomState(0))
    average, matrices = _gibbs._Average.empty(entries), []
    for _ in range(25):  # more than are held
        chain.draw()
        average.add(chain)
        rows, columns = chain.rows.factors, chain.columns.factors
        matrix = rows[:, :1] + columns[:, 0] + rows[:, 1:] @ columns[:, 1:].T
        matrices.append(chain.mean + chain.unit * matrix)
    U, s, V, mean = average.triplets(chain)
    assert_allclose((U * s) @ V.T + mean, np.mean(matrices, axis=0), atol=1e-7)
    assert_allclose(U.T @ U, np.eye(len(s)), atol=1e-5)
    assert_allclose(V.T @ V, np.eye(len(s)), atol=1e-5)


def test_iterates_report_their_residuals_and_the_noise():
    problem = Ratings(noise=0.5)
    entries = ObservedEntries(
        problem.rows, problem.cols, problem.values, shape=problem.shape
    )
    solver = _gibbs.gibbs(
        entries,
        Smoothing(),
        max_rank=4,
        loss="squared",
        random_state=np.random.RandomState(0),
    )
    iterate = [next(solver) for _ in range(4)][-1]
    fitted = (iterate.U * iterate.s) @ iterate.V.T + iterate.mean
    expected = entries.values - fitted[entries.rows, entries.cols]
    assert_allclose(iterate.residuals, expected, atol=1e-9)
    assert iterate.averages.noise == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_averages_predict_noisy_ratings_better_than_a_chosen_rank(seed):
    problem = Ratings(seed=seed, share=0.2)
    draws, rank = problem.fit(solver="gibbs"), problem.fit(max_rank=8)
    assert problem.error(draws) < 0.9 * problem.error(rank)
    assert draws.n_iter_ == 4
    assert draws.converged_
    assert set(draws.history_["stage"]) == {"draw"}


def test_the_default_averages_draws_where_noise_prevails():
    problem = Ratings(share=0.15, noise=1.5)
    default, draws = problem.fit(), problem.fit(solver="gibbs")
    assert default.history_["stage"][-1] == "draw"
    at = problem.rows, problem.cols
    assert_allclose(default.predict_entries(*at), draws.predict_entries(*at))
    _, std = default.predict_entries(*at, return_std=True)
    assert_allclose(std, draws.predict_entries(*at, return_std=True)[1])
    assert 0 < default.validation_score_ < 0.5


@pytest.mark.parametrize("given", [{"max_rank": 5}, {"power": 0.4}, {"loss": "huber"}])
def test_draws_are_not_compared_where_parameters_ask_for_another_matrix(given):
    problem = Ratings(m=60, n=40, share=0.25, noise=1.5)
    assert "draw" not in problem.fit(**given).history_["stage"]


def test_draws_are_not_compared_where_a_low_rank_predicts_well():
    assert "draw" not in Ratings(noise=0.2).fit().history_["stage"]


def test_more_rank_than_entries_determine_does_no_harm():
    problem = Ratings(share=0.2)
    low = problem.error(problem.fit(solver="gibbs", max_rank=3))
    assert problem.error(problem.fit(solver="gibbs", max_rank=40)) < 1.25 * low


def test_intervals_cover_new_measurements():
    problem = Ratings(share=0.3, noise=0.5)
    rows, cols = np.indices(problem.shape).reshape(2, -1)
    new = problem.truth.ravel() + 0.5 * np.random.default_rng(1).normal(size=len(rows))
    for max_rank in (4, 10):  # the rank of the matrix is 5 with its biases
        completer = problem.fit(solver="gibbs", max_rank=max_rank)
        mean, std = completer.predict_entries(rows, cols, return_std=True)
        assert 0.87 < np.mean(np.abs(new - mean) < 1.645 * std) < 0.93


def test_rows_and_columns_without_entries_have_means_of_the_others():
    problem = Ratings(m=60, n=40, share=0.5, noise=0.1)
    shown = (problem.rows != 7) & (problem.cols != 5)
    completer = LinRFMCompleter(solver="gibbs", random_state=0, keep_observed=False)
    with pytest.warns(NumericalWarning, match="without any observed entry"):
        completer.fit_entries(
            problem.rows[shown],
            problem.cols[shown],
            problem.values[shown],
            problem.shape,
        )
    others = np.delete(np.arange(60), 7)
    in_column = completer.predict_entries(others, np.full(59, 5))
    columns = np.delete(np.arange(40), 5)
    in_row = completer.predict_entries(np.full(39, 7), columns)
    truth = np.delete(np.delete(problem.truth, 7, axis=0), 5, axis=1)
    assert np.corrcoef(in_column, truth.mean(axis=1))[0, 1] > 0.95
    assert np.corrcoef(in_row, truth.mean(axis=0))[0, 1] > 0.95
    assert_allclose(in_column, truth.mean(axis=1), atol=0.5)
    corner = completer.predict_entries([7], [5])[0]
    assert corner == pytest.approx(problem.values[shown].mean())


def test_transform_completes_rows_that_were_not_in_the_fit():
    problem = Ratings(m=200, n=60, share=0.4, noise=0.2)
    X = np.full(problem.shape, np.nan)
    X[problem.rows, problem.cols] = problem.values
    completer = LinRFMCompleter(solver="gibbs", random_state=0, keep_observed=False)
    completer.fit(X[:150])
    errors = completer.transform(X[150:]) - problem.truth[150:]
    means = np.nanmean(X[:150], axis=0) - problem.truth[150:]
    assert np.sqrt(np.mean(errors**2)) < 0.35 * np.sqrt(np.mean(means**2))
    predicted = completer.predict_entries(*np.indices((150, 60)).reshape(2, -1))
    again = completer.transform(X[:150])
    assert np.corrcoef(predicted, again.ravel())[0, 1] > 0.99


def test_the_same_seed_gives_the_same_matrix_in_any_order_of_the_entries():
    problem = Ratings(m=40, n=30)
    order = np.random.default_rng(0).permutation(len(problem.values))
    first = problem.fit(solver="gibbs", max_rank=4)
    problem.rows, problem.cols = problem.rows[order], problem.cols[order]
    problem.values = problem.values[order]
    second = problem.fit(solver="gibbs", max_rank=4)
    for a, b in zip(first.factors_, second.factors_, strict=True):
        assert_array_equal(a, b)


def test_units_of_the_entries_do_not_matter():
    problem = Ratings(m=40, n=30)
    first = problem.fit(solver="gibbs", max_rank=4)
    problem.values = 1e6 * problem.values + 1e7
    second = problem.fit(solver="gibbs", max_rank=4)
    grid = np.indices(problem.shape).reshape(2, -1)
    expected = 1e6 * first.predict_entries(*grid) + 1e7
    assert_allclose(second.predict_entries(*grid), expected, rtol=1e-5)


def test_single_precision_stays():
    problem = Ratings(m=40, n=30)
    double = problem.fit(solver="gibbs", max_rank=4)
    problem.values = problem.values.astype(np.float32)
    single = problem.fit(solver="gibbs", max_rank=4)
    assert {a.dtype for a in single.factors_} == {np.dtype(np.float32)}
    assert single.predict_entries([0, 1], [0, 1]).dtype == np.float32
    assert problem.error(single) < 1.1 * problem.error(double)


def test_entries_that_are_all_equal_are_completed_by_their_value():
    rows, cols = np.nonzero(np.random.default_rng(0).random((12, 8)) < 0.7)
    completer = LinRFMCompleter(solver="gibbs", max_rank=2, random_state=0)
    completer.fit_entries(rows, cols, np.full(len(rows), 4.0), (12, 8))
    grid = np.indices((12, 8)).reshape(2, -1)
    assert_allclose(completer.predict_entries(*grid), 4.0, atol=1e-6)


@pytest.mark.parametrize(
    "parameters", [{"alpha": 0.1}, {"loss": "huber"}, {"power": 0.25}]
)
def test_parameters_without_a_meaning_are_refused(parameters):
    ((name, _),) = parameters.items()
    with pytest.raises(ValueError, match=f"solver='gibbs' .* {name}="):
        Ratings(m=20, n=15).fit(solver="gibbs", **parameters)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_entries_sorted_as_in_csr_are_not_copied(dtype):
    rng = np.random.default_rng(0)
    mask = rng.random((30, 20)) < 0.4
    mask[[0, 7, 29]] = False
    rows, cols = (index.astype(dtype) for index in np.nonzero(mask))
    values, order = rng.normal(size=len(rows)), rng.permutation(len(rows))
    entries = ObservedEntries(rows, cols, values, shape=(30, 20))
    other = ObservedEntries(rows[order], cols[order], values[order], shape=(30, 20))
    assert np.shares_memory(entries.values, values)
    assert np.shares_memory(entries.cols, cols) == (dtype == np.int32)
    for name in ("rows", "cols", "values", "weight", "column_order"):
        assert_array_equal(getattr(entries, name), getattr(other, name))
    assert_array_equal(entries.column_counts(), mask.sum(axis=0))


def test_the_arrays_of_a_sparse_matrix_are_not_changed():
    problem = Ratings(m=40, n=30)
    X = csr_array((problem.values, (problem.rows, problem.cols)), shape=problem.shape)
    before = X.copy()
    completer = LinRFMCompleter(solver="gibbs", max_rank=4, random_state=0).fit(X)
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(X, name), getattr(before, name))
    expected = problem.fit(solver="gibbs", max_rank=4).factors_
    for a, b in zip(completer.factors_, expected, strict=True):
        assert_array_equal(a, b)
