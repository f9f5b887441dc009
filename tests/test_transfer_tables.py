"""TransferKernel on data frames: categories, missing values, and labels of columns."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skrfm import (
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    TransferKernel,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm.exceptions import NumericalWarning
from skrfm.transfer._methods import METHODS
from skrfm.transfer._rows import total_variance

QUICK = {"kernel": "laplace", "max_iter": 0, "alpha": 0.1, "random_state": 0}


def make_task(n, seed, library=pd):
    """A table of numbers, a category and a column with missing numbers."""
    rng = np.random.default_rng(seed)
    numbers, kind, gaps = rng.normal(size=n), rng.choice(list("xyz"), n), rng.random(n)
    y = numbers + 2 * (kind == "x") + gaps
    gaps[::5] = np.nan
    columns = {"numbers": numbers, "kind": kind.tolist(), "gaps": gaps}
    columns["kind"][::9] = [None] * len(columns["kind"][::9])
    frame = library.DataFrame(columns)
    if library is pd:
        return frame.astype({"kind": "category"}), y
    return frame.with_columns(pl.col("kind").cast(pl.Categorical)), y


@pytest.mark.parametrize("library", [pd, pl], ids=lambda library: library.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_categories_and_missing_values_reach_source_and_target(method, library):
    (S, y_source), (X, y), (new, _) = (make_task(40, k, library) for k in range(3))
    source = RFMRegressor(**QUICK).fit(S, y_source)
    target = RFMRegressor(**QUICK, scaling=None)
    model = TransferKernel(source, target, method=method, random_state=0).fit(X, y)
    found = model.predict(new)
    assert_allclose(model.predict(new[:7]), found[:7], rtol=1e-6)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(new), found)
    if method == "none":
        assert_array_equal(found, target.fit(X, y).predict(new))
    if method == "translation":
        first = source.predict(new)
        residual = target.fit(X, y - source.predict(X)).predict(new)
        assert_allclose(found, first + residual)


@pytest.mark.parametrize(
    ("estimator", "classifies"),
    [
        (RFMClassifier(**QUICK), True),
        (XRFMRegressor(), False),
        (HistGradientBoostingRegressor(), False),
        (
            make_pipeline(
                make_column_transformer(
                    (OneHotEncoder(handle_unknown="ignore"), ["kind"])
                ),
                Ridge(),
            ),
            False,
        ),
    ],
)
def test_sources_that_take_tables(estimator, classifies):
    (S, y_source), (X, y) = make_task(60, 0), make_task(40, 1)
    if classifies:
        y_source, y = y_source > 1, y > 1
    target = None if classifies else RFMRegressor(**QUICK)
    model = TransferKernel(estimator, target, method="concat", random_state=0)
    model.fit(X, y, X_source=S, y_source=y_source)
    assert model.method_ == "concat" and model.score(S, y_source) > 0.5


@pytest.mark.parametrize("features", [["kind"], [1], [False, True, False]])
@pytest.mark.parametrize("method", ["projection", "concat"])
def test_categorical_features_of_the_target(features, method):
    (S, y_source), (X, y) = make_task(40, 0), make_task(30, 1)
    source = RFMRegressor(**QUICK).fit(S, y_source)
    target = RFMRegressor(**QUICK, categorical_features=features)
    model = TransferKernel(source, target, method=method, random_state=0).fit(X, y)
    same = TransferKernel(
        source, RFMRegressor(**QUICK), method=method, random_state=0
    ).fit(X, y)
    assert_allclose(model.predict(S), same.predict(S))


def test_arrays_of_objects():
    (S, y_source), (X, y) = make_task(40, 0), make_task(30, 1)
    machine = RFMRegressor(**QUICK, categorical_features=[1])
    model = TransferKernel(machine, machine, method="both", random_state=0)
    framed = model.fit(X, y, X_source=S, y_source=y_source).predict(S)
    S, X = (np.asarray(table, dtype=object) for table in (S, X))
    found = model.fit(X, y, X_source=S, y_source=y_source).predict(S)
    assert_allclose(found, framed)


def test_rows_without_weight_are_absent_from_tables():
    (S, y_source), (X, y) = make_task(40, 0), make_task(30, 1)
    source = RFMRegressor(**QUICK).fit(S, y_source)
    model = TransferKernel(source, RFMRegressor(**QUICK), random_state=0)
    weight = np.arange(30) % 4 > 0
    found = model.fit(X, y, weight.astype(float)).predict(S)
    assert_allclose(found, model.fit(X[weight], y[weight]).predict(S))


def test_total_variance():
    table = pd.DataFrame({"a": [1.0, 3, np.nan, np.nan], "b": list("xxyy")})
    assert total_variance(table, None) == pytest.approx(1 + 0.5)
    assert total_variance(table, np.array([1, 1, 0, 2])) == pytest.approx(1 + 0.5)
    assert total_variance(table.replace("y", None), None) == pytest.approx(1)


# -- labels -------------------------------------------------------------------------


@pytest.fixture
def named():
    """A source task and a target task, with names of columns."""
    (S, y_source), (X, y) = make_task(40, 0), make_task(30, 1)
    return S, y_source, X, y


def test_source_columns_are_matched_by_name(named):
    S, y_source, X, y = named
    model = TransferKernel(
        RFMRegressor(**QUICK), RFMRegressor(**QUICK), method="translation"
    )
    expected = model.fit(X, y, X_source=S, y_source=y_source).predict(X)
    other = ["gaps", "kind", "numbers"]
    model.fit(X, y, X_source=S[other], y_source=y_source)
    assert_allclose(model.predict(X), expected)
    fitted = RFMRegressor(**QUICK).fit(S[other], y_source)
    model = TransferKernel(fitted, RFMRegressor(**QUICK), method="translation")
    assert_allclose(model.fit(X, y).predict(X), expected)
    assert_allclose(model.fit(X[other], y).predict(X[other]), expected)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        model.predict(X)


def relabel(table, labels):
    return table.set_axis(labels, axis=1)


@pytest.mark.parametrize(
    ("of_source", "of_target", "message"),
    [
        (["a", "b", "c"], ["a", "b", "d"], "X_source has other columns than X: miss"),
        (["a", "b", "b"], ["a", "b", "c"], "X_source has repeated column labels"),
        (["a", "b", "c"], ["a", "b", "b"], "X has repeated column labels.*'b'"),
        ([2, 1, 0], [0, 1, 2], "X_source has the columns of X in another order"),
        ([5, 6, 7], [0, 1, 2], "X_source has other columns than X: missing are 0"),
        ([0, 1, 2], ["a", "b", "c"], "X_source has other columns than X"),
    ],
)
def test_labels_that_do_not_match(named, of_source, of_target, message):
    S, y_source, X, y = named
    S, X = relabel(S, of_source), relabel(X, of_target)
    model = TransferKernel(RFMRegressor(**QUICK), RFMRegressor(**QUICK))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, X_source=S, y_source=y_source)


def test_labels_of_new_rows_that_are_no_strings(named):
    S, y_source, X, y = (relabel(a, [5, 6, 7]) if a.ndim == 2 else a for a in named)
    source = RFMRegressor(**QUICK).fit(S, y_source)
    model = TransferKernel(source, RFMRegressor(**QUICK), method="concat").fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="passed to fit in another order"):
        model.predict(X[[6, 5, 7]])
    named_source = RFMRegressor(**QUICK).fit(named[0], y_source)
    with pytest.raises(ValueError, match="X has other columns than the source"):
        TransferKernel(named_source, RFMRegressor(**QUICK)).fit(X, y)


def test_columns_that_an_estimator_does_not_take_are_named(named):
    S, y_source, X, y = named
    source = RFMRegressor(**QUICK).fit(S, y_source)
    with pytest.raises(ValueError, match="does not take the columns 'kind' of X"):
        TransferKernel(source, Ridge(), method="none").fit(X.fillna({"gaps": 0}), y)
    with pytest.raises(ValueError, match="contains NaN"):
        TransferKernel(None, Ridge(), method="none").fit(X[["numbers", "gaps"]], y)


# -- warnings -----------------------------------------------------------------------


def messages_of(function, *args, **kwargs):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize(
    "estimator",
    [
        RFMRegressor(**QUICK),
        RFMClassifier(**QUICK),
        RFMRegressorCV(n_candidates=2, n_machines=2, random_state=0),
        RFMClassifierCV(n_candidates=2, n_machines=2, random_state=0),
        XRFMRegressor(max_leaf_size=20, n_trees=2, random_state=0),
        XRFMClassifier(max_leaf_size=20, random_state=0),
        TransferKernel(
            RFMRegressor(**QUICK).fit(*make_task(40, 5)),
            RFMRegressor(**QUICK),
            method="both",
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_one_warning_of_missing_names(estimator):
    X, y = make_task(60, 0)
    estimator.fit(X, (y > 1).astype(float))
    array = np.asarray(X, dtype=object)
    name = type(estimator).__name__
    expected = [
        f"X does not have valid feature names, but {name} was fitted with feature names"
    ]
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        if hasattr(estimator, method):
            assert messages_of(getattr(estimator, method), array) == expected
    if "RFMRegressor" in name and not name.startswith("X"):
        assert messages_of(estimator.predict, array, return_std=True) == expected


def test_one_warning_where_only_one_task_has_names(rng):
    X, S = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    frame, source_frame = (pd.DataFrame(a, columns=["a", "b"]) for a in (X, S))
    model = TransferKernel(Ridge(), Ridge(), method="both", random_state=0)
    given = {"X_source": source_frame, "y_source": S[:, 0]}
    messages = messages_of(model.fit, X, X[:, 1], **given)
    assert len(messages) == 1 and "X has none" in messages[0]
    found = model.predict(X)
    given["X_source"] = S
    messages = messages_of(model.fit, frame, X[:, 1], **given)
    assert len(messages) == 1 and "X_source has none" in messages[0]
    assert_allclose(model.predict(frame), found)


def test_no_source_is_warned_of(rng):
    X = rng.normal(size=(20, 2))
    for method in ("auto", "outputs"):
        with pytest.warns(UserWarning, match="There is no source") as found:
            TransferKernel(None, Ridge(), method=method, random_state=0).fit(X, X[:, 0])
        assert len(found) == 1 and found[0].filename == __file__
    TransferKernel(None, Ridge(), method="none").fit(X, X[:, 0])


def test_shared_rows_of_tables_are_warned_of(named):
    S, y_source, X, y = named
    both, targets = pd.concat([S, X[:4]]), np.append(y_source, y[:4])
    model = TransferKernel(RFMRegressor(**QUICK), RFMRegressor(**QUICK), method="none")
    with pytest.warns(NumericalWarning, match="4 of the 30 target rows"):
        model.fit(X, y, X_source=both, y_source=targets)
