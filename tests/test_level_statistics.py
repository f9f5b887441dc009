"""Statistics of the levels of categories, against naive means and other encoders."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMRegressor, RFMRegressorCV, XRFMRegressor
from skrfm._tables._level_statistics import kinds_of_statistics, level_means

KINDS = ["targets", "targets+numbers"]
QUICK = {"kernel": "laplace", "alpha": 0.1, "max_iter": 1, "random_state": 0}

every_kind = pytest.mark.parametrize("kind", KINDS)


def table_of(rng, n=300, n_levels=40, noise=0.5):
    """Numbers, a category of many levels and one of three, and a target of all."""
    level = rng.integers(0, n_levels, n)
    effect = np.random.default_rng(1).normal(size=n_levels)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "small": pd.Categorical(rng.integers(0, 3, n), categories=range(3)),
            "large": pd.Categorical(level, categories=range(n_levels)),
            "b": rng.normal(size=n),
        }
    )
    y = np.sin(X["a"].to_numpy()) + effect[level] * np.maximum(X["b"].to_numpy(), 0)
    return X, y + noise * rng.normal(size=n)


# -- means ------------------------------------------------------------------------


def naive_means(values, weight, codes, size):
    """The means of levels by loops, moved to the mean of all."""
    n = weight.sum()
    mean = np.average(values, axis=0, weights=weight)
    levels = [k for k in range(size) if weight[codes == k].sum() > 0]
    own = {
        k: np.average(values[codes == k], axis=0, weights=weight[codes == k])
        for k in levels
    }
    counts = {k: weight[codes == k].sum() for k in levels}
    within = sum(
        weight[i] * (values[i] - own[codes[i]]) ** 2
        for i in range(len(codes))
        if weight[i] > 0
    )
    between = sum(counts[k] * (own[k] - mean) ** 2 for k in levels)
    noise = within / (n - len(levels))
    spread = (n - sum(c**2 for c in counts.values()) / n) / (len(levels) - 1)
    signal = (between / (len(levels) - 1) - noise) / spread
    out = np.tile(mean, (size, 1))
    for k in levels:
        for o in np.flatnonzero(signal > 0):
            share = counts[k] / (counts[k] + noise[o] / signal[o])
            out[k, o] += share * (own[k][o] - mean[o])
    return out


@pytest.mark.parametrize("size", [2, 7, 30])
def test_means_of_levels(size, rng):
    codes = rng.integers(0, size, 60)
    values = rng.normal(size=(60, 3)) + codes[:, None] * [0, 0.5, 3]
    weight = rng.integers(0, 4, 60).astype(float)
    found = level_means(values, weight, codes, size + 1)
    assert_allclose(found, naive_means(values, weight, codes, size + 1), atol=1e-12)
    assert_allclose(found[-1], np.average(values, axis=0, weights=weight))


def test_weights_are_repeats(rng):
    codes, weight = rng.integers(0, 9, 50), rng.integers(0, 4, 50)
    values = rng.normal(size=(50, 2)) + codes[:, None]
    repeated = level_means(
        np.repeat(values, weight, axis=0),
        np.ones(weight.sum()),
        np.repeat(codes, weight),
        9,
    )
    assert_allclose(level_means(values, weight.astype(float), codes, 9), repeated)


def test_one_row_a_level_has_the_mean_of_all(rng):
    values = rng.normal(size=(20, 1))
    found = level_means(values, np.ones(20), np.arange(20), 20)
    assert_allclose(found, np.full((20, 1), values.mean()))


@pytest.mark.parametrize(("noise", "share"), [(1e-3, 1.001), (3.0, 0.8), (100.0, 0.5)])
def test_means_shrink_as_much_as_there_is_noise(noise, share, rng):
    effect, codes = rng.normal(size=30), np.repeat(np.arange(30), 5)
    values = (effect[codes] + noise * rng.normal(size=150))[:, None]
    found = level_means(values, np.ones(150), codes, 30)[:, 0]
    raw = values.reshape(30, 5).mean(axis=1)
    error, raw_error = (np.mean((m - effect) ** 2) for m in (found, raw))
    assert error < share * raw_error


# -- kinds --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "n_numbers", "n_outputs", "expected"),
    [
        ((), 3, 1, ()),
        ((2, 32), 3, 1, ()),
        ((2, 33), 3, 1, ("targets", "targets+numbers")),
        ((33,), 0, 1, ("targets",)),
        ((33,), 99, 1, ("targets", "targets+numbers")),
        ((33,), 100, 1, ("targets",)),
        ((33, 50), 100, 51, ()),
    ],
)
def test_kinds_that_a_table_can_have(sizes, n_numbers, n_outputs, expected):
    assert kinds_of_statistics(sizes, n_numbers, n_outputs) == expected


# -- fits ---------------------------------------------------------------------------


@every_kind
def test_columns_of_training_rows_are_those_of_other_rows(kind, rng):
    """Another target of a row changes the columns of other rows, never its own."""
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation=None, level_statistics=kind)
    before = model.fit(X, y).X_fit_
    n_added = 1 if kind == "targets" else 3
    assert before.shape == (300, 2 + n_added + 3 + 40)
    changed = y.copy()
    changed[7] += 3.0
    after = clone(model).fit(X, changed).X_fit_
    column = 2  # after the numbers, before the levels
    moved = after[:, column] - before[:, column]
    others = np.flatnonzero((X["large"] == X["large"][7]) & (np.arange(300) != 7))
    # its own column moves as little as those of other levels, which are scaled anew
    elsewhere = np.abs(moved[X["large"] != X["large"][7]]).max()
    assert abs(moved[7]) <= elsewhere < 0.1
    assert moved[others].max() > 3 * elsewhere


@every_kind
def test_rows_to_predict_have_the_means_of_all_training_rows(kind, rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation=None, level_statistics=kind).fit(X, y)
    statistics = model._fitted.predictor.first.statistics
    means = statistics.means[1]
    codes = X["large"].cat.codes.to_numpy()
    expected = level_means((y - y.mean())[:, None], np.ones(300), codes, 41)
    targets = model._fitted.targets
    assert_allclose(means[:, 0] * targets.scale, expected[:, 0], atol=1e-9)
    assert statistics.means[0] is None  # three levels only
    unseen = X[:5].copy()
    unseen["large"] = pd.Categorical([99] * 5, categories=range(100))
    assert np.isfinite(model.predict(unseen)).all()
    alone = [model.predict(X[i : i + 1])[0] for i in range(10)]
    assert_allclose(alone, model.predict(X)[:10], rtol=1e-10)


@every_kind
def test_importances_belong_to_the_columns_of_the_table(kind, rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation="cv", level_statistics=kind).fit(X, y)
    importances = dict(zip(X.columns, model.feature_importances_, strict=True))
    assert sum(importances.values()) == pytest.approx(1)
    assert importances["large"] > importances["small"]
    assert model.level_statistics_ == kind
    assert set(model.history_["level_statistics"]) == {kind}
    assert model.transform(X).shape[0] == 300


@pytest.mark.parametrize("estimator", [RFMRegressor, RFMClassifier])
def test_auto_takes_statistics_where_they_help(estimator, rng):
    X, y = table_of(rng, n=1600, n_levels=150, noise=0.3)
    if estimator is RFMClassifier:
        y = (y > np.median(y)).astype(int)
    train, test = slice(0, 1200), slice(1200, None)
    found = estimator(random_state=0).fit(X[train], y[train])
    without = estimator(random_state=0, level_statistics=None).fit(X[train], y[train])
    assert without.level_statistics_ is None
    assert {None, *KINDS} == set(found.history_["level_statistics"])
    if estimator is RFMClassifier:
        losses = [log_loss(y[test], m.predict_proba(X[test])) for m in (found, without)]
        assert losses[0] < losses[1] + 0.01
    else:
        assert found.level_statistics_ in KINDS
        assert found.score(X[test], y[test]) > without.score(X[test], y[test]) + 0.05
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.predict(X[test]), found.predict(X[test]))


@pytest.mark.parametrize("n_levels", [400, 130, 40])
@every_kind
def test_random_levels_and_a_random_target_leak_nothing(kind, n_levels, rng):
    """A model that had seen its own targets in a column would score near 1."""
    n = 400
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "g": pd.Categorical(rng.permutation(np.arange(n) % n_levels)),
        }
    )
    model = RFMRegressor(random_state=0, level_statistics=kind, max_iter=1)
    model.fit(X, rng.normal(size=n))
    assert max(model.history_["score"]) < 0.1
    new = pd.DataFrame(
        {
            "a": rng.normal(size=500),
            "g": pd.Categorical(
                rng.integers(0, n_levels, 500), categories=range(n_levels)
            ),
        }
    )
    assert model.score(new, rng.normal(size=500)) > -0.25


@pytest.mark.parametrize("validation", ["loo", None])
def test_none_where_rows_are_not_held_out(validation, rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation=validation).fit(X, y)
    assert model.level_statistics_ is None


def test_leaves_have_statistics_of_their_own_rows(rng):
    X, y = table_of(rng, n=500, n_levels=40)
    leaf = RFMRegressor(**QUICK, validation=None, level_statistics="targets")
    tree = XRFMRegressor(leaf, max_leaf_size=150, random_state=0).fit(X, y)
    assert tree.score(X, y) > 0.5


def test_order_and_names_of_levels_change_nothing(rng):
    X, y = table_of(rng)
    model = RFMRegressor(**QUICK, validation="cv", level_statistics="targets")
    expected = model.fit(X, y).predict(X)
    names = {k: f"level {(7 * k) % 40:02d}" for k in range(40)}
    other = X.assign(large=X["large"].map(names).astype("category"))
    assert_allclose(clone(model).fit(other, y).predict(other), expected, atol=1e-9)


def test_the_random_search_draws_them_where_categories_are_large(rng):
    X, y = table_of(rng, n=400)
    model = RFMRegressorCV(
        n_candidates=14, n_machines=1, max_iter=1, cv=3, random_state=0
    ).fit(X, y)
    tried = set(model.cv_results_["param_level_statistics"])
    assert tried == {None, *KINDS}
    assert "level_statistics" in model.best_params_
    best = RFMRegressor(**model.best_params_, validation=None, random_state=0)
    (machine,) = model.machines_
    assert_allclose(best.fit(X, y).predict(X), machine.predict(X), rtol=1e-6)
    assert machine.level_statistics_ == model.best_params_["level_statistics"]

    small = model.set_params(n_candidates=3).fit(X.drop(columns="large"), y)
    assert "level_statistics" not in small.best_params_
    given = model.set_params(level_statistics="targets").fit(X, y)
    assert given.level_statistics_ == "targets"
    assert "level_statistics" not in given.best_params_
