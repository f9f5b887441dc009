"""Tables as they are: categories, missing values, units, constants and heavy tails."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skrfm import (
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm._tables import TableEncoder, TableReader

QUICK = {"alpha": 0.1, "max_iter": 1, "validation": None, "random_state": 0}
KERNELS = ["laplace", "l1_laplace", "lpq_laplace"]


def make_frame(rng, n=120):
    """A data frame with all that tables contain, and targets."""
    frame = pd.DataFrame(
        {
            "number": rng.normal(3, 10, size=n),
            "color": pd.Categorical(rng.choice(["red", "green", "blue"], n)),
            "flag": rng.random(n) > 0.4,
            "tail": np.exp(3 * rng.normal(size=n)),
            "constant": np.full(n, 7.0),
            "code": pd.Categorical(rng.integers(0, 40, n)),
        }
    )
    y = frame["number"] / 10 + 2.0 * (frame["color"] == "red") - frame["flag"]
    y = y + np.log(frame["tail"]) / 3
    frame.loc[::9, "tail"] = np.nan
    frame.loc[::11, "color"] = None
    return frame, y.to_numpy()


@pytest.fixture
def frame(rng):
    return make_frame(rng)


# -- the encoder ----------------------------------------------------------------------


def encoded(X, scaling="clipped", mask=None, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    encoder = TableEncoder.fit(X, mask, weight, scaling=scaling, xp=np)
    return encoder.transform(X, np), encoder


def test_standard_scaling_is_that_of_scikit_learn(rng):
    X = np.c_[rng.normal(5, 3, size=(40, 3)), np.full(40, 0.1)]
    weight = rng.uniform(0.5, 2, size=40)
    Z, _ = encoded(X, "standard", weight=weight)
    expected = StandardScaler().fit_transform(X, sample_weight=weight)
    assert_allclose(Z[:, :3], expected[:, :3], atol=1e-12)
    assert_array_equal(Z[:, 3], 0)


def test_constants_are_left_out_of_new_rows_too(rng):
    X = np.c_[rng.normal(size=30), np.full(30, 0.1)]
    _, encoder = encoded(X)
    assert_array_equal(encoder.transform(np.array([[0.0, 1e6]]), np)[:, 1], 0)


def test_clipping_keeps_the_order_and_bounds_tails(rng):
    X = np.exp(4 * rng.normal(size=(200, 1)))
    Z, _ = encoded(X)
    assert_array_equal(rankdata(Z), rankdata(X))
    assert np.abs(Z).max() < 3
    z, _ = encoded(X, "standard")
    assert_allclose(Z, z / np.sqrt(1 + z**2 / 9), rtol=1e-12)


def test_without_scaling_numbers_are_as_they_are(rng):
    X = rng.normal(5, 100, size=(20, 3))
    Z, _ = encoded(X, None)
    assert_array_equal(Z, X)


@pytest.mark.parametrize("scaling", ["clipped", "standard", None])
def test_missing_numbers_are_set_to_the_mean_with_an_indicator(scaling, rng):
    X = rng.normal(2, 3, size=(30, 3))
    X[::4, 1] = np.nan
    Z, encoder = encoded(X, scaling)
    assert Z.shape == (30, 4)
    mean = np.nanmean(X[:, 1]) if scaling is None else 0
    assert_allclose(Z[::4, 1], mean, atol=1e-12)
    assert_array_equal(Z[:, 3], np.isnan(X[:, 1]))
    assert_array_equal(encoder.origins, [0, 1, 2, 1])
    # a column that was never missing is at the mean as well, and has no column
    new = encoder.transform(np.full((1, 3), np.nan), np)
    centre = X[:, 0].mean() if scaling is None else 0
    assert new[0, 0] == pytest.approx(centre, abs=1e-12)


def test_blocks_of_levels_follow_by_their_widths():
    X = np.array([[0, 5.0, 1], [1, 6, 0], [2, 7, np.nan], [1, 8, 0]])
    Z, encoder = encoded(X, None, np.array([True, False, True]))
    assert encoder.category_sizes == (3, 3)
    assert_array_equal(encoder.origins, [1, 0, 0, 0, 2, 2, 2])
    assert_array_equal(Z[:, 1:4], np.eye(3)[[0, 1, 2, 1]])
    assert_array_equal(Z[:, 4:], np.eye(3)[[1, 0, 2, 0]])
    unseen = encoder.transform(np.array([[-1, 5.0, 0]]), np)
    assert_array_equal(unseen, [[5, 0, 0, 0, 1, 0, 0]])


def test_a_missing_level_that_was_never_missing_is_none():
    X = np.array([[0.0], [1.0], [2.0]])
    _, encoder = encoded(X, None, np.array([True]))
    assert_array_equal(encoder.transform(np.array([[np.nan]]), np), [[0, 0, 0]])


def test_a_column_that_is_always_missing(rng):
    X = np.c_[rng.normal(size=40), np.full(40, np.nan)]
    model = RFMRegressor(kernel="laplace", **QUICK).fit(X, X[:, 0])
    assert_array_equal(model.X_fit_[:, 1], 0)
    assert np.isfinite(model.predict(X)).all()


def test_the_reader_numbers_sorted_levels(frame):
    X, _ = frame
    mask = np.array([False, True, False, False, False, True])
    C = TableReader(mask).fit(X, np.ones(len(X))).transform(X)
    known = X["color"].notna().to_numpy()
    assert_array_equal(np.isnan(C[:, 1]), ~known)
    expected = np.searchsorted(["blue", "green", "red"], X["color"][known].astype(str))
    assert_array_equal(C[known, 1], expected)
    assert_array_equal(C[:, 2], X["flag"])


def test_of_too_many_levels_the_rarest_are_one(monkeypatch):
    monkeypatch.setattr("skrfm._tables._reader.MAX_LEVELS", 3)
    X = pd.DataFrame({"a": pd.Categorical(list("aaabbbcdef"))})
    C = TableReader(np.array([True])).fit(X, np.ones(10)).transform(X)
    assert_array_equal(C[:, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


# -- the estimators -------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_frame_is_what_scikit_learn_makes_of_it(kernel, frame):
    """Without missing values: the same as one-hot columns beside scaled numbers."""
    X, y = frame
    X = X.assign(tail=X["tail"].fillna(1.0), color=X["color"].fillna("blue"))
    X = X.drop(columns="constant")
    by_hand = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["number", "flag", "tail"]),
            ("levels", OneHotEncoder(sparse_output=False), ["color"]),
        ],
        sparse_threshold=0,
    )
    Z = by_hand.fit_transform(X)
    X = X.drop(columns="code")
    model = RFMRegressor(kernel=kernel, scaling="standard", **QUICK).fit(X, y)
    assert_allclose(model.X_fit_, Z, atol=1e-12)
    expected = RFMRegressor(kernel=kernel, scaling=None, **QUICK).fit(Z, y)
    assert_allclose(model.predict(X), expected.predict(Z), rtol=1e-7)
    assert_allclose(model.metric_, expected.metric_, atol=1e-9)
    importances = expected.feature_importances_
    by_feature = [importances[0], importances[3:].sum(), *importances[1:3]]
    assert_allclose(model.feature_importances_, by_feature, atol=1e-9)


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_large_categories_are_weighted_and_not_mixed(kernel, frame):
    X, y = frame
    model = RFMRegressor(kernel=kernel, **QUICK).fit(X, y)
    levels = X["code"].cat.categories.isin(X["code"]).sum()
    assert model.X_fit_.shape[1] == 4 + 1 + 4 + levels
    if kernel == "laplace":
        last = model.metric_[:, -levels:]
        assert not last[:-levels].any()
        assert_array_equal(last[-levels:], np.diag(np.diag(last[-levels:])))
        assert np.diag(last[-levels:]).any()
    else:
        assert model.metric_.shape == (model.X_fit_.shape[1],)
        assert model.metric_[-levels:].any()
    assert model.feature_importances_.shape == (6,)
    assert model.feature_importances_[4] == pytest.approx(0, abs=1e-20)
    assert model.feature_importances_.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "cls", [RFMRegressor, RFMClassifier, RFMRegressorCV, RFMClassifierCV]
)
def test_frames_of_all_kinds_go_straight_in(cls, frame):
    X, y = frame
    if "Classifier" in cls.__name__:
        y = np.where(y > np.median(y), "high", "low")
    few = {"n_candidates": 3} if cls.__name__.endswith("CV") else {}
    model = cls(max_iter=1, cv=3, random_state=0, **few).fit(X, y)
    assert_array_equal(model.is_categorical_, [False, True, False, False, False, True])
    predicted = model.predict(X)
    assert predicted.shape == (120,)
    assert_array_equal(model.feature_names_in_, X.columns)
    polars = pl.DataFrame(
        {
            name: pl.Series(
                [None if pd.isna(v) else str(v) for v in column], dtype=pl.Categorical
            )
            if isinstance(column.dtype, pd.CategoricalDtype)
            else pl.Series(column.to_numpy())
            for name, column in X.items()
        }
    )
    other = clone(model).fit(polars, y).predict(polars)
    if y.dtype.kind == "f":
        assert_allclose(other, predicted, rtol=1e-6, atol=1e-8)
    else:
        assert_array_equal(other, predicted)


def test_predictions_of_what_fit_has_not_seen(frame):
    X, y = frame
    model = RFMRegressor(kernel="l1_laplace", **QUICK).fit(X, y)
    new = X.head(3).copy()
    new["color"] = pd.Categorical(["violet", None, "red"])
    new["number"] = [np.nan, 1.0, 2.0]
    mean, std = model.predict(new, return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all()
    assert model.transform(new).shape == (3, len(model.components_))


def test_names_masks_and_indices_are_equivalent(frame):
    X, y = frame
    X = X.assign(code=X["code"].astype(int), color=X["color"].astype(str))
    expected = None
    for features in (
        ["color", "code"],
        [1, 5],
        [False, True, False, False, False, True],
    ):
        model = RFMRegressor(kernel="laplace", categorical_features=features, **QUICK)
        got = model.fit(X, y).predict(X)
        expected = got if expected is None else expected
        assert_array_equal(got, expected)


def test_codes_in_an_array(rng):
    X = np.c_[rng.normal(size=60), rng.integers(0, 5, 60)]
    y = X[:, 0] + (X[:, 1] == 2)
    model = RFMRegressor(
        kernel="l1_laplace", categorical_features=[1], scaling="standard", **QUICK
    ).fit(X, y)
    Z = np.c_[StandardScaler().fit_transform(X[:, :1]), np.eye(5)[X[:, 1].astype(int)]]
    assert_allclose(model.X_fit_, Z, atol=1e-12)


def test_codes_in_lists_and_the_output_that_others_are_set_to(frame):
    X = [[0.5, "a"], [1.5, "b"], [0.1, "a"], [0.7, "c"], [2.0, "b"], [0.3, "c"]]
    y = [0.0, 1.0, 0.2, 0.5, 1.5, 0.4]
    model = RFMRegressor(kernel="laplace", categorical_features=[1], **QUICK)
    with config_context(transform_output="pandas"):
        got = model.fit(X, y).predict(X)
    table = pd.DataFrame(X).astype({1: "category"})
    expected = clone(model).set_params(categorical_features="from_dtype")
    assert_allclose(
        got,
        expected.fit(table.set_axis(["x", "c"], axis=1), y).predict(
            table.set_axis(["x", "c"], axis=1)
        ),
    )


def test_weights_of_zero_leave_levels_out(frame):
    X, y = frame
    weight = (X["color"] != "red").astype(float).to_numpy()
    model = RFMRegressor(kernel="l1_laplace", **QUICK)
    got = model.fit(X, y, sample_weight=weight).predict(X)
    keep = weight > 0
    expected = model.fit(X[keep], y[keep]).predict(X)
    assert_allclose(got, expected, rtol=1e-9)


def test_validation_rows_are_frames_too(frame):
    X, y = frame
    model = RFMRegressor(kernel="laplace", max_iter=1, random_state=0)
    model.fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:])
    assert model.X_fit_.shape[0] == 80
    assert model.history_["score"].max() > 0.3


def test_categories_work_in_a_grid_search(frame):
    X, y = frame
    grid = {"scaling": ["clipped", None], "alpha": [0.1, 1.0]}
    model = RFMRegressor(kernel="l1_laplace", validation=None, max_iter=1)
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_params_["scaling"] == "clipped"
    assert search.best_score_ > 0.3


def test_categories_of_many_levels_are_learned(rng):
    n, levels = 600, 60
    effect, code = rng.normal(size=levels), rng.integers(0, levels, n)
    X = pd.DataFrame({"x": rng.normal(size=n), "code": pd.Categorical(code)})
    y = np.sin(X["x"]) + 2 * effect[code]
    assert cross_val_score(RFMRegressor(random_state=0), X, y, cv=3).mean() > 0.9


def test_units_do_not_matter(rng):
    X = rng.normal(size=(80, 3))
    y = np.sin(X[:, 0]) + X[:, 1]
    model = RFMRegressor(max_iter=2, random_state=0)
    expected = model.fit(X, y).predict(X)
    units = np.array([1e-6, 1.0, 1e5])
    got = model.fit(X * units + 3, y).predict(X * units + 3)
    assert_allclose(got, expected, atol=1e-6)


# -- errors ---------------------------------------------------------------------------


def test_the_error_for_strings_names_the_remedy(frame):
    X, y = frame
    X = X.assign(color=X["color"].astype(object))
    with pytest.raises(ValueError, match=r"astype\('category'\).*categorical_features"):
        RFMRegressor().fit(X, y)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["colour"], "categorical_features has an item value 'colour'"),
        ([7], "categorical_features set as integer"),
        ([True, False], "categorical_features"),
        ("color", "categorical_features"),
        ([0.5], "categorical_features must be an array-like of bool, int or str"),
    ],
)
def test_invalid_categorical_features(features, message, frame):
    X, y = frame
    with pytest.raises(ValueError, match=message):
        RFMRegressor(categorical_features=features).fit(X, y)


def test_frames_that_differ_from_that_of_the_fit(frame):
    X, y = frame
    model = RFMRegressor(kernel="laplace", **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"color": "colour"}))
    with pytest.raises(ValueError, match="feature"):
        model.predict(X.drop(columns="color"))


# -- trees ----------------------------------------------------------------------------


def test_a_tree_takes_frames(rng):
    X, y = make_frame(rng, 700)
    leaf = RFMRegressor(kernel="l1_laplace", alpha=0.1, max_iter=1)
    model = XRFMRegressor(leaf, max_leaf_size=200, random_state=0).fit(X[:600], y[:600])
    assert model.n_leaves_ == 3
    assert model.feature_importances_.shape == (6,)
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert model.feature_importances_[4] == pytest.approx(0, abs=1e-20)
    assert model.score(X[600:], y[600:]) > 0.6
    new = X.head(4).assign(color=pd.Categorical(["violet", None, "red", "red"]))
    assert np.isfinite(model.predict(new)).all()


def test_a_tree_of_one_leaf_is_the_machine(frame):
    X, y = frame
    leaf = RFMRegressor(kernel="l1_laplace", **QUICK)
    tree = XRFMRegressor(leaf, random_state=0).fit(X, y)
    expected = leaf.fit(X, y)
    assert_allclose(tree.predict(X), expected.predict(X), rtol=1e-9)
    importances = expected.feature_importances_
    assert_allclose(tree.feature_importances_, importances, atol=1e-12)


def test_a_tree_of_categories_alone(rng):
    codes = rng.integers(0, 12, size=(500, 3))
    X = pd.DataFrame(codes, columns=list("abc")).astype("category")
    labels = np.where((codes[:, 0] % 2) ^ (codes[:, 1] > 5), "odd", "even")
    model = XRFMClassifier(max_leaf_size=150, random_state=0).fit(X[:400], labels[:400])
    assert model.score(X[400:], labels[400:]) > 0.9


def test_leaves_scale_as_the_whole_table(rng):
    X = rng.normal(size=(300, 3)) * [1e-3, 1.0, 1e3]
    y = np.sin(X[:, 1]) + X[:, 2] / 1e3
    leaf = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=0)
    model = XRFMRegressor(leaf, max_leaf_size=80, random_state=0).fit(X, y)
    Z = np.concatenate([part.X_fit_ for part in model.estimators_[0]])
    whole = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=0).fit(X, y).X_fit_
    assert_allclose(np.sort(Z, axis=0), np.sort(whole, axis=0), rtol=1e-12)
