"""The recursion against the paper's algorithm, and the rules it follows.

The naive implementation in `_oracles` shares nothing with the package: pairwise loops,
a dense solve, gradients pair by pair, the symmetric root of the metric.
"""

import copy

import numpy as np
import pytest
from _oracles import (
    NaiveRFM,
    as_array,
    kernel_matrix,
    median_by_repetition,
    median_distance,
    weighted_fit,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_friedman1
from sklearn.kernel_ridge import KernelRidge

import skrfm._recursion._prepared as distances
from skrfm import RFMRegressor
from skrfm._backend import NumpyBackend
from skrfm._recursion import (
    Candidate,
    PreparedData,
    Workspace,
    fit_round,
    parse_bandwidth,
    run,
)
from skrfm._tables import Data
from skrfm.agop import FeatureMetric
from skrfm.kernels import (
    NNGP,
    NTK,
    Gaussian,
    GeneralizedLaplace,
    L1Laplace,
    Laplace,
    LpqLaplace,
)

RADIAL = [
    Laplace(),
    GeneralizedLaplace(exponent=0.7),
    GeneralizedLaplace(exponent=1.5),
    Gaussian(),
]
COORDINATE = [
    L1Laplace(),
    LpqLaplace(p=1.3, q=0.8),
    LpqLaplace(p=1.6, q=1.6),
    LpqLaplace(p=2.0, q=1.0),
]
KERNELS = RADIAL + COORDINATE


def paper(**parameters):
    """The machine without what the paper does not have."""
    return RFMRegressor(
        validation=None, fit_intercept=False, scaling=None, **parameters
    )


@pytest.fixture
def small(rng):
    """Training rows, targets and new rows."""
    X, new = rng.normal(size=(26, 4)), rng.normal(size=(9, 4))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2], new


def full_metric(machine):
    """Return the metric of a machine as a matrix."""
    metric = machine.metric_
    return np.diag(metric) if metric.ndim == 1 else metric


def assert_close_to_naive(machine, X, y, new, diagonal):
    naive = NaiveRFM(
        machine.kernel, machine.bandwidth, machine.alpha, machine.max_iter, diagonal
    )
    naive.fit(X, y.reshape(len(y), -1))
    expected = naive.predict(new).reshape(-1, *y.shape[1:])
    got = machine.fit(X, y).predict(new)
    assert_allclose(got, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    assert_allclose(full_metric(machine), naive.metric, rtol=0, atol=1e-8)
    assert machine.bandwidth_ == pytest.approx(naive.L, rel=1e-9)


# -- the paper's algorithm ----------------------------------------------------------


@pytest.mark.parametrize("max_iter", [0, 1, 2, 3])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_predictions_equal_the_naive_machine(kernel, max_iter, small):
    X, y, new = small
    machine = paper(kernel=kernel, bandwidth=1.5, alpha=0.05, max_iter=max_iter)
    assert_close_to_naive(machine, X, y, new, kernel in COORDINATE)


@pytest.mark.parametrize("kernel", [NTK(depth=2), NTK(bias=0.5), NNGP()], ids=repr)
def test_kernels_of_wide_networks_take_centred_rows(kernel, small):
    X, y, new = small
    mean = X.mean(axis=0)
    machine = paper(kernel=kernel, bandwidth=1.5, alpha=0.05, max_iter=2)
    assert_close_to_naive(machine, X - mean, y, new - mean, diagonal=False)
    expected = machine.predict(new - mean)
    assert_allclose(machine.fit(X, y).predict(new), expected, rtol=1e-8)


@pytest.mark.parametrize("kernel", [*RADIAL[:2], *COORDINATE[:2]], ids=repr)
def test_a_median_bandwidth_is_recomputed_in_each_round(kernel, small):
    X, y, new = small
    machine = paper(kernel=kernel, bandwidth="median", alpha=0.05, max_iter=2)
    assert_close_to_naive(machine, X, y, new, kernel in COORDINATE)


@pytest.mark.parametrize("kernel", RADIAL[:2], ids=repr)
def test_a_diagonal_metric_for_a_radial_kernel(kernel, small):
    X, y, new = small
    machine = paper(
        kernel=kernel, bandwidth=1.5, alpha=0.05, max_iter=2, metric_type="diag"
    )
    assert_close_to_naive(machine, X, y, new, diagonal=True)


@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
def test_several_targets_share_one_metric(kernel, small):
    X, y, new = small
    Y = np.column_stack([y, X[:, 3], y + X[:, 3]])
    machine = paper(kernel=kernel, bandwidth=1.5, alpha=0.05, max_iter=2)
    assert_close_to_naive(machine, X, Y, new, kernel.coordinatewise)


def test_more_features_than_rows(rng):
    X, new = rng.normal(size=(10, 15)), rng.normal(size=(4, 15))
    machine = paper(kernel=Laplace(), bandwidth=4.0, alpha=0.05, max_iter=2)
    assert_close_to_naive(machine, X, X[:, 0] + X[:, 1], new, diagonal=False)


@pytest.mark.parametrize(
    ("kernel", "theirs", "gamma"),
    [
        ("l1_laplace", "laplacian", lambda L: 1 / L),
        ("gaussian", "rbf", lambda L: 1 / (2 * L**2)),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_no_rounds_are_kernel_ridge_regression(
    kernel, theirs, gamma, weighted, small, rng
):
    X, y, new = small
    weight = rng.uniform(0.2, 3, size=len(y)) if weighted else None
    L = 1.8
    ours = paper(kernel=kernel, bandwidth=L, alpha=0.1, max_iter=0)
    ridge = KernelRidge(alpha=0.1, kernel=theirs, gamma=gamma(L))
    expected = ridge.fit(X, y, sample_weight=weight).predict(new)
    assert_allclose(ours.fit(X, y, sample_weight=weight).predict(new), expected, 1e-9)
    assert ours.best_iter_ == 0 and ours.n_iter_ == 1


def test_the_intercept_is_the_weighted_mean_and_is_restored(small, rng):
    X, y, new = small
    weight = rng.uniform(0.2, 3, size=len(y))
    machine = RFMRegressor(
        kernel="laplace",
        bandwidth=1.5,
        alpha=0.05,
        max_iter=0,
        validation=None,
        scaling=None,
    ).fit(X, y + 1000, sample_weight=weight)
    K = kernel_matrix(Laplace(), X, X, 1.5)
    coef, mean = weighted_fit(K, y[:, None] + 1000, 0.05, weight)
    expected = kernel_matrix(Laplace(), new, X, 1.5) @ coef + mean
    assert_allclose(machine.predict(new), expected[:, 0], rtol=1e-10)
    far = machine.predict(1e6 + new)
    assert_allclose(far, mean[0], rtol=1e-12)


def test_without_an_intercept_far_predictions_are_zero(small):
    X, y, new = small
    machine = paper(kernel="laplace", bandwidth=1.5, alpha=0.05, max_iter=1)
    machine.fit(X, y + 10)
    assert machine.intercept_ == 0
    assert_allclose(machine.predict(1e6 + new), 0, atol=1e-200)


# -- the rounds ---------------------------------------------------------------------


def problem(X, y, kernel=None, **candidate):
    data = Data(X, y.reshape(len(y), -1), np.ones(len(y)))
    candidate = {"alpha": 0.05, "bandwidth": 1.5, "max_iter": 3} | candidate
    return data, Candidate(kernel or Laplace(), **candidate)


def rounds_of(X, y, **candidate):
    rounds = run(*problem(X, y, **candidate), NumpyBackend())
    # a round loses its rows when the next one is asked for, so copies are kept
    return [copy.copy(result) for result in rounds]


def test_round_after_round_is_one_recursion(small):
    """Round t of a long recursion is the last one of a recursion of t rounds."""
    X, y, new = small
    rounds = rounds_of(X, y)
    assert [result.number for result in rounds] == [0, 1, 2, 3]
    for result in rounds:
        machine = RFMRegressor(
            kernel="laplace",
            bandwidth=1.5,
            alpha=0.05,
            max_iter=result.number,
            validation=None,
            scaling=None,
        ).fit(X, y)
        expected = machine.predict(new)
        assert_allclose(result.predict(new, NumpyBackend())[:, 0], expected, 1e-12)


def test_the_metric_is_scaled_to_a_largest_diagonal_entry_of_1(small):
    X, y, _ = small
    for kernel in (Laplace(), L1Laplace()):
        machine = paper(kernel=kernel, alpha=0.05, max_iter=2).fit(X, y)
        assert full_metric(machine).max() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("n_components", [1, 2, 0.7])
def test_a_truncated_metric_in_the_recursion(n_components, small):
    X, y, _ = small
    full = paper(kernel="laplace", bandwidth=1.5, alpha=0.05, max_iter=1).fit(X, y)
    values, vectors = np.linalg.eigh(full.metric_)
    kept = n_components
    if isinstance(n_components, float):
        shares = np.cumsum(values[::-1]) / values.sum()
        kept = 1 + int(np.argmax(shares >= n_components))
    values[: len(values) - kept] = 0
    machine = full.set_params(n_components=n_components).fit(X, y)
    assert machine.components_.shape == (kept, 4)
    assert_allclose(machine.metric_, (vectors * values) @ vectors.T, atol=1e-10)


def test_centred_gradients_in_the_recursion(small):
    X, y, _ = small
    data, candidate = problem(X, y, center_gradients=True)
    backend, d = NumpyBackend(), X.shape[1]
    first = fit_round(
        PreparedData.from_data(data, candidate.fit_intercept, backend),
        candidate,
        FeatureMetric(),
        number=0,
        backend=backend,
        workspace=Workspace(),
        with_agop=True,
    )
    T, f, h = first.T, first.predict, 1e-6
    J = np.column_stack(
        [
            (f(X + h * e, backend) - f(X - h * e, backend))[:, 0] / (2 * h)
            for e in np.eye(d)
        ]
    )
    assert T.shape == J.shape
    assert_allclose(as_array(first.agop), np.cov(J.T, bias=True), atol=1e-6 * J.var())


def test_a_row_subsample_of_the_agop_is_seeded(small):
    X, y, _ = small

    def metric(seed, rows=8):
        machine = paper(
            kernel="laplace",
            alpha=0.05,
            max_iter=1,
            max_agop_samples=rows,
            random_state=seed,
        )
        return machine.fit(X, y).metric_

    assert_array_equal(metric(0), metric(0))
    assert np.abs(metric(0) - metric(1)).max() > 1e-3
    assert np.abs(metric(0) - metric(0, None)).max() > 1e-3
    assert_allclose(metric(0, len(X)), metric(0, None), rtol=1e-12)


def test_a_recursion_ends_where_the_predictor_is_constant(small):
    X, _, _ = small
    rounds = rounds_of(X, np.zeros(len(X)))
    assert [result.number for result in rounds] == [0]
    assert not rounds[0].agop.diagonal().any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", [Laplace(), L1Laplace()], ids=repr)
def test_two_rows_with_centred_gradients_have_none_left(kernel, dtype, rng):
    """Both gradients of a machine of two rows are equal: only rounding is left."""
    for _ in range(5):
        X = rng.normal(size=(2, 3)).astype(dtype)
        y = np.array([0, 1], dtype=dtype)
        rounds = rounds_of(X, y, kernel=kernel, diagonal=True, center_gradients=True)
        for result in rounds:
            assert np.isfinite(result.solution.coef).all()


# -- the bandwidth ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bandwidth", "parsed"),
    [
        (2, (2.0, False)),
        (0.25, (0.25, False)),
        (np.float32(0.5), (0.5, False)),
        ("median", (1.0, True)),
        ("2*median", (2.0, True)),
        (" 0.5 * median", (0.5, True)),
        ("1e-1 * median ", (0.1, True)),
    ],
)
def test_bandwidths(bandwidth, parsed):
    assert parse_bandwidth(bandwidth) == parsed


@pytest.mark.parametrize(
    "bandwidth",
    ["", "mean", "median*2", "2 median", "2**median", "-1*median", "0*median"]
    + ["nan*median", "inf*median", "x*median", "2*median*3", "Median", "1.0"],
)
def test_bad_bandwidths(bandwidth, small):
    X, y, _ = small
    message = r"bandwidth must be a positive number, \"median\", or a .*\"2\*median\""
    with pytest.raises(ValueError, match=message):
        RFMRegressor(bandwidth=bandwidth).fit(X, y)


@pytest.mark.parametrize(
    "kernel", [Laplace(), L1Laplace(), LpqLaplace(p=1.5)], ids=repr
)
def test_the_median_is_in_the_norm_of_the_kernel(kernel, small):
    X, y, _ = small
    expected = median_distance(kernel, X, np.ones(len(X)))
    for multiple, text in [(1, "median"), (2, "2*median"), (0.5, " 0.5 * median")]:
        machine = paper(kernel=kernel, bandwidth=text, alpha=0.1, max_iter=0).fit(X, y)
        assert machine.bandwidth_ == pytest.approx(multiple * expected, rel=1e-10)


def test_the_weighted_median_counts_repeats_and_leaves_out_ties(rng):
    T = rng.normal(size=(12, 2))
    T[3] = T[4]
    counts = rng.integers(1, 5, size=12)
    for kernel in (Laplace(), L1Laplace()):
        got = distances.median_distance(
            kernel, T, counts.astype(float), NumpyBackend(), seed=0
        )
        assert got == pytest.approx(median_distance(kernel, T, counts), rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11])
def test_weighted_medians(size, rng):
    values = rng.permutation(size) / 3
    for weights in (np.ones(size, dtype=int), rng.integers(1, 6, size=size)):
        got = distances._weighted_median(values, weights.astype(float))
        assert got == median_by_repetition(values, weights)


def test_the_median_of_equal_rows_is_1():
    T = np.ones((4, 3))
    args = (T, np.ones(4), NumpyBackend())
    assert distances.median_distance(Laplace(), *args, seed=0) == 1


def test_the_median_of_many_rows_is_that_of_a_subsample(rng, monkeypatch):
    monkeypatch.setattr(distances, "_MEDIAN_ROWS", 200)
    T, ones = rng.normal(size=(600, 3)), np.ones(600)

    def median(seed):
        return distances.median_distance(Laplace(), T, ones, NumpyBackend(), seed=seed)

    assert median(0) == median(0) != median(1)
    exact = median_distance(Laplace(), T[:150], ones[:150])
    assert median(0) == pytest.approx(exact, rel=0.1)


# -- what it is for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "before", "after"), [(0.0, 0.91, 0.98), (1.0, 0.87, 0.925)]
)
def test_friedman_1(noise, before, after):
    X, y = make_friedman1(2500, n_features=10, noise=noise, random_state=0)
    train, test = slice(500), slice(500, None)
    scores = []
    for max_iter in (0, 1, 2, 5):
        machine = RFMRegressor(
            kernel="laplace", alpha=1e-3, validation=None, max_iter=max_iter
        ).fit(X[train], y[train])
        scores.append(machine.score(X[test], y[test]))
    assert scores[0] == pytest.approx(before, abs=0.01)
    assert scores == sorted(scores)
    assert scores[-1] >= after
    assert machine.feature_importances_[5:].sum() < 0.01


def test_a_rotated_direction_is_found(rng):
    """A target along one oblique direction: the leading component is that direction."""
    X = rng.normal(size=(300, 6))
    direction = rng.normal(size=6)
    direction /= np.linalg.norm(direction)
    machine = RFMRegressor(kernel="laplace", alpha=1e-3, validation=None, max_iter=3)
    machine.fit(X, np.sin(2 * X @ direction))
    leading = machine.components_[0] / np.linalg.norm(machine.components_[0])
    assert abs(leading @ direction) > 0.99
