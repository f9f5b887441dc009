"""Levels of categories by value, missing values of all kinds, and columns by name."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import (
    CNTKInpainter,
    ConvRFMRegressor,
    EntryRegressor,
    LinRFMCompleter,
    LinRFMRegressor,
    NTKMatrixCompleter,
    RecursiveFeatures,
    RFMClassifier,
    RFMRegressor,
    RFMRegressorCV,
    SingularKernelClassifier,
    TransferKernel,
    XRFMRegressor,
)

QUICK = {"kernel": "laplace", "alpha": 0.1, "max_iter": 1, "validation": None}
MODELS = [
    RFMRegressor(**QUICK),
    RFMRegressorCV(n_candidates=2, max_iter=1, cv=2, random_state=0),
    XRFMRegressor(RFMRegressor(**QUICK), max_leaf_size=40, random_state=0),
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)

N = 80
COLORS = ["red", "green", None, "blue"]


def frame(values, dtype="category"):
    """Return a table with a number and a category, and targets that are its levels."""
    column = pd.Series(list(values) * (N // len(values)), dtype=object)
    x = np.linspace(0, 1, N)
    X = pd.DataFrame({"x": x, "c": column.astype(dtype)})
    return X, x + pd.factorize(column)[0]


def row(value, dtype=object):
    return pd.DataFrame({"x": [0.5], "c": pd.Series([value], dtype=dtype)})


# -- missing values -------------------------------------------------------------------

MISSING = [None, np.nan, pd.NaT, pd.NA, float("nan"), np.float32("nan")]


@every_model
def test_all_missing_values_are_one_level(model):
    X, y = frame(COLORS)
    model.fit(X, y)
    (expected,) = model.predict(row(np.nan))
    for missing in MISSING:
        assert model.predict(row(missing)) == expected
    assert model.predict(row(None, "category")) == expected
    assert model.predict(row(None, "string")) == expected
    assert model.predict(row(np.nan, float)) == expected
    known = model.predict(row("red"))[0]
    assert abs(known - expected) > 0.1


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_missing_values_at_the_fit(missing, dtype):
    values = [missing if color is None else color for color in COLORS]
    expected, y = frame(COLORS)
    X, _ = frame(values, dtype=object)
    X["c"] = X["c"].astype(dtype)
    model = RFMRegressor(**QUICK, categorical_features=["c"])
    assert_array_equal(
        model.fit(X, y).predict(X), model.fit(expected, y).predict(expected)
    )


def test_missing_values_in_columns_of_numbers():
    x = np.linspace(0, 1, N)
    expected = None
    for missing in MISSING:
        column = pd.Series([1, 2.5, missing, 4] * (N // 4), dtype=object)
        X = pd.DataFrame({"x": x, "n": column})
        predicted = RFMRegressor(**QUICK).fit(X, x).predict(X)
        expected = predicted if expected is None else expected
        assert_array_equal(predicted, expected)
    nullable = X.assign(n=pd.array([1, 2.5, None, 4] * (N // 4), "Float64"))
    assert_array_equal(RFMRegressor(**QUICK).fit(nullable, x).predict(X), expected)
    polars = pl.DataFrame({"x": x, "n": [1.0, 2.5, None, 4.0] * (N // 4)})
    assert_array_equal(RFMRegressor(**QUICK).fit(polars, x).predict(polars), expected)


# -- levels ---------------------------------------------------------------------------

LEVELS = {
    "strings": ["a", "b", "c", "d"],
    "integers": [3, 1, 2, 7],
    "numbers": [0.5, 1.0, 2.5, -1.0],
    "mixed": ["S", 1, 2.5, "M"],
    "tuples": [("a", 1), ("b", 1), ("a", 2), ("c", 3)],
    "mixed tuples": [("a", 1), "a", 1, (1,)],
    "dates": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4)],
    "stamps": list(pd.date_range("2024", periods=4)),
    "booleans": [True, False, True, False],
}


@pytest.mark.parametrize("name", LEVELS)
@every_model
def test_levels_of_any_kind(model, name):
    X, y = frame(LEVELS[name])
    found = model.fit(X, y).predict(X)
    assert np.corrcoef(found, y)[0, 1] > 0.9
    # the same values in a column of objects
    assert_array_equal(model.predict(X.astype({"c": object})), found)


@pytest.mark.parametrize("name", LEVELS)
def test_the_order_of_levels_and_unused_ones_do_not_matter(name):
    X, y = frame(LEVELS[name])
    levels = [*X["c"].cat.categories[::-1], "not there"]
    try:
        other = X.assign(c=X["c"].cat.set_categories(levels))
    except TypeError:  # pandas compares some levels only among themselves
        other = X.assign(c=X["c"].cat.set_categories(levels[:-1]))
    model = RFMRegressor(**QUICK)
    expected = model.fit(X, y).predict(X)
    assert_array_equal(model.fit(other, y).predict(other), expected)
    assert_array_equal(model.predict(X), expected)


UNSEEN = [7, 1.5, True, "purple", ("red",), datetime.date(2024, 1, 1)]


@pytest.mark.parametrize("value", UNSEEN, ids=repr)
@every_model
def test_a_value_of_another_type_is_a_level_that_was_not_seen(model, value):
    X, y = frame(["red", "green", "blue", "grey"])
    model.fit(X, y)
    expected = model.predict(row("another"))
    assert_array_equal(model.predict(row(value)), expected)
    assert_array_equal(model.predict(row(value).convert_dtypes()), expected)


def test_numbers_are_compared_by_value_whatever_their_dtype():
    X, y = frame([1, 2, 3, 4])
    model = RFMRegressor(**QUICK).fit(X, y)
    expected = model.predict(X)
    for dtype in (int, float, "Int8", "Float32", object):
        column = pd.Series(X["c"].astype(int)).astype(dtype)
        assert_array_equal(model.predict(X.assign(c=column)), expected)
    text = X.assign(c=X["c"].astype(str))  # "1" is not 1
    unseen = model.predict(X.assign(c="not there"))
    assert_array_equal(model.predict(text), unseen)


def test_frames_of_polars_have_the_same_levels():
    X, y = frame(COLORS)
    model = RFMRegressor(**QUICK).fit(X, y)
    expected = model.predict(X)
    values = COLORS * (N // 4)
    for dtype in (pl.Categorical, pl.String, pl.Enum(["blue", "green", "red"])):
        same = pl.DataFrame(
            {"x": X["x"].to_numpy(), "c": pl.Series(values, dtype=dtype)}
        )
        assert_array_equal(model.predict(same), expected)
    fitted = RFMRegressor(**QUICK, categorical_features=["c"]).fit(same, y)
    assert_array_equal(fitted.predict(same), expected)


def test_levels_that_cannot_be_compared_are_an_error_that_names_the_column():
    X, y = frame(["a", "b"], dtype=object)
    X["c"] = [[1]] * N
    model = RFMRegressor(**QUICK, categorical_features=["c"])
    with pytest.raises(ValueError, match="Column 'c' of X .* type list"):
        model.fit(X, y)


# -- columns that are refused ---------------------------------------------------------

DATES = {
    "datetime": pd.date_range("2024", periods=N),
    "zones": pd.date_range("2024", periods=N, tz="UTC"),
    "timedelta": pd.to_timedelta(np.arange(N), unit="h"),
    "period": pd.period_range("2024", periods=N),
    "objects": pd.Series([datetime.date(2024, 1, 1 + i % 9) for i in range(N)]),
    "timestamps": pd.Series(pd.date_range("2024", periods=N), dtype=object),
}


@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier, XRFMRegressor])
def test_dates_are_refused_by_name(cls, name, alone):
    X = pd.DataFrame({"when": DATES[name], "x": np.arange(float(N))})
    X = X[["when"]] if alone else X
    with pytest.raises(ValueError, match="Column 'when' of X holds dates .*Encode"):
        cls().fit(X, np.arange(N) % 2)


def test_dates_in_arrays_and_in_polars():
    y = np.arange(N) % 2
    dates = DATES["datetime"].to_numpy()
    with pytest.raises(ValueError, match="Column 0 of X holds dates"):
        RFMClassifier().fit(dates[:, None], y)
    frame = pl.DataFrame({"x": np.arange(N), "when": dates})
    with pytest.raises(ValueError, match="Column 'when' of X holds dates"):
        RFMClassifier().fit(frame, y)


@pytest.mark.parametrize("value", ["tall", {"a": 1}, (1, 2)])
def test_other_values_in_a_column_of_numbers_are_an_error_that_names_it(value):
    X = pd.DataFrame({"x": np.arange(4.0), "size": pd.Series([1, 2, 3, value])})
    with pytest.raises((ValueError, TypeError), match="Column 'size' of X.*categor"):
        RFMRegressor().fit(X, np.arange(4.0))
    model = RFMRegressor(**QUICK).fit(X[:3].astype({"size": float}), np.arange(3.0))
    with pytest.raises((ValueError, TypeError), match="Column 'size' of X"):
        model.predict(X)


# -- dates as targets ------------------------------------------------------------------

REGRESSORS = [
    RFMRegressor(),
    XRFMRegressor(),
    LinRFMRegressor(),
    ConvRFMRegressor(image_shape=(1, 2)),
    RecursiveFeatures(LinRFMRegressor()),
    TransferKernel(RFMRegressor(), RFMRegressor()),
]
NUMBERS = np.arange(2.0 * N).reshape(N, 2)


@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda r: type(r).__name__)
def test_dates_are_no_targets_of_a_regressor(regressor, name):
    y = pd.Series(DATES[name])
    with pytest.raises(ValueError, match="^y holds dates or durations .* as numbers"):
        regressor.fit(NUMBERS, y)
    with pytest.raises(ValueError, match="^Column 'when' of y holds dates"):
        regressor.fit(NUMBERS, pd.DataFrame({"when": y}))


@pytest.mark.parametrize("name", ["datetime", "timedelta"])
def test_dates_are_no_targets_in_any_container(name):
    dates = DATES[name]
    for y in (dates.to_numpy(), list(dates), pl.Series(dates.to_numpy())):
        with pytest.raises(ValueError, match="^y holds dates"):
            RFMRegressor().fit(NUMBERS, y)
    with pytest.raises(ValueError, match="^y_val holds dates"):
        RFMRegressor(**QUICK | {"validation": "auto"}).fit(
            NUMBERS, NUMBERS[:, 0], X_val=NUMBERS, y_val=dates.to_numpy()
        )
    batches = pl.LazyFrame({"x": NUMBERS[:, 0], "when": dates.to_numpy()})
    with pytest.raises(ValueError, match="^y holds dates"):
        RFMRegressor(n_centers=4).fit(batches, "when")


@pytest.mark.parametrize("name", DATES)
def test_dates_are_neither_indices_nor_values_of_entries(name):
    pairs = pd.DataFrame({"row": np.arange(N), "column": 0})
    regressor = EntryRegressor(LinRFMCompleter(max_rank=1))
    message = "Column 'column' of X holds dates .*must hold integers.* OrdinalEncoder"
    with pytest.raises(ValueError, match=message):
        regressor.fit(pairs.assign(column=DATES[name]), NUMBERS[:, 0])
    with pytest.raises(ValueError, match="Column 'when' of X holds dates"):
        regressor.fit(pairs.assign(when=DATES[name]), NUMBERS[:, 0])
    with pytest.raises(ValueError, match="^y holds dates"):
        regressor.fit(pairs, pd.Series(DATES[name]))
    with pytest.raises(ValueError, match="^values holds dates"):
        LinRFMCompleter().fit_entries(
            pairs["row"], pairs["column"], DATES[name], shape=(N, 1)
        )
    regressor.fit(pairs, NUMBERS[:, 0])
    with pytest.raises(ValueError, match=message):
        regressor.predict(pairs.assign(column=DATES[name]))


# -- estimators that take numbers only ------------------------------------------------

NUMBERS_ONLY = {
    "linear": lambda X: LinRFMRegressor(max_iter=5).fit(X, np.arange(float(len(X)))),
    "low rank": lambda X: LinRFMCompleter(max_iter=5).fit_transform(X),
    "tangent": lambda X: NTKMatrixCompleter().fit_transform(X),
    "singular": lambda X: SingularKernelClassifier().fit(X, np.arange(len(X)) % 2),
    "images": lambda X: ConvRFMRegressor(image_shape=(1, 2)).fit(X, np.arange(len(X))),
    "pixels": lambda X: CNTKInpainter().fit_transform(X),
}


@pytest.mark.parametrize("fit", NUMBERS_ONLY.values(), ids=NUMBERS_ONLY)
@pytest.mark.parametrize(
    "column, message",
    [
        (DATES["datetime"], "holds dates"),
        (DATES["timedelta"], "holds dates"),
        (DATES["objects"], "holds dates"),
        (["red"] * N, "could not convert.*Only numbers.*OneHotEncoder"),
        (pd.Categorical(["a"] * N), "could not convert.*Only numbers"),
        ([[1, 2]] * N, "Only numbers"),
        (np.arange(N) * 1j, "Only numbers"),
    ],
    ids=["date", "duration", "objects", "text", "category", "lists", "complex"],
)
def test_columns_without_numbers_are_refused_by_name(fit, column, message):
    X = pd.DataFrame({"x": np.arange(float(N)), "odd": column})
    with pytest.raises((TypeError, ValueError), match=f"Column 'odd' of X.*{message}"):
        fit(X)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_completers_take_every_kind_of_missing_value(make):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 1)) * rng.normal(size=3)
    columns = [[None if value > 1 else value for value in column] for column in X.T]
    frame = make({f"c{k}": column for k, column in enumerate(columns)})
    expected = LinRFMCompleter(random_state=0).fit_transform(np.where(X > 1, np.nan, X))
    completed = LinRFMCompleter(random_state=0).fit_transform(frame)
    assert_allclose(completed, expected)


def test_text_in_side_features_is_refused_by_name():
    X = np.where(np.eye(N) > 0, np.nan, np.arange(float(N)))
    features = pd.DataFrame({"x": np.arange(N), "kind": ["a"] * N})
    with pytest.raises(ValueError, match="Column 'kind' of row_features.*could not"):
        NTKMatrixCompleter().fit(X, row_features=features)
