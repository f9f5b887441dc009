"""RFM estimators with fewer centres than rows."""

import pickle

import numpy as np
import pytest
from _estimator_checks import parametrize_with_checks
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMRegressor

ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None, "random_state": 0}


@parametrize_with_checks(
    [
        RFMRegressor(n_centers=20, **ONE),
        # two ridges of one kernel: the checks are about the centres, not the search
        RFMClassifier(
            kernel="laplace",
            alphas=(0.01, 1.0),
            cv=2,
            max_iter=2,
            n_centers=20,
            random_state=0,
        ),
    ],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": (
            "centres are random rows, which repetition changes"
        )
    },
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(900, 5))
    return X, np.sin(2 * X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3]


@pytest.mark.parametrize("max_iter", [0, 2])
def test_all_rows_as_centres_are_the_kernel_machine(max_iter, table):
    X, y = table
    settings = ONE | {"max_iter": max_iter}
    expected = RFMRegressor(**settings).fit(X, y)
    same = RFMRegressor(**settings, n_centers=900).fit(X, y)
    assert_array_equal(same.predict(X), expected.predict(X))
    # without one of the centres only rows near it change
    fewer = RFMRegressor(**settings, n_centers=899).fit(X, y)
    changes = np.abs(fewer.predict(X) - expected.predict(X))
    assert changes.mean() < 3e-3 and np.median(changes) < 2e-3
    assert fewer.X_fit_.shape == (899, 5)


@pytest.mark.parametrize("size", [None, 0, 200])
def test_coefficients_are_those_of_the_normal_equations(size, table, monkeypatch):
    if size is not None:  # rows of the preconditioner, besides the centres
        monkeypatch.setattr(
            "skrfm._recursion._centers.sample_size", lambda n, p, tolerance: size
        )
    X, y = table
    model = RFMRegressor(**ONE, max_iter=1, n_centers=120, scaling=None).fit(X, y)
    assert model.X_fit_.shape == (120, 5) and model.dual_coef_.shape == (120,)

    def kernel(A, B):
        A, B = (model.transform(rows) for rows in (A, B))
        distances = np.sqrt(((A[:, None] - B[None]) ** 2).sum(axis=2))
        return np.exp(-distances / model.bandwidth_)

    K, K_zz = kernel(X, model.X_fit_), kernel(model.X_fit_, model.X_fit_)
    a = np.linalg.solve(K.T @ K + 0.1 * K_zz, K.T @ (y - y.mean()))
    assert_allclose(model.predict(X), K @ a + y.mean(), atol=0.01)


def test_more_rows_help_where_centres_are_given(rng):
    X = rng.normal(size=(4000, 4))
    clean = np.sin(2 * X[:, 0])
    y = clean + 0.5 * rng.normal(size=4000)
    scores = []
    for n in (300, 3000):
        model = RFMRegressor(**ONE, max_iter=3, n_centers=150).fit(X[:n], y[:n])
        scores.append(model.score(X[3000:], clean[3000:]))
    assert 1 - scores[1] < 0.5 * (1 - scores[0])


def test_rounds_learn_the_features(table):
    X, y = table
    noisy = np.concatenate([X, np.random.default_rng(1).normal(size=(900, 6))], axis=1)
    scores = {}
    for max_iter in (0, 3):
        model = RFMRegressor(**ONE, max_iter=max_iter, n_centers=200)
        scores[max_iter] = model.fit(noisy[:600], y[:600]).score(noisy[600:], y[600:])
    assert scores[3] > scores[0] + 0.1
    assert model.feature_importances_[:4].sum() > 0.9


def test_weights_are_repeats_where_the_centres_are_the_same(table, monkeypatch):
    X, y = table
    weight = np.random.default_rng(0).integers(1, 4, size=900)
    rows = np.repeat(np.arange(900), weight)

    def fit(X, y, weight, centers):
        monkeypatch.setattr(
            "skrfm._recursion._placement._choose_centers",
            lambda n, n_centers, seed: centers,
        )
        model = RFMRegressor(**ONE, max_iter=0, n_centers=100, bandwidth=3.0)
        return model.fit(X, y, weight)

    weighted = fit(X, y, weight, np.arange(100))
    firsts = np.searchsorted(rows, np.arange(100))
    repeated = fit(X[rows], y[rows], None, firsts)
    assert_allclose(weighted.predict(X), repeated.predict(X), atol=5e-3)


def test_classes_probabilities_and_pickles(rng):
    X = rng.normal(size=(700, 4))
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] * X[:, 1], [-0.3, 0.3])]
    model = RFMClassifier(n_centers=150, random_state=0).fit(X[:500], y[:500])
    assert model.X_fit_.shape == (150, 4)
    assert model.score(X[500:], y[500:]) > 0.8
    proba = model.predict_proba(X[500:])
    assert_allclose(proba.sum(axis=1), 1)
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_proba(X[500:]), proba)


def test_categories_and_several_outputs(rng):
    X = np.column_stack([rng.normal(size=(500, 2)), rng.integers(0, 40, size=500)])
    effect = rng.normal(size=40)
    y = effect[X[:, 2].astype(int)] + X[:, 0]
    Y = np.stack([y, -y], axis=1)
    model = RFMRegressor(
        categorical_features=[2], n_centers=250, max_iter=1, random_state=0
    ).fit(X[:400], Y[:400])
    assert model.score(X[400:], Y[400:]) > 0.5


def test_leaves_may_have_centres(table):
    X, y = table
    leaf = RFMRegressor(**ONE | {"random_state": None}, max_iter=1, n_centers=80)
    model = XRFMRegressor(leaf, max_leaf_size=300, random_state=0).fit(X, y)
    assert {len(leaf.X_fit_) for leaf in model.estimators_[0]} == {80}
    assert model.score(X, y) > 0.7


def test_errors(table):
    X, y = table
    with pytest.raises(ValueError, match="validation='loo' takes all rows as centres"):
        RFMRegressor(n_centers=100, validation="loo").fit(X, y)
    with pytest.raises(ValueError, match="The 'n_centers' parameter"):
        RFMRegressor(n_centers=0).fit(X, y)


def test_last_rounds_are_compared_by_a_hold_out(table):
    X, y = table
    model = RFMRegressor(
        n_centers=100, validation=None, max_iter=1, random_state=0, solver="cholesky"
    ).fit(X, y)
    assert model.X_fit_.shape == (100, 5) and np.isfinite(model.history_["score"]).any()


@pytest.mark.parametrize("kernel", ["ntk", "l1_laplace", "gaussian"])
def test_other_kernels(kernel, table):
    X, y = table
    model = RFMRegressor(**ONE | {"kernel": kernel}, max_iter=2, n_centers=300)
    assert model.fit(X[:700], y[:700]).score(X[700:], y[700:]) > 0.5


# -- standard deviations --------------------------------------------------------------


def test_deviations_are_those_of_the_projected_process(table):
    X, y = table
    model = RFMRegressor(**ONE, max_iter=1, n_centers=120, scaling=None).fit(X, 5 * y)
    new = np.concatenate([X[:7] + 0.1, X[:1] + 1000])
    mean, std = model.predict(new, return_std=True)
    assert_array_equal(mean, model.predict(new))

    def kernel(A, B):
        A, B = (model.transform(rows) for rows in (A, B))
        distances = np.sqrt(((A[:, None] - B[None]) ** 2).sum(axis=2))
        return np.exp(-distances / model.bandwidth_)

    Z = model.X_fit_
    K, K_zz, K_new = (kernel(rows, Z) for rows in (X, Z, new))
    left, right = np.linalg.inv(K.T @ K + 0.1 * K_zz), np.linalg.inv(K_zz)
    h, d = (1 - np.einsum("ij,jk,ik->i", K, A, K) for A in (left, right))
    squares = np.sum((5 * y - model.predict(X)) ** 2 / h)
    signal = squares / np.sum(0.1 + d * h)
    rest = 1 - np.einsum("ij,jk,ik->i", K_new, right - 0.1 * left, K_new)
    assert_allclose(std, np.sqrt(signal * (rest + 0.1)), rtol=1e-5)
    # far from all centres nothing is known
    assert_allclose(std[-1], np.sqrt(1.1 * signal), rtol=1e-5)
    assert std[-1] > 1.5 * std[:-1].max()


@pytest.mark.parametrize("streamed", [False, True])
def test_coverage_of_two_standard_deviations(streamed, rng, monkeypatch):
    if streamed:
        monkeypatch.setattr("skrfm._tables._stream.SAMPLE_ROWS", 1000)
    X = rng.normal(size=(4000, 2))
    y = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=4000)
    model = RFMRegressor(**ONE, max_iter=1, n_centers=100).fit(X[:3000], y[:3000])
    mean, std = model.predict(X[3000:], return_std=True)
    assert 0.93 <= np.mean(np.abs(y[3000:] - mean) < 2 * std) <= 0.97
    assert_allclose(std.mean(), 0.3, rtol=0.1)


def test_a_sample_of_the_rows_tells_the_deviations(table, monkeypatch):
    X, y = table
    model = RFMRegressor(**ONE, max_iter=1, n_centers=40)
    expected = model.fit(X, y).predict(X[:200], return_std=True)[1]
    monkeypatch.setattr("skrfm.rfm._deviation._LEAST_ROWS", 300)
    std = model.fit(X, y).predict(X[:200], return_std=True)[1]
    assert not np.array_equal(std, expected)
    assert_allclose(std, expected, rtol=0.1)
    again = pickle.loads(pickle.dumps(model)).predict(X[:200], return_std=True)[1]
    assert_allclose(again, std, rtol=1e-12)


# -- which rows -----------------------------------------------------------------------


def test_rows_of_clusters_are_nearer_to_the_others(table):
    X, y = table
    distances = {}
    for centers in ("random", "kmeans"):
        model = RFMRegressor(**ONE, max_iter=2, n_centers=60, centers=centers)
        model.fit(X, y)
        assert model.X_fit_.shape == (60, 5)
        # in the learned metric, in which rows are clustered
        T, Z = model.transform(X), model.X_fit_ @ model.components_.T
        distances[centers] = np.linalg.norm(T[:, None] - Z[None], axis=2).min(axis=1)
    assert distances["kmeans"].mean() < 0.9 * distances["random"].mean()


def test_the_row_of_a_cluster_is_next_to_its_weighted_mean(table):
    X, y = table
    weight = np.random.default_rng(1).uniform(size=900) * (np.arange(900) % 3 > 0)
    weight[X[:, 0] > 0.5] *= 9
    settings = ONE | {"max_iter": 0, "scaling": None, "centers": "kmeans"}
    model = RFMRegressor(**settings, n_centers=1).fit(X, y, sample_weight=weight)
    kept = X[weight > 0]
    distances = np.linalg.norm(kept - np.average(X, axis=0, weights=weight), axis=1)
    assert_array_equal(model.X_fit_, kept[[distances.argmin()]])


def test_no_more_clusters_than_different_rows(table):
    X, y = (np.repeat(a[:30], 4, axis=0) for a in table)
    model = RFMRegressor(**ONE, max_iter=1, n_centers=50, centers="kmeans").fit(X, y)
    assert 20 < len(model.X_fit_) <= 30
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("centers", ["kmeans", "given"])
def test_centres_of_categories_are_levels(centers, rng):
    pd = pytest.importorskip("pandas")
    level = rng.integers(0, 40, size=600)
    frame = pd.DataFrame({"a": rng.normal(size=600), "b": pd.Categorical(level)})
    y = rng.normal(size=40)[level] + frame["a"]
    if centers == "given":
        centers = frame.iloc[:200]
    settings = ONE | {"max_iter": 1, "level_statistics": "targets"}
    n_centers = "auto" if len(centers) == 200 else 200
    model = RFMRegressor(**settings, n_centers=n_centers, centers=centers)
    model.fit(frame, y)
    levels = model.X_fit_[:, -40:]
    assert set(np.unique(levels)) == {0, 1} and (levels.sum(axis=1) == 1).all()
    assert model.score(frame, y) > 0.8


def test_given_centres_are_those_of_the_predictor(table):
    X, y = table
    given = X[:80] + 0.1
    before = given.copy()
    model = RFMRegressor(**ONE, max_iter=1, centers=given, scaling=None).fit(X, y)
    assert_array_equal(model.X_fit_, given)
    assert_array_equal(given, before)
    assert model.score(X, y) > 0.6
    scaled = RFMRegressor(**ONE, max_iter=1, centers=given, n_centers=80).fit(X, y)
    assert_allclose(scaled.transform(given), scaled.X_fit_ @ scaled.components_.T)
    # as many as there are rows, or more, are taken as well
    many = RFMRegressor(**ONE, max_iter=1, centers=given).fit(X[:50], y[:50])
    assert many.X_fit_.shape == (80, 5) and np.isfinite(many.predict(X)).all()
    assert np.isfinite(many.predict(X, return_std=True)[1]).all()


def test_all_rows_given_are_the_kernel_machine(table, monkeypatch):
    monkeypatch.setattr("skrfm._recursion._centers._TOLERANCE", 1e-11)
    X, y = table[0][:300], table[1][:300]
    settings = ONE | {"max_iter": 0, "scaling": None}
    expected = RFMRegressor(**settings).fit(X, y).predict(table[0], return_std=True)
    model = RFMRegressor(**settings, centers=X).fit(X, y)
    found = model.predict(table[0], return_std=True)
    assert_allclose(found[0], expected[0], atol=1e-6)
    assert_allclose(found[1], expected[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["kmeans", "given"])
def test_searches_classes_and_tables_in_batches(name, rng, monkeypatch):
    monkeypatch.setattr("skrfm._tables._stream.SAMPLE_ROWS", 400)
    X = rng.normal(size=(1500, 4)).astype(np.float32)
    y = np.where(X[:, 0] * X[:, 1] > 0, "b", "a")
    centers, n_centers = (name, 100) if name == "kmeans" else (X[:100], "auto")
    model = RFMClassifier(
        n_centers=n_centers, centers=centers, max_iter=2, random_state=0
    ).fit(X, y)
    assert model.X_fit_.shape == (100, model.components_.shape[-1])
    assert model.X_fit_.dtype == np.float32
    assert model.score(X, y) > 0.9
    assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-5)


def test_errors_of_centres(table):
    X, y = table
    with pytest.raises(ValueError, match="The 'centers' parameter"):
        RFMRegressor(centers="nothing").fit(X, y)
    with pytest.raises(ValueError, match="centers do not fit X: X has 3 features"):
        RFMRegressor(centers=X[:20, :3]).fit(X, y)
    with pytest.raises(ValueError, match="centers do not fit X"):
        RFMRegressor(centers=X[0]).fit(X, y)
    with pytest.raises(ValueError, match="centers has 20 rows, but n_centers=30"):
        RFMRegressor(centers=X[:20], n_centers=30).fit(X, y)
    with pytest.raises(ValueError, match="takes a memory_budget of"):
        RFMRegressor(centers=X[:500], memory_budget=0.001).fit(X, y)
    with pytest.raises(ValueError, match="centers of the estimator of leaves"):
        XRFMRegressor(RFMRegressor(centers=X[:20])).fit(X, y)
