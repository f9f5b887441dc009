"""Predicted errors of kernel machines, and labels that are likely to be wrong."""

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq
from sklearn.datasets import load_digits, make_friedman1
from sklearn.metrics import roc_auc_score

from skrfm import RFMClassifier, RFMRegressor, XRFMRegressor
from skrfm.inspection import (
    KernelRiskDisplay,
    kernel_risk,
    label_noise_scores,
    ridge_risk,
)
from skrfm.kernels import NTK, Laplace

matplotlib.use("agg")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order]


def ridge_outputs(K, cross, Y, alpha):
    """Return the outputs of kernel ridge regression."""
    return cross @ np.linalg.solve(K + alpha * np.eye(len(K)), Y)


# -- the formulas ------------------------------------------------------------------


def naive_risk(values, power, n, alpha, noise=0.0):
    """Return the published formula for infinitely many rows, written out."""

    def excess(log_kappa):
        kappa = np.exp(log_kappa)
        return sum(v / (v + kappa) for v in values) + alpha / kappa - n

    kappa = np.exp(brentq(excess, -60, 30, xtol=1e-13))
    bias = sum(
        (kappa / (v + kappa)) ** 2 * p for v, p in zip(values, power, strict=True)
    )
    q = sum((v / (v + kappa)) ** 2 for v in values)
    return (bias + noise) / (1 - q / n)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("n", [1, 7, 25])
def test_risk_is_that_of_the_published_formula(n, alpha):
    values, power = np.arange(1.0, 41) ** -1.5, np.arange(1.0, 41) ** -2.0
    found = ridge_risk(values, power, n, alpha, noise=0.3)
    assert_allclose(found, naive_risk(values, power, n, alpha, 0.3), rtol=1e-9)


def test_a_large_pool_is_infinitely_many_rows():
    values, power = np.arange(1.0, 41) ** -1.5, np.arange(1.0, 41) ** -2.0
    pool = ridge_risk(values, power, 20, 0.1, n_pool=10**9)
    assert_allclose(pool, ridge_risk(values, power, 20, 0.1), rtol=1e-6)


def test_many_random_features_are_the_kernel():
    values, power = np.arange(1.0, 401) ** -1.5, np.arange(1.0, 401) ** -2.0
    kernel = ridge_risk(values, power, 50, 0.1, noise=0.2)
    features = ridge_risk(values, power, 50, 0.1, noise=0.2, n_features=[1e3, 1e8])
    assert_allclose(features[1], kernel, rtol=1e-5)
    assert features[0] > kernel


def test_the_risk_without_a_ridge_has_its_limits():
    values, power = np.ones(10), np.full(10, 0.1)
    risk = ridge_risk(values, power, [10, 11, 20, 1e9], 0.0, noise=0.5)
    assert risk[0] == np.inf
    # (1 - q / n) of ordinary least squares, q = rank
    assert_allclose(risk[1:], 0.5 / (1 - 10 / np.array([11, 20, 1e9])))
    assert ridge_risk(values, power, 11, 0.0) == 0
    # as many features as rows interpolate; fewer are least squares
    features = ridge_risk(values, power, 5, 0.0, noise=0.5, n_features=[5, 9])
    assert features[0] == np.inf
    assert np.isfinite(features[1])
    small = [
        ridge_risk(values, power, 30, a, noise=0.5, n_features=5) for a in (0, 1e-9)
    ]
    assert_allclose(small[0], small[1], rtol=1e-6)


def test_rounding_errors_of_eigenvalues_are_zeros():
    values, power = np.array([1.0, 0.5, -1e-17, 1e-17]), np.full(4, 0.25)
    exact = ridge_risk([1.0, 0.5, 0, 0], power, 3, 0.0)
    assert ridge_risk(values, power, 3, 0.0) == exact == 0.5 / (1 - 2 / 3)


def test_outputs_are_summed(rng):
    values, power = np.arange(1.0, 31) ** -1.5, rng.random((30, 3))
    single = sum(ridge_risk(values, power[:, i], 12, [0.1, 1]) for i in range(3))
    assert_allclose(ridge_risk(values, power, 12, [0.1, 1]), single)


def test_random_features_of_a_gaussian_design(rng):
    d, n, m, n_test = 120, 60, 40, 4000
    scales = np.arange(1.0, d + 1) ** -1.2
    w = np.arange(1.0, d + 1) ** -0.5
    power = scales * w**2
    errors = []
    for _ in range(30):
        X = rng.normal(size=(n, d)) * np.sqrt(scales)
        new = rng.normal(size=(n_test, d)) * np.sqrt(scales)
        y = X @ w + 0.3 * rng.normal(size=n)
        F = rng.normal(size=(d, m)) / np.sqrt(m)
        A, B = X @ F, new @ F
        f = B @ np.linalg.solve(A.T @ A + 0.05 * np.eye(m), A.T @ y)
        errors.append(np.mean((f - new @ w) ** 2) + 0.3**2)
    found = ridge_risk(scales, power, n, 0.05, noise=0.3**2, n_features=m)
    assert_allclose(found, np.mean(errors), rtol=0.05)


def test_a_pool_of_a_gaussian_design(rng):
    """The finite pool: n rows drawn from P, tested on the others of the P."""
    P, d = 400, 500
    X = rng.normal(size=(P, d)) * np.arange(1.0, d + 1) ** -0.6
    y = X @ rng.normal(size=d) * 0.3 + 0.5 * rng.normal(size=P)
    y -= y.mean()
    K = X @ X.T
    values, vectors = np.linalg.eigh(K)
    power = (vectors.T @ y) ** 2 / P
    errors = []
    for n in (40, 120, 240, 360):
        for alpha in (0.01, 0.1, 1.0):
            measured = []
            for _ in range(60):
                order = rng.permutation(P)
                train, rest = order[:n], order[n:]
                f = ridge_outputs(
                    K[np.ix_(train, train)], K[np.ix_(rest, train)], y[train], alpha
                )
                measured.append(np.mean((f - y[rest]) ** 2))
            found = ridge_risk(values / P, power, n, alpha, n_pool=P)
            errors.append(found / np.mean(measured) - 1)
    assert np.median(np.abs(errors)) <= 0.03
    assert np.max(np.abs(errors)) <= 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be positive"),
        ({"n": 11, "n_pool": 10}, "n reaches 11, but .* n_pool=10"),
        ({"alpha": -1}, "alpha must be from 0 up"),
        ({"alpha": np.nan}, "alpha must be"),
        ({"noise": -1}, "noise must be"),
        ({"noise": 1, "n_pool": 10}, "noise must be 0 with n_pool"),
        ({"n_features": 5, "n_pool": 10}, "n_features needs n_pool=None"),
        ({"n_features": 0}, "n_features must be positive"),
        ({"eigenvalues": [0.0, 0.0]}, "eigenvalues must be positive"),
        ({"eigenvalues": [1.0, np.inf]}, "eigenvalues must be finite"),
        ({"target_power": [1.0]}, "target_power must have shape"),
        ({"target_power": [1.0, -1.0]}, "target_power must be finite and not"),
    ],
)
def test_bad_arguments_of_the_formulas_are_refused(change, message):
    arguments = {
        "eigenvalues": [1.0, 0.5],
        "target_power": [1.0, 1.0],
        "n": 5,
        "alpha": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        ridge_risk(**arguments | change)


# -- a pool of labelled rows --------------------------------------------------------


def direct_cross_validation(K, Y, alpha):
    """Return the generalised cross-validation and the leave-one-out error, summed."""
    inverse = np.linalg.inv(K + alpha * np.eye(len(K)))
    coef, diagonal = inverse @ Y, np.diag(inverse)
    gcv = np.mean(coef**2, axis=0).sum() / diagonal.mean() ** 2
    return gcv, np.mean((coef / diagonal[:, None]) ** 2, axis=0).sum()


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 0.1, 10.0])
def test_at_all_rows_the_risk_is_cross_validation(digits, alpha):
    X, y = digits[0][:150], digits[1][:150]
    risk = kernel_risk("laplace", X, y.astype(str), train_sizes=[150], bandwidth=20.0)
    Y = np.eye(10)[y] - np.eye(10)[y].mean(axis=0)
    K = Laplace().kernel_matrix(X, bandwidth=20.0)
    gcv, loo = direct_cross_validation(K, Y, alpha)
    assert_allclose(risk.predict(150, alpha, corrected=False), gcv, rtol=1e-8)
    assert_allclose(risk.predict(150, alpha), loo, rtol=1e-8)


def test_risk_of_digits(digits):
    """Three sizes, three ridges: means of eight draws, tested on other rows."""
    X, y = digits
    pool, sizes, alphas = slice(0, 600), [60, 150, 300], [1e-3, 0.1, 1.0]
    scale = {"bandwidth": "median", "alphas": alphas, "train_sizes": sizes}
    risk = kernel_risk("laplace", X[pool], y[pool].astype(str), **scale)
    squares = (X**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))
    K = np.exp(-distances / np.median(distances[pool, pool][np.tri(600, k=-1) > 0]))
    Y, rng = np.eye(10)[y], np.random.default_rng(1)
    measured = np.zeros((8, 3, 3))
    for draw, i in np.ndindex(8, 3):
        order = 600 + rng.permutation(len(y) - 600)
        train, test = order[: sizes[i]], order[sizes[i] :]
        mean = Y[train].mean(axis=0)
        for j, alpha in enumerate(alphas):
            parts = K[np.ix_(train, train)], K[np.ix_(test, train)]
            f = mean + ridge_outputs(*parts, Y[train] - mean, alpha)
            measured[draw, i, j] = ((f - Y[test]) ** 2).sum(axis=1).mean()
    error = np.abs(risk.risk / measured.mean(axis=0) - 1)
    assert np.median(error) <= 0.04
    assert error.max() <= 0.10
    assert_array_equal(
        risk.best_alpha, np.array(alphas)[measured.mean(axis=0).argmin(1)]
    )


def test_predictions_agree_with_the_table(digits):
    X, y = digits[0][:200], digits[1][:200]
    risk = kernel_risk("gaussian", X, y, train_sizes=[20, 100, 200])
    assert risk.risk.shape == risk.kappa.shape == (3, 15)
    assert_allclose(risk.predict([[20], [100], [200]], risk.alphas), risk.risk)
    assert isinstance(risk.predict(50, 0.1), float)
    best = [
        risk.predict(n, a) for n, a in zip([20, 100, 200], risk.best_alpha, strict=True)
    ]
    assert_allclose(risk.best_risk, best)
    # κ (n − df) = α (1 − df / P)
    n, df = np.array([[20], [100], [200]]), risk.effective_dimension
    assert_allclose(risk.kappa * (n - df), risk.alphas * (1 - df / 200), rtol=1e-8)
    assert (np.diff(risk.best_risk) < 0).all()


def test_the_standard_error_is_that_of_leave_one_out(digits):
    X, y = digits[0][:150], digits[1][:150].astype(float)
    options = {"bandwidth": 20.0, "alphas": [0.1, 1.0]}
    risk = kernel_risk("laplace", X, y, train_sizes=[150], **options)
    K = Laplace().kernel_matrix(X, bandwidth=20.0)
    for alpha, error in zip([0.1, 1.0], risk.standard_error[0], strict=True):
        inverse = np.linalg.inv(K + alpha * np.eye(150))
        squares = (inverse @ (y - y.mean()) / np.diag(inverse)) ** 2
        assert_allclose(error, squares.std() / 150**0.5, rtol=1e-8)


@pytest.mark.parametrize("tail", [False, True])
def test_the_standard_error_is_the_spread_over_pools(tail, rng):
    """Of targets with and without rare large values."""
    risks, errors = [], []
    for _ in range(40):
        X = rng.normal(size=(150, 3))
        noise = rng.standard_t(4, size=150) if tail else 0.7 * rng.normal(size=150)
        y = np.sin(X[:, 0]) + noise
        risk = kernel_risk("laplace", X, y, train_sizes=[75], alphas=[1.0])
        risks.append(risk.risk.item())
        errors.append(risk.standard_error.item())
    assert_allclose(np.mean(errors), np.std(risks), rtol=0.35)


@pytest.mark.parametrize("alpha", [1e-3, 0.1])
def test_random_features_of_digits(digits, alpha):
    """Fourier features of a Gaussian kernel, means of twelve draws."""
    X, y = digits
    risk = kernel_risk(
        "gaussian", X[:600], y[:600].astype(str), train_sizes=[100], bandwidth=45.0
    )
    X, Y, rng = X[600:], np.eye(10)[y[600:]], np.random.default_rng(2)
    measured = []
    for m in (30, 100, 800):
        errors = []
        for _ in range(12):
            angles = X @ rng.normal(size=(64, m)) / 45
            Z = np.sqrt(2 / m) * np.cos(angles + rng.uniform(0, 2 * np.pi, size=m))
            order = rng.permutation(len(X))
            train, test = order[:100], order[100:]
            mean = Y[train].mean(axis=0)
            parts = Z[train] @ Z[train].T, Z[test] @ Z[train].T
            f = mean + ridge_outputs(*parts, Y[train] - mean, alpha)
            errors.append(((f - Y[test]) ** 2).sum(axis=1).mean())
        measured.append(np.mean(errors))
    found = risk.predict(100, alpha, n_features=[30, 100, 800])
    assert_allclose(found, measured, rtol=0.2 if alpha < 0.1 else 0.1)
    assert_allclose(risk.predict(100, alpha, n_features=1e9), risk.predict(100, alpha))
    plain = risk.predict(100, alpha, n_features=30, corrected=False)
    values, power = risk._pool.spectrum.values, risk._pool.spectrum.power
    assert plain == ridge_risk(values, power, 100, alpha, n_features=30)


def test_a_fitted_machine_has_a_kernel_a_metric_and_an_encoding(rng):
    pd = pytest.importorskip("pandas")
    X, y = make_friedman1(300, noise=0.5, random_state=0)
    X = pd.DataFrame(X).add_prefix("x")
    X["c"] = pd.Categorical(rng.choice(["u", "v"], size=300))
    options = {"kernel": "laplace", "max_iter": 1, "validation": "loo", "n_machines": 1}
    model = RFMRegressor(**options, random_state=0).fit(X[:150], y[:150])
    risk = kernel_risk(model, X, y, train_sizes=[100, 300])
    T = model.transform(X)
    K = model.kernel_.kernel_matrix(T, bandwidth=model.bandwidth_)
    Y = (y - y.mean())[:, None]
    assert_allclose(
        risk.predict(300, 0.1), direct_cross_validation(K, Y, 0.1)[1], rtol=1e-8
    )


def test_a_classifier_has_indicators_as_targets(digits):
    X, y = digits[0][:120], digits[1][:120] > 4
    options = {"kernel": "laplace", "max_iter": 0, "validation": None, "alpha": 0.1}
    model = RFMClassifier(**options).fit(X, y)
    risk = kernel_risk(model, X, y, train_sizes=[120], alphas=[0.1])
    K = model.kernel_.kernel_matrix(model.X_fit_, bandwidth=model.bandwidth_)
    Y = np.column_stack([~y, y]).astype(float)
    _, loo = direct_cross_validation(K, Y - Y.mean(axis=0), 0.1)
    assert_allclose(risk.risk, [[loo]], rtol=1e-8)


def test_rows_of_inner_product_kernels_are_centred(digits):
    X, y = digits[0][:80], digits[1][:80]
    risks = [
        kernel_risk(NTK(), rows, y, train_sizes=[40], bandwidth=3.0).risk
        for rows in (X, X + 5)
    ]
    assert_allclose(*risks, rtol=1e-8)


def test_duplicate_rows_leave_zeros_among_the_eigenvalues(digits):
    X, y = digits[0][:60], digits[1][:60].astype(str)
    risk = kernel_risk("laplace", np.vstack([X, X]), [*y, *y], train_sizes=[30, 119])
    assert np.isfinite(risk.risk).all()
    assert (risk.predict([10, 60, 120], 0.0) >= 0).all()


def test_more_rows_than_the_most_are_sampled(digits):
    X, y = digits
    first, second = (
        kernel_risk("laplace", X, y, train_sizes=[50], max_rows=100, random_state=seed)
        for seed in (0, 0)
    )
    assert first.n_pool == 100
    assert_array_equal(first.risk, second.risk)


def test_extrapolation_follows_a_power_law(digits):
    X, y = digits
    small = kernel_risk("laplace", X[:400], y[:400].astype(str), train_sizes=[200])
    large = kernel_risk("laplace", X[:1600], y[:1600].astype(str), train_sizes=[1200])
    assert_allclose(small.extrapolate(200), small.best_risk[0], rtol=0.02)
    assert_allclose(small.extrapolate([1200]), large.best_risk, rtol=0.25)
    assert isinstance(small.extrapolate(800), float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_sizes": [81]}, "train_sizes must be a list of integers from 1 to 80"),
        ({"train_sizes": [0.5]}, "train_sizes must be a list of integers"),
        ({"train_sizes": 10}, "train_sizes must be a list of integers"),
        ({"alphas": 0.1}, "alphas must be a list"),
        ({"alphas": [-1.0]}, "alpha must be from 0 up"),
        ({"max_rows": 1}, "max_rows must be at least 2"),
        ({"bandwidth": "mean"}, "bandwidth must be"),
        ({"estimator": "laplacian"}, "Unknown kernel"),
        ({"y": np.full(80, np.nan)}, "y contains NaN"),
        ({"X": np.full((80, 2), np.nan)}, "Input X contains NaN"),
        ({"X": np.full((80, 1), "a", dtype=object)}, "Column 0 of X: .*encode it"),
    ],
)
def test_bad_arguments_are_refused(digits, change, message):
    arguments = {"estimator": "laplace", "train_sizes": [40]}
    arguments |= {"X": digits[0][:80], "y": digits[1][:80]}
    with pytest.raises(ValueError, match=message):
        kernel_risk(**arguments | change)


def test_other_estimators_are_refused(digits):
    with pytest.raises(TypeError, match="kernel_risk supports a fitted RFMRegressor"):
        kernel_risk(XRFMRegressor(), *digits, train_sizes=[10])
    with pytest.raises(ValueError, match="not fitted"):
        kernel_risk(RFMRegressor(), *digits, train_sizes=[10])


def test_display(digits):
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y = digits[0][:150], digits[1][:150]
    _, ax = plt.subplots()
    display = KernelRiskDisplay.from_estimator(
        "laplace", X, y, train_sizes=[100, 20, 50], alphas=[0.1, 1.0], ax=ax
    )
    assert display.ax_ is ax and display.figure_ is ax.figure
    assert list(display.line_) == [0.1, 1.0]
    assert_array_equal(display.line_[1.0].get_xdata(), [20, 50, 100])
    assert_array_equal(display.line_[1.0].get_ydata(), display.risk.risk[[1, 2, 0], 1])
    assert_array_equal(
        display.best_line_.get_ydata(), display.risk.best_risk[[1, 2, 0]]
    )
    risk = display.risk
    chosen = np.searchsorted(risk.alphas, risk.best_alpha)
    share = (risk.standard_error / risk.risk)[np.arange(3), chosen]
    (band,) = display.band_.get_paths()
    edges = [band.vertices[band.vertices[:, 0] == n, 1] for n in risk.train_sizes]
    ratios = [np.log(values.max() / values.min()) / 2 for values in edges]
    assert_allclose(ratios, share)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["20", "50", "100"]
    plt.close(ax.figure)


# -- wrong labels -------------------------------------------------------------------


def flipped(y, share, seed=0):
    """Return labels of which a share is replaced by others, and which."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(y)) < share
    return np.where(wrong, (y + rng.integers(1, 10, size=len(y))) % 10, y), wrong


def test_scores_are_leave_one_out_margins(digits):
    X, y = digits[0][:60], digits[1][:60]
    Y = np.eye(10)[y]
    K = Laplace().kernel_matrix(X, bandwidth=30.0)
    expected = np.empty(60)
    for i in range(60):
        others = np.delete(np.arange(60), i)
        centred = Y - Y.mean(axis=0)
        f = ridge_outputs(K[np.ix_(others, others)], K[i, others], centred[others], 0.5)
        f = f + Y.mean(axis=0)
        expected[i] = np.delete(f, y[i]).max() - f[y[i]]
    scores = label_noise_scores("laplace", X, y, alphas=[0.5], bandwidth=30.0)
    assert_allclose(scores, expected, rtol=1e-9)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_wrong_labels_are_found(digits, share):
    X, y = digits[0][:1200], digits[1][:1200]
    noisy, wrong = flipped(y, share)
    assert roc_auc_score(wrong, label_noise_scores("laplace", X, noisy)) > 0.998


def test_wrong_labels_are_found_in_a_learned_metric(digits):
    X, y = digits[0][:300], digits[1][:300]
    noisy, wrong = flipped(y, 0.2)
    names = np.array(list("abcdefghij"))[noisy]
    model = RFMClassifier(
        kernel="laplace", max_iter=1, validation="loo", random_state=0
    ).fit(X, names)
    assert roc_auc_score(wrong, label_noise_scores(model, X, names)) > 0.97


def test_bad_labels_are_refused(digits):
    X, y = digits[0][:50], digits[1][:50]
    with pytest.raises(ValueError, match="two classes or more"):
        label_noise_scores("laplace", X, np.zeros(50, dtype=int))
    with pytest.raises(ValueError, match="Unknown label type"):
        label_noise_scores("laplace", X, y + 0.5)
    with pytest.raises(ValueError, match="50 and 49 rows"):
        label_noise_scores("laplace", X, y[:49])
    with pytest.raises(ValueError, match="alphas must be a list"):
        label_noise_scores("laplace", X, y, alphas=[-1])
