"""The average gradient outer product, and the feature metric made from it.

The oracle sums gradients pair by pair, and the gradients themselves are checked
against finite differences of the predictor.
"""

import warnings

import numpy as np
import pytest
from _kernels import DISTANCE, KERNELS
from _oracles import (
    agop,
    as_array,
    finite_difference_gradients,
    gradients,
    symmetric_root,
)
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMRegressor
from skrfm._backend import NumpyBackend
from skrfm.agop import (
    Agop,
    AgopOptions,
    FeatureMetric,
    average_gradient_outer_product,
    compress_outputs,
)
from skrfm.kernels import L1Laplace, Laplace

BANDWIDTH = 1.6
N, D, C = 16, 4, 3

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)
every_distance = pytest.mark.parametrize("kernel", DISTANCE, ids=repr)


@pytest.fixture
def predictor(rng):
    """Rows (two of them equal), coefficients and weights."""
    T = rng.normal(size=(N, D))
    T[4] = T[11]
    return T, rng.normal(size=(N, C)), rng.uniform(0.5, 3, size=N)


def average(backend, kernel, T, coef, weight, **options):
    return as_array(find_agop(backend, kernel, T, coef, weight, **options))


def find_agop(backend, kernel, T, coef, weight, **options):
    gram = backend.gram(kernel, backend.asarray(T), BANDWIDTH)
    return average_gradient_outer_product(
        gram,
        backend.asarray(coef),
        backend.asarray(weight),
        backend=backend,
        options=AgopOptions(**options),
    )


@every_distance
def test_gradient_oracle_equals_finite_differences(kernel, predictor):
    T, coef, _ = predictor
    J = gradients(kernel, T, coef, BANDWIDTH)
    differences = finite_difference_gradients(kernel, T, coef, BANDWIDTH)
    assert_allclose(J, differences, atol=1e-7)


@every_kernel
def test_full_and_diagonal_agop(kernel, backend, predictor):
    T, coef, weight = predictor
    expected = agop(gradients(kernel, T, coef, BANDWIDTH), weight)
    full = average(backend, kernel, T, coef, weight)
    assert full.dtype == np.float64 and full.shape == (D, D)
    assert_allclose(full, expected, rtol=1e-10, atol=1e-13)
    diagonal = average(backend, kernel, T, coef, weight, diagonal=True)
    assert diagonal.dtype == np.float64 and diagonal.shape == (D,)
    assert_allclose(diagonal, np.diag(expected), rtol=1e-10)


@every_kernel
def test_centred_gradients(kernel, backend, predictor):
    T, coef, weight = predictor
    J = gradients(kernel, T, coef, BANDWIDTH)
    expected = agop(J, weight, centered=True)
    assert np.abs(expected - agop(J, weight)).max() > 1e-3 * np.abs(expected).max()
    full = average(backend, kernel, T, coef, weight, centered=True)
    assert_allclose(full, expected, rtol=1e-9, atol=1e-12)
    diagonal = average(backend, kernel, T, coef, weight, centered=True, diagonal=True)
    assert_allclose(diagonal, np.diag(expected), rtol=1e-9)


@every_kernel
def test_subsample_of_rows(kernel, backend, predictor):
    T, coef, weight = predictor
    rows = np.array([1, 4, 9, 10, 15])
    J = gradients(kernel, T, coef, BANDWIDTH)[rows]
    got = average(backend, kernel, T, coef, weight, rows=rows)
    assert_allclose(got, agop(J, weight[rows]), rtol=1e-10, atol=1e-13)
    got = average(backend, kernel, T, coef, weight, rows=rows, centered=True)
    expected = agop(J, weight[rows], centered=True)
    assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@every_kernel
@pytest.mark.parametrize("centered", [False, True])
def test_weights_equal_repeated_rows(kernel, backend, predictor, centered):
    T, coef, _ = predictor
    counts = np.arange(N) % 3 + 1
    repeated = np.repeat(np.arange(N), counts)
    # the repeats of a row share its coefficient, so the predictor is the same
    shared = (coef / counts[:, None])[repeated]
    weighted = average(
        backend, kernel, T, coef, counts.astype(float), centered=centered
    )
    plain = average(
        backend, kernel, T[repeated], shared, np.ones(counts.sum()), centered=centered
    )
    assert_allclose(weighted, plain, rtol=1e-9, atol=1e-12)


@every_kernel
def test_float32(kernel, predictor):
    T, coef, weight = (a.astype(np.float32) for a in predictor)
    wide = [a.astype(np.float64) for a in (T, coef, weight)]
    expected = agop(gradients(kernel, wide[0], wide[1], BANDWIDTH), wide[2])
    got = average(NumpyBackend(), kernel, T, coef, weight)
    assert got.dtype == np.float64
    assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("outputs", [11, 12])
@pytest.mark.parametrize("centered", [False, True])
def test_many_outputs_in_several_products(outputs, centered, rng):
    """41 columns per output: six outputs go together, 6 + 5 or 6 + 6 of them."""
    T, coef = rng.normal(size=(14, 40)), rng.normal(size=(14, outputs))
    J = gradients(Laplace(), T, coef, BANDWIDTH)
    got = average(NumpyBackend(), Laplace(), T, coef, np.ones(14), centered=centered)
    assert_allclose(got, agop(J, centered=centered), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("outputs", [11, 12])
def test_many_outputs_of_a_coordinatewise_kernel(outputs, rng):
    T, coef = rng.normal(size=(14, 40)), rng.normal(size=(14, outputs))
    J = gradients(L1Laplace(), T, coef, BANDWIDTH)
    got = average(NumpyBackend(), L1Laplace(), T, coef, np.ones(14), centered=True)
    assert_allclose(got, agop(J, centered=True), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compression_keeps_the_products_of_coefficients(backend, dtype, rng):
    """Centred one-hot columns add up to 0, and so do coefficients fitted to them."""
    one_hot = np.eye(4)[rng.integers(4, size=30)]
    K = 2 * np.eye(30) + rng.uniform(size=(30, 30)) / 30
    coef = np.linalg.solve(K, one_hot - one_hot.mean(axis=0)).astype(dtype)
    small = backend.to_numpy(compress_outputs(backend.asarray(coef), backend))
    assert small.dtype == dtype
    tolerance = 20 * np.finfo(dtype).eps
    assert_allclose(small @ small.T, coef @ coef.T, atol=tolerance)
    assert small.shape == (30, 3)


def test_independent_coefficients_are_not_compressed(backend, rng):
    free = backend.asarray(rng.normal(size=(30, 4)))
    assert compress_outputs(free, backend) is free


@every_kernel
def test_compressed_outputs_have_the_same_agop(kernel, backend, predictor, rng):
    T, coef, weight = predictor
    dependent = np.column_stack([coef, coef @ rng.normal(size=(C, 2))])
    J = gradients(kernel, T, dependent, BANDWIDTH)
    got = average(backend, kernel, T, dependent, weight)
    assert_allclose(got, agop(J, weight), rtol=1e-9, atol=1e-12)
    got = average(backend, kernel, T, dependent, weight, centered=True)
    assert_allclose(got, agop(J, weight, centered=True), rtol=1e-8, atol=1e-11)


@every_kernel
@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("diagonal", [False, True])
def test_zero_coefficients(kernel, backend, outputs, diagonal, predictor):
    T, _, weight = predictor
    coef = np.zeros((N, outputs))
    got = average(backend, kernel, T, coef, weight, diagonal=diagonal)
    assert_array_equal(got, np.zeros(D if diagonal else (D, D)), strict=True)


# -- the metric ---------------------------------------------------------------------


@pytest.fixture
def gradient_matrix(rng):
    """An AGOP with the eigenvalues 8, 4, 2 and 1, at random directions."""
    Q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    return (Q * [8.0, 4.0, 2.0, 1.0]) @ Q.T


def test_identity_metric(backend, rng):
    X = backend.asarray(rng.normal(size=(5, 3)))
    metric = FeatureMetric()
    assert metric.transform(X, backend) is X
    found = Agop(products=rng.normal(size=(3, 3)))
    assert metric.pull_back(found) is found


def test_full_metric(gradient_matrix, backend, rng):
    metric = FeatureMetric.from_agop(Agop(products=gradient_matrix))
    M = gradient_matrix / np.diag(gradient_matrix).max()
    components = metric.to_array()
    assert_allclose(components.T @ components, M, atol=1e-14)
    X = rng.normal(size=(6, 4))
    T = backend.to_numpy(metric.transform(backend.asarray(X), backend))
    assert_allclose(T, X @ components.T, atol=1e-14)
    # distances in t are distances of the metric
    difference = X[0] - X[1]
    assert_allclose(((T[0] - T[1]) ** 2).sum(), difference @ M @ difference)


def test_components_are_ordered_and_orthogonal(gradient_matrix):
    components = FeatureMetric.from_agop(Agop(products=gradient_matrix)).to_array()
    products = components @ components.T
    expected = np.array([8.0, 4.0, 2.0, 1.0]) / np.diag(gradient_matrix).max()
    assert_allclose(products, np.diag(expected), atol=1e-14)
    largest = np.abs(components).argmax(axis=1)
    assert (components[np.arange(4), largest] > 0).all()


@pytest.mark.parametrize(
    ("n_components", "kept"),
    # the shares of the leading eigenvectors in the trace are 8, 12, 14 and 15 / 15
    [(1, 1), (3, 3), (7, 4), (0.5, 1), (8 / 15, 1), (0.54, 2), (0.8, 2), (0.9, 3)],
)
def test_truncated_metric(gradient_matrix, n_components, kept):
    metric = FeatureMetric.from_agop(Agop(products=gradient_matrix), n_components)
    components = metric.to_array()
    assert components.shape == (kept, 4)
    values, vectors = np.linalg.eigh(gradient_matrix)
    values[: 4 - kept] = 0
    expected = (vectors * values) @ vectors.T / np.diag(gradient_matrix).max()
    assert_allclose(components.T @ components, expected, atol=1e-14)


def test_n_components_as_a_numpy_number(gradient_matrix):
    for share in (np.float64(0.8), np.float32(0.8)):
        metric = FeatureMetric.from_agop(Agop(products=gradient_matrix), share)
        assert metric.to_array().shape == (2, 4)


def test_diagonal_metric(backend, rng):
    metric = FeatureMetric.from_agop(Agop(squares=np.array([1.0, 0.0, 4.0])))
    assert_allclose(metric.to_array(), [0.5, 0, 1])
    assert_allclose(metric.diagonal(), [0.25, 0, 1])
    X = rng.normal(size=(5, 3))
    T = backend.to_numpy(metric.transform(backend.asarray(X), backend))
    assert_allclose(T, X * [0.5, 0, 1])


def test_truncated_diagonal_metric_keeps_the_largest_features():
    found = Agop(squares=np.array([1.0, 2.0, 4.0]))
    for n_components in (2, 0.8):
        metric = FeatureMetric.from_agop(found, n_components)
        assert_allclose(metric.to_array() ** 2, [0, 0.5, 1], atol=1e-15)
    assert_allclose(found.squares, [1, 2, 4])


def test_eigenvalues_of_rounding_errors_are_left_out(rng):
    direction = rng.normal(size=4)
    noise = 1e-14 * np.diag([1.0, -1.0, 1.0, -1.0])
    G = np.outer(direction, direction) + noise
    metric = FeatureMetric.from_agop(Agop(products=G))
    assert metric.to_array().shape == (1, 4)


@pytest.mark.parametrize(
    ("form", "shape"), [("squares", (3,)), ("products", (3, 3)), ("factor", (2, 3))]
)
def test_a_zero_or_nan_agop_has_no_metric(form, shape):
    for value in (0.0, np.nan):
        found = Agop(**{form: np.full(shape, value)})
        assert FeatureMetric.from_agop(found) is None


def test_a_diagonal_entry_just_below_zero():
    """Centring subtracts two sums, so an idle feature may end just below zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Agop(squares=np.array([1.0, -1e-17, 0.5]))
        metric = FeatureMetric.from_agop(found)
    assert_allclose(metric.to_array() ** 2, [1, 0, 0.5], atol=1e-15)


@every_distance
def test_pull_back_is_the_agop_in_x(kernel, gradient_matrix, predictor):
    """Gradients in x by finite differences of x → f(Aᵀx)."""
    X, coef, _ = predictor
    weights = Agop(squares=np.array([1.0, 0.2, 4.0, 0.5]))
    metrics = [FeatureMetric.from_agop(weights)]
    if not kernel.coordinatewise:
        full = Agop(products=gradient_matrix)
        metrics += [FeatureMetric.from_agop(full), FeatureMetric.from_agop(full, 2)]
    backend = NumpyBackend()
    for metric in metrics:
        A = metric.to_array().T
        A = np.diag(A) if A.ndim == 1 else A
        T = metric.transform(X, backend)
        J = finite_difference_gradients(kernel, T, coef, BANDWIDTH) @ A.T
        expected = agop(J)
        got = metric.pull_back(find_agop(backend, kernel, T, coef, np.ones(N)))
        assert_allclose(as_array(got), expected, atol=1e-6 * np.abs(expected).max())
        if metric.components.ndim == 1:
            G = find_agop(backend, kernel, T, coef, np.ones(N), diagonal=True)
            got = as_array(metric.pull_back(G))
            assert_allclose(got, np.diag(expected), rtol=1e-6)


def test_pull_back_of_a_diagonal_by_a_truncated_metric(predictor):
    X, coef, _ = predictor
    weights = Agop(squares=np.array([1.0, 0.2, 4.0, 0.5]))
    metric = FeatureMetric.from_agop(weights, 2)
    backend = NumpyBackend()
    T = metric.transform(X, backend)
    full = metric.pull_back(find_agop(backend, Laplace(), T, coef, np.ones(N)))
    G = find_agop(backend, Laplace(), T, coef, np.ones(N), diagonal=True)
    expected = np.diag(as_array(full))
    assert_allclose(as_array(metric.pull_back(G)), expected, atol=1e-14)


def test_any_root_gives_the_same_kernel(gradient_matrix, rng):
    """The root by eigenvectors and the symmetric one differ by a rotation of t."""
    X = rng.normal(size=(7, 4))
    metric = FeatureMetric.from_agop(Agop(products=gradient_matrix))
    M = gradient_matrix / np.diag(gradient_matrix).max()
    backend = NumpyBackend()
    T, S = metric.transform(X, backend), X @ symmetric_root(M)
    assert not np.allclose(T, S)
    ours = backend.cross(Laplace(), T, T, BANDWIDTH)
    assert_allclose(ours, backend.cross(Laplace(), S, S, BANDWIDTH), rtol=1e-12)


# -- fewer gradients than columns ----------------------------------------------------


WIDE = 30


@pytest.fixture
def wide(rng):
    """Rows with more columns than gradients, coefficients and weights."""
    T = rng.normal(size=(8, WIDE))
    T[2] = T[5]
    return T, rng.normal(size=(8, C)), rng.uniform(0.5, 3, size=8)


def dense_form(found):
    """Return the same AGOP without a factor."""
    G = found.factor.T @ found.factor
    return Agop(products=G, squares=found.squares)


def assert_same_metric(got, expected):
    assert got.to_array().shape == expected.to_array().shape
    assert_allclose(got.to_array(), expected.to_array(), rtol=0, atol=1e-9)
    assert_allclose(got.diagonal(), expected.diagonal(), rtol=0, atol=1e-9)


@every_kernel
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_factor_of_a_wide_agop(kernel, centered, some, backend, wide):
    T, coef, weight = wide
    rows = np.array([0, 2, 3, 7]) if some else None
    found = find_agop(backend, kernel, T, coef, weight, centered=centered, rows=rows)
    assert found.products is None
    assert found.factor.dtype == np.float64
    if kernel.coordinatewise:
        assert found.factor.shape == ((4 if some else 8) * C, WIDE)
    else:  # in the span of the rows, of which two are equal
        assert found.factor.shape[0] <= 8
    kept = slice(None) if rows is None else rows
    J = gradients(kernel, T, coef, BANDWIDTH)[kept]
    expected = agop(J, weight[kept], centered=centered)
    tolerance = 1e-12 * np.abs(expected).max()
    assert_allclose(as_array(found), expected, rtol=0, atol=tolerance)
    assert_allclose(found.diagonal(), np.diag(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_factors_are_used_below_as_many_gradients_as_columns(outputs, backend, rng):
    for k, factored in ((6 * outputs, False), (6 * outputs + 1, True)):
        T, coef = rng.normal(size=(6, k)), rng.normal(size=(6, outputs))
        found = find_agop(backend, L1Laplace(), T, coef, np.ones(6))
        assert (found.factor is not None) is (factored and not found.squares.size)
        J = gradients(L1Laplace(), T, coef, BANDWIDTH)
        assert_allclose(as_array(found), agop(J), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_factor_has_at_most_as_many_rows_as_the_table(
    outputs, diagonal, backend, rng
):
    for k, factored in ((6, False), (7, True)):
        T, coef = rng.normal(size=(6, k)), rng.normal(size=(6, outputs))
        found = find_agop(backend, Laplace(), T, coef, np.ones(6), diagonal=diagonal)
        expected = agop(gradients(Laplace(), T, coef, BANDWIDTH))
        if diagonal:
            assert_allclose(found.squares, np.diag(expected), rtol=1e-9, atol=1e-13)
            continue
        assert (found.factor is not None) is factored
        assert not factored or len(found.factor) < 6  # gradients have no mean row
        assert_allclose(as_array(found), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("n_components", [None, 1, 3, 0.5, 0.99])
@pytest.mark.parametrize("n_unmixed", [0, 4])
@pytest.mark.parametrize("eps", [0.0, float(np.finfo(np.float32).eps)])
def test_metric_of_a_factor_equals_that_of_the_matrix(
    n_components, n_unmixed, eps, rng
):
    scales = np.array([1, 1e-1, 1e-2, 1e-4, 1e-6, 0])[:, None]
    m = WIDE - n_unmixed
    found = Agop(
        factor=scales * rng.normal(size=(6, m)), squares=rng.uniform(size=n_unmixed)
    )
    got = FeatureMetric.from_agop(found, n_components, eps=eps)
    expected = FeatureMetric.from_agop(dense_form(found), n_components, eps=eps)
    assert_same_metric(got, expected)


def test_metric_of_a_factor_of_zeros_beside_weights():
    found = Agop(factor=np.zeros((2, 5)), squares=np.array([4.0, 1.0]))
    metric = FeatureMetric.from_agop(found)
    assert_array_equal(metric.to_array(), np.eye(7)[5:] * [[1], [0.5]])


def test_pull_back_by_few_components_gives_a_factor(rng):
    A = rng.normal(size=(4, WIDE))
    J = rng.normal(size=(20, 4))
    metric, expected = FeatureMetric(components=A), A.T @ J.T @ J @ A
    for found in (Agop(products=J.T @ J), Agop(factor=J)):
        got = metric.pull_back(found)
        assert got.products is None
        assert_allclose(as_array(got), expected, rtol=1e-10, atol=1e-10)
    weighted = FeatureMetric(components=A, weights=np.array([2.0, 3.0]))
    got = weighted.pull_back(Agop(products=J.T @ J, squares=np.ones(2)))
    assert got.products is None
    assert_allclose(as_array(got)[:WIDE, :WIDE], expected, rtol=1e-10, atol=1e-10)
    assert_allclose(got.squares, [4, 9])


@every_distance
def test_two_rounds_by_both_routes(kernel, backend, wide):
    """The metric of a wide table, and the next one made from its mapped rows."""
    X, coef, weight = wide
    by_factor, dense = FeatureMetric(), FeatureMetric()
    for _ in range(2):
        T = by_factor.transform(backend.asarray(X), backend)
        found = find_agop(backend, kernel, backend.to_numpy(T), coef, weight)
        found = by_factor.pull_back(found)
        assert found.factor.shape[1] == WIDE
        by_factor = FeatureMetric.from_agop(found)
        T = backend.to_numpy(dense.transform(backend.asarray(X), backend))
        G = agop(gradients(kernel, T, coef, BANDWIDTH), weight)
        A = np.eye(WIDE) if dense.components is None else dense.components
        dense = FeatureMetric.from_agop(Agop(products=A.T @ G @ A))
        assert_same_metric(by_factor, dense)


def test_negligible_entries_of_a_diagonal_metric_are_zero():
    squares = np.array([2.0, 1e-31, 1e-33, -1e-20])
    metric = FeatureMetric.from_agop(Agop(squares=squares))
    assert_allclose(metric.components, [1, np.sqrt(5e-32), 0, 0])


def test_columns_without_influence_become_no_denormal_numbers(rng):
    X = rng.normal(size=(120, 30)).astype(np.float32)
    y = np.sin(2 * X[:, 0])
    machine = RFMRegressor(
        kernel="gaussian", metric_type="diag", alpha=0.01, max_iter=12, validation=None
    ).fit(X, y)
    mapped = np.abs(machine.transform(X))
    assert mapped[mapped > 0].min() > 1e-30
    assert (machine.components_ == 0).sum() > 20
