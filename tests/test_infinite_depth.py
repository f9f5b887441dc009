"""Networks of infinite depth: their limits, and the classifier that they become."""

import numpy as np
import pytest
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import LeaveOneOut
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils import estimator_checks
from threadpoolctl import threadpool_limits

from skrfm import RFMClassifier, SingularKernelClassifier
from skrfm.kernels import (
    NNGP,
    DualActivation,
    _votes,
    infinite_depth_limit,
    singular_activation,
)

EXPONENTS = (0, 0.5, 2, 7, 40, np.inf)


@parametrize_with_checks(
    [
        SingularKernelClassifier(),
        SingularKernelClassifier(
            exponent="dimension", scaling=None, scoring="accuracy"
        ),
    ]
)
def test_estimator_checks(estimator, check):
    with threadpool_limits(1):
        check(estimator)


@pytest.mark.parametrize("name", [c for c in EXTRA_CHECKS if "transform" not in c])
def test_further_estimator_checks(name):
    check = getattr(estimator_checks, name)
    check("SingularKernelClassifier", SingularKernelClassifier())


# -- the limit of an activation ----------------------------------------------------


def moments(function, n_nodes=150):
    """Return ψ(0), ψ'(0) and ψ'(1) of an activation by Gauss-Hermite quadrature.

    ψ(c) is the sum of c^k times the squared coefficients of the activation in
    normalised Hermite polynomials.
    """
    u, weight = np.polynomial.hermite_e.hermegauss(n_nodes)
    weight = weight / weight.sum()
    f = function(u)
    f = f / np.sqrt(weight @ f**2)
    step = 1e-5
    slope = (function(u + step) - function(u - step)) / (2 * step)
    slope = slope / np.sqrt(weight @ function(u) ** 2)
    return (weight @ f) ** 2, (weight @ (f * u)) ** 2, weight @ slope**2


@pytest.mark.parametrize(
    ("name", "function"), [("erf", erf), ("sin", np.sin)], ids=["erf", "sin"]
)
def test_exponent_is_that_of_the_moments_of_the_activation(name, function):
    at_zero, slope_at_zero, slope_at_one = moments(function)
    assert at_zero < 1e-12
    limit = infinite_depth_limit(name)
    assert limit.kind == "singular"
    expected = -2 * np.log(slope_at_zero) / np.log(slope_at_one)
    assert_allclose(limit.exponent, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind", "exponent"),
    [
        ("relu", "majority", 0),
        ("leaky_relu(0.2)", "majority", 0),
        ("hermite(2)", "nearest_neighbor", np.inf),
        ("hermite(5)", "nearest_neighbor", np.inf),
    ],
)
def test_other_kinds_of_limits(name, kind, exponent):
    limit = infinite_depth_limit(name)
    assert (limit.kind, limit.exponent) == (kind, exponent)


@pytest.mark.parametrize("name", ["leaky_relu(1)", "hermite(1)"])
def test_linear_networks_have_no_limit(name):
    with pytest.raises(ValueError, match="is linear"):
        infinite_depth_limit(name)


def test_an_impossible_dual_activation_is_refused():
    class Negative(DualActivation):
        def value(self, K, a, c, xp):
            return K - 0.5 * a * c

        def slope(self, K, a, c, xp):
            return xp.ones_like(K)

    with pytest.raises(ValueError, match="F\\(0, 1, 1\\) >= 0"):
        infinite_depth_limit(Negative())


@pytest.mark.parametrize("degree", [2, 3, 5])
@pytest.mark.parametrize("exponent", [2.5, 4, 12, 128])
def test_singular_activation_has_the_exponent(exponent, degree):
    activation = singular_activation(exponent, degree)
    assert_allclose(infinite_depth_limit(activation).exponent, exponent, rtol=1e-9)
    # ψ is a mixture of c and c^degree
    cos = np.linspace(-1, 1, 9)
    p = activation.slope(np.zeros(1), np.ones(1), np.ones(1), np)[0]
    if degree > 2:
        assert_allclose(p, activation.share, rtol=1e-12)
    psi = activation.value(cos, np.ones(9), np.ones(9), np)
    assert_allclose(psi, activation.share * cos + (1 - activation.share) * cos**degree)


def test_gradients_of_the_singular_activation_are_those_of_differences():
    activation = singular_activation(4)
    K, a, c, h = np.array([0.3]), np.array([1.2]), np.array([0.8]), 1e-5
    in_a, second, mixed, _ = activation.gradients(K, a, c, np)

    def difference(function, *steps):
        up = function(K + steps[0], a + steps[1], c, np)
        down = function(K - steps[0], a - steps[1], c, np)
        return (up - down) / (2 * h)

    assert_allclose(in_a, difference(activation.value, 0, h), rtol=1e-8)
    assert_allclose(second, difference(activation.slope, h, 0), rtol=1e-8)
    assert_allclose(mixed, difference(activation.slope, 0, h), rtol=1e-8)


@pytest.mark.parametrize(
    ("exponent", "degree", "message"),
    [
        (1, 3, r"above 2 / \(degree - 1\) = 1"),
        (np.inf, 3, "exponent must be"),
        ("4", 3, "exponent must be"),
        (4, 1, "degree must be an integer"),
        (4, 2.5, "degree must be an integer"),
        (1e4, 3, "underflows"),
    ],
)
def test_exponents_without_an_activation_are_refused(exponent, degree, message):
    with pytest.raises(ValueError, match=message):
        singular_activation(exponent, degree)


@pytest.mark.parametrize("exponent", [4, 12])
def test_a_network_of_depth_10_agrees_with_its_limit(exponent):
    X, y = load_digits(return_X_y=True)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    train, test = X[:900], X[900:]
    activation, one = singular_activation(exponent), np.ones(1)
    # NNGP keeps the gaps 1 - cos, not covariances that are as small as these become
    K, cross = train @ train.T, test @ train.T
    np.fill_diagonal(K, 1)
    for _ in range(10):
        K, cross = (activation.value(cos, one, one, np) for cos in (K, cross))
    scores = cross @ np.linalg.solve(K, np.eye(10)[y[:900]])
    model = SingularKernelClassifier(exponent=exponent, scaling=None)
    predicted = model.fit(train, y[:900]).predict(test)
    assert np.mean(scores.argmax(axis=1) == predicted) >= 0.99


def test_the_kernel_of_a_network_is_the_iterated_dual(rng):
    X = rng.normal(size=(20, 3))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    activation, one = singular_activation(4), np.ones(1)
    K = X @ X.T
    for _ in range(3):
        K = activation.value(K, one, one, np)
    kernel = NNGP(depth=3, activation=activation)
    assert_allclose(kernel.kernel_matrix(X), K, atol=1e-14)


# -- the classifier ----------------------------------------------------------------


def naive_proba(X, codes, weight, x, exponent, n_classes):
    """Return the votes on one row, pair by pair."""
    squares = [float(((x - z) ** 2).sum()) for z in X]
    if exponent == 0:
        votes = np.ones(len(X))
    elif min(squares) == 0:
        votes = np.array([square == 0 for square in squares], dtype=float)
    elif exponent == np.inf:
        least = min(squares)
        votes = np.array([abs(square / least - 1) < 1e-12 for square in squares])
    else:
        ratio = np.sqrt(min(squares) / np.array(squares))
        votes = ratio**exponent
    proba = np.zeros(n_classes)
    np.add.at(proba, codes, votes * weight)
    return proba / proba.sum()


@pytest.fixture
def grid(rng):
    """Rows on a grid, with duplicates and equal distances, their classes, weights."""
    X = rng.integers(0, 3, size=(50, 3)).astype(float)
    return X, rng.integers(0, 3, size=50), rng.integers(1, 4, size=50).astype(float)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_probabilities_are_those_of_single_pairs(grid, rng, exponent):
    X, codes, weight = grid
    model = SingularKernelClassifier(exponent=exponent, scaling=None)
    model.fit(X, codes, sample_weight=weight)
    new = np.vstack(
        [X[:5], rng.integers(0, 5, size=(5, 3)) + 0.5, rng.normal(size=(5, 3))]
    )
    expected = [naive_proba(X, codes, weight, x, exponent, 3) for x in new]
    assert_allclose(model.predict_proba(new), expected, atol=1e-12)
    assert_array_equal(model.predict(new), np.argmax(model.predict_proba(new), axis=1))


@pytest.mark.parametrize("scoring", ["log_loss", "accuracy"])
@pytest.mark.parametrize("duplicates", [False, True])
def test_leave_one_out_is_that_of_single_fits(grid, rng, scoring, duplicates):
    X, codes, _ = grid
    if not duplicates:
        X = rng.normal(size=X.shape)
    model = SingularKernelClassifier(exponents=EXPONENTS, scoring=scoring, scaling=None)
    model.fit(X, codes)
    for exponent, score in zip(EXPONENTS, model.loo_scores_, strict=True):
        proba = np.empty((50, 3))
        for train, test in LeaveOneOut().split(X):
            single = SingularKernelClassifier(exponent=exponent, scaling=None)
            proba[test] = single.fit(X[train], codes[train]).predict_proba(X[test])
        if scoring == "accuracy":
            expected = accuracy_score(codes, proba.argmax(axis=1))
        else:
            expected = np.log(np.maximum(proba[np.arange(50), codes], 1e-3)).mean()
        assert_allclose(score, expected, rtol=1e-10)
    assert model.exponent_ == EXPONENTS[np.argmax(model.loo_scores_)]


def test_leave_one_out_of_counts_is_that_of_repeats(grid):
    X, codes, weight = grid
    weighted = SingularKernelClassifier().fit(X, codes, sample_weight=weight)
    repeats = weight.astype(int)
    repeated = SingularKernelClassifier().fit(
        np.repeat(X, repeats, axis=0), np.repeat(codes, repeats)
    )
    assert_allclose(weighted.loo_scores_, repeated.loo_scores_, rtol=1e-10)
    assert weighted.exponent_ == repeated.exponent_


def test_the_smallest_of_equally_good_exponents_is_taken():
    X = np.array([[0.0], [0.1], [5.0], [5.1]])
    model = SingularKernelClassifier(exponents=(64, np.inf, 32), scoring="accuracy")
    assert model.fit(X, [0, 0, 1, 1]).exponent_ == 32


def test_infinite_exponent_is_the_nearest_neighbour():
    X, y = load_digits(return_X_y=True)
    model = SingularKernelClassifier(exponent=np.inf).fit(X[:600], y[:600])
    scale = np.where(X[:600].std(axis=0) > 0, X[:600].std(axis=0), np.inf)
    neighbour = KNeighborsClassifier(1).fit(X[:600] / scale, y[:600])
    predicted = neighbour.predict(X[600:1200] / scale)
    assert_array_equal(model.predict(X[600:1200]), predicted)


def test_huge_exponents_neither_overflow_nor_underflow():
    X, y = load_iris(return_X_y=True)
    model = SingularKernelClassifier(exponent=512).fit(X[::2] * 1e-160, y[::2])
    proba = model.predict_proba(X[1::2] * 1e-160)
    assert np.isfinite(proba).all()
    assert_allclose(proba.sum(axis=1), 1)


def test_blocks_of_rows_do_not_change_anything(monkeypatch, classes):
    X, y = classes
    whole = SingularKernelClassifier().fit(X, y)
    expected = whole.predict_proba(X + 0.1)
    monkeypatch.setattr(_votes, "_BLOCK_PAIRS", 7 * len(X))
    parts = SingularKernelClassifier().fit(X, y)
    assert_allclose(parts.loo_scores_, whole.loo_scores_, rtol=1e-12)
    assert_allclose(parts.predict_proba(X + 0.1), expected, rtol=1e-12)


def test_equal_rows_are_found_in_single_precision_and_under_a_metric(rng):
    A = rng.normal(size=(6, 6))
    X = rng.normal(size=(500, 6)).astype(np.float32)
    codes = rng.integers(0, 2, size=500)
    model = SingularKernelClassifier(exponent=3, metric=A).fit(X, codes)
    assert model.X_fit_.dtype == np.float32
    # other sizes of a block have other rounding errors
    alone = np.vstack([model.predict_proba(x[None, :]) for x in X[:40]])
    assert_array_equal(alone, np.eye(2)[codes[:40]])


def test_metric_is_applied_to_scaled_rows(classes, rng):
    X, y = classes
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    for metric in (rng.normal(size=(2, 4)), np.array([1.0, 0.0, 2.0, 0.5])):
        mapped = scaled * metric if metric.ndim == 1 else scaled @ metric.T
        model = SingularKernelClassifier(metric=metric).fit(X, y)
        plain = SingularKernelClassifier(scaling=None).fit(mapped, y)
        assert_allclose(model.X_fit_, plain.X_fit_)
        assert_allclose(model.loo_scores_, plain.loo_scores_)
        dimension = clone(model).set_params(exponent="dimension").fit(X, y)
        assert dimension.exponent_ == (2 if metric.ndim == 2 else 3)


def test_a_fitted_machine_is_a_metric(rng):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"))
    X["d"] = pd.Categorical(rng.choice(["u", "v", "w"], size=120))
    X.loc[3, "a"] = np.nan
    y = np.where(X["b"] + (X["d"] == "u") > 0, "yes", "no")
    machine = RFMClassifier(kernel="laplace", max_iter=2, validation="loo")
    machine.fit(X[:80], y[:80])
    model = SingularKernelClassifier(metric=machine).fit(X[:80], y[:80])
    assert_allclose(model.X_fit_, machine.transform(X[:80]))
    assert list(model.feature_names_in_) == list("abcd")
    assert clone(model).metric is machine
    proba = model.predict_proba(X[80:])
    assert -log_loss(y[80:], proba) > np.log(0.5)
    dimension = clone(model).set_params(exponent="dimension").fit(X[:80], y[:80])
    assert dimension.exponent_ == np.linalg.matrix_rank(machine.components_)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[80:].rename(columns={"a": "z"}))


def test_normalized_rows_are_on_the_sphere(classes):
    X, y = classes
    model = SingularKernelClassifier(scaling=None, normalize=True)
    model.set_params(exponent="dimension").fit(X, y)
    assert_allclose(np.linalg.norm(model.X_fit_, axis=1), 1)
    assert model.exponent_ == 3
    X = X.copy()
    X[[2, 5]] = 0
    with pytest.raises(ValueError, match="2 rows are"):
        model.fit(X, y)


def test_constant_columns_do_not_count(classes):
    X, y = classes
    wide = np.column_stack([X, np.full(len(X), 0.1)])
    model = SingularKernelClassifier(exponent="dimension").fit(wide, y)
    assert model.exponent_ == 4
    plain = SingularKernelClassifier(exponent="dimension").fit(X, y)
    assert_allclose(model.predict_proba(wide + 0.2), plain.predict_proba(X + 0.2))


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_columns_of_any_unit(classes, unit):
    X, y = classes
    plain = SingularKernelClassifier().fit(X, y).predict_proba(X + 0.2)
    X, new = X * [1, unit, 1, 1], (X + 0.2) * [1, unit, 1, 1]
    model = SingularKernelClassifier().fit(X, y)
    assert_allclose(model.predict_proba(new), plain, rtol=1e-7)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"exponents": ()}, "exponents must be a list"),
        ({"exponents": (1, -1)}, "exponents must be a list"),
        ({"exponents": (1, np.nan)}, "exponents must be a list"),
        ({"metric": np.ones((2, 3))}, r"metric must have shape \(k, 4\) or \(4,\)"),
        ({"exponent": -1}, "exponent"),
    ],
)
def test_bad_parameters_are_refused(classes, params, message):
    with pytest.raises(ValueError, match=message):
        SingularKernelClassifier(**params).fit(*classes)


def test_no_weight_at_all_is_refused(classes):
    X, y = classes
    with pytest.raises(ValueError, match="at least one non-zero"):
        SingularKernelClassifier().fit(X, y, sample_weight=np.zeros(len(y)))


def test_one_row_and_one_class():
    model = SingularKernelClassifier().fit([[1.0, 2.0]], ["a"])
    assert_array_equal(model.predict([[3.0, 4.0]]), ["a"])
    assert_array_equal(model.predict_proba([[3.0, 4.0]]), [[1.0]])
