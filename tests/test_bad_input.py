"""What happens to input that cannot be fitted, or only with care.

Every message names the argument at fault, and names the remedy.
"""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from skrfm import RFMClassifier, RFMRegressor
from skrfm._backend import _memory
from skrfm.exceptions import NumericalWarning
from skrfm.kernels import GeneralizedLaplace, L1Laplace, LpqLaplace

ESTIMATORS = [RFMRegressor, RFMClassifier]
QUICK = {
    "kernel": "laplace",
    "bandwidth": "median",
    "alpha": 0.1,
    "validation": None,
    "max_iter": 2,
}

every_estimator = pytest.mark.parametrize("cls", ESTIMATORS)


@pytest.fixture
def X(rng):
    return rng.normal(size=(24, 3))


@pytest.fixture
def y(X):
    """Numbers and two classes at once."""
    return (X[:, 0] > 0).astype(float)


def with_value(a, value):
    a = np.array(a)
    a[3] = value
    return a


# -- X and y ------------------------------------------------------------------------


@every_estimator
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.inf, "Input X contains infinity"), (-np.inf, "Input X contains infinity")],
)
def test_infinite_numbers_in_X(cls, value, message, X, y):
    with pytest.raises(ValueError, match=message):
        cls().fit(with_value(X, value), y)
    machine = cls(**QUICK).fit(X, y)
    for method in ("predict", "transform"):
        with pytest.raises(ValueError, match=message):
            getattr(machine, method)(with_value(X, value))


@every_estimator
def test_infinite_numbers_are_named_by_their_column(cls, X, y):
    frame = pd.DataFrame(with_value(X, 1.0)).add_prefix("c")
    frame.loc[5, "c2"] = np.inf
    machine = cls(**QUICK).fit(X, y)
    for call in (
        lambda: cls().fit(frame, y),
        lambda: machine.predict(frame.to_numpy()),
    ):
        with pytest.raises(ValueError, match="in column ('c2'|2): .* NaN"):
            call()
    categories = frame.assign(c0=pd.Categorical(frame["c0"]))
    with pytest.raises(ValueError, match="in column 'c2'"):
        cls().fit(categories, y)


@every_estimator
@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_names_of_columns_of_a_table_in_memory(cls, name, X, y):
    frame = pd.DataFrame(X).add_prefix("c").assign(target=y)
    arguments = {"y": y, name: "target"}
    for table in (frame, pl.from_pandas(frame)):
        with pytest.raises(TypeError, match=f"{name} is a string, 'target'"):
            cls().fit(table, **arguments)


@every_estimator
def test_a_path_is_no_table(cls, tmp_path):
    for path in (tmp_path / "table.csv", "table.csv"):
        with pytest.raises(TypeError, match="X is a string or a path.*table.csv"):
            cls().fit(path, "target")


@every_estimator
@pytest.mark.parametrize("dtype", [np.float64, np.int64, object])
def test_masked_entries_are_missing_values(cls, dtype, X, y):
    whole = np.round(10 * X)
    mask = np.zeros(X.shape, dtype=bool)
    mask[::7, 1] = True
    with_nan = np.where(mask, np.nan, whole)
    hidden = np.ma.masked_array(np.where(mask, 999, whole).astype(dtype), mask)
    expected = cls(**QUICK).fit(with_nan, y)
    found = cls(**QUICK).fit(hidden, y)
    assert_array_equal(found.predict(hidden), expected.predict(with_nan))


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "Input y contains NaN"), (np.inf, "Input y contains infinity")],
)
def test_numbers_that_are_none_in_y(value, message, X, y):
    with pytest.raises(ValueError, match=message):
        RFMRegressor().fit(X, with_value(y, value))


@every_estimator
def test_strings_in_X(cls, X, y):
    with pytest.raises(ValueError, match="could not convert string to float: .*'a'"):
        cls().fit(np.full(X.shape, "a"), y)
    with pytest.raises(ValueError, match="could not convert string to float: .*'a'"):
        cls().fit(np.full(X.shape, "a", dtype=object), y)


def test_strings_as_targets_of_a_regressor(X):
    with pytest.raises(ValueError, match=r"\by\b.* numeric|numeric .*\by\b"):
        RFMRegressor().fit(X, np.array(["b", "a"])[np.arange(24) % 2])


def test_numbers_as_targets_of_a_classifier(X):
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        RFMClassifier().fit(X, X[:, 0])


@every_estimator
def test_no_rows_or_no_features(cls, X, y):
    with pytest.raises(ValueError, match=r"0 sample\(s\).* minimum of 2 is required"):
        cls().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match=r"0 feature\(s\).* minimum of 1 is required"):
        cls().fit(X[:, :0], y)


@every_estimator
def test_one_row(cls, X, y):
    with pytest.raises(ValueError, match=r"1 sample.* minimum of 2 is required by RFM"):
        cls().fit(X[:1], y[:1])


@every_estimator
def test_no_y(cls, X):
    with pytest.raises((TypeError, ValueError), match="y"):
        cls().fit(X, None)


@every_estimator
def test_y_of_another_length(cls, X, y):
    with pytest.raises(
        ValueError, match=r"inconsistent numbers of samples: \[24, 20\]"
    ):
        cls().fit(X, y[:20])


@every_estimator
def test_X_of_one_dimension(cls, X, y):
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        cls().fit(X[:, 0], y)


@every_estimator
def test_sparse_X(cls, X, y):
    with pytest.raises(TypeError, match=r"Sparse data .* X, but dense .*toarray\(\)"):
        cls().fit(csr_array(X), y)
    machine = cls(**QUICK).fit(X, y)
    with pytest.raises(TypeError, match=r"dense data is required"):
        machine.predict(csr_array(X))


def test_several_columns_of_labels(X, y):
    with pytest.raises(ValueError, match="y should be a 1d array"):
        RFMClassifier().fit(X, np.c_[y, y])


@pytest.mark.parametrize("label", [1, "only"])
def test_one_class(label, X):
    message = f"needs at least 2 classes; .* one class only: .*{label}"
    with pytest.raises(ValueError, match=message):
        RFMClassifier().fit(X, np.full(24, label))


def test_one_class_among_the_rows_with_a_weight(X, y):
    with pytest.raises(ValueError, match="at least 2 classes; the rows of positive"):
        RFMClassifier().fit(X, y, sample_weight=y)


@every_estimator
def test_prediction_with_other_features(cls, X, y):
    machine = cls(**QUICK).fit(X, y)
    for method in ("predict", "transform"):
        with pytest.raises(ValueError, match="X has 2 features, but .* expecting 3"):
            getattr(machine, method)(X[:, :2])


@pytest.mark.parametrize("method", ["predict", "transform", "predict_proba"])
def test_prediction_before_the_fit(method, X):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(RFMClassifier(), method)(X)


# -- weights ------------------------------------------------------------------------


@every_estimator
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(24), "Sample weights must contain at least one non-zero number"),
        (-np.ones(24), "Negative values in data passed to `sample_weight`"),
        (np.ones(20), r"sample_weight.shape == \(20,\), expected \(24,\)"),
        (np.full(24, np.nan), "Input sample_weight contains NaN"),
        (np.ones((24, 2)), "Sample weights must be 1D array or scalar"),
        (["a"] * 24, "sample_weight must be an array of numbers, one per row"),
        (np.full(24, 1j), "Complex data not supported"),
    ],
    ids=["zero", "negative", "short", "nan", "2d", "text", "complex"],
)
def test_bad_weights(cls, weight, message, X, y):
    with pytest.raises(ValueError, match=message):
        cls().fit(X, y, sample_weight=weight)


def test_a_weight_on_one_row_only(X, y):
    weight = np.eye(24)[0]
    message = "RFMRegressor needs at least 2 rows of positive sample_weight, got 1"
    with pytest.raises(ValueError, match=message):
        RFMRegressor().fit(X, y, sample_weight=weight)


# -- rows of the user's for validation ------------------------------------------------


@every_estimator
def test_X_val_or_y_val_alone(cls, X, y):
    with pytest.raises(ValueError, match="X_val is given without y_val: pass both"):
        cls().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val is given without X_val: pass both"):
        cls().fit(X, y, y_val=y)
    with pytest.raises(ValueError, match="sample_weight_val .* X_val and y_val"):
        cls().fit(X, y, sample_weight_val=np.ones(24))


@every_estimator
def test_X_val_with_nothing_to_validate(cls, X, y):
    message = "X_val is given, but validation=None.*Leave validation at 'auto'"
    with pytest.raises(ValueError, match=message):
        cls(validation=None).fit(X, y, X_val=X, y_val=y)


@every_estimator
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:, :2], r"X_val.* has 2 features, but RFM\w+ is expecting 3"),
        (lambda a: a[:, 0], r"X_val.* Expected 2D array"),
        (lambda a: a[:20], r"X_val and y_val.*\[20, 24\]"),
        (lambda a: with_value(a, np.inf), "X_val.* contains infinity"),
    ],
    ids=["features", "1d", "rows", "inf"],
)
def test_errors_of_X_val_name_it(cls, change, message, X, y):
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        cls().fit(X, y, X_val=change(X), y_val=y)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "Input y_val contains NaN"), (np.inf, "Input y_val contains infinity")],
)
def test_numbers_that_are_none_in_y_val(value, message, X, y):
    with pytest.raises(ValueError, match=message):
        RFMRegressor().fit(X, y, X_val=X, y_val=with_value(y, value))


@pytest.mark.parametrize(("columns", "columns_val"), [(1, 2), (2, 1), (2, 3)])
def test_y_val_with_another_number_of_outputs(columns, columns_val, X):
    message = rf"y_val.* {columns_val} (outputs?|columns?).* {columns}\b"
    Y, Y_val = X[:, :columns].squeeze(), X[:, :columns_val].squeeze()
    with pytest.raises(ValueError, match=message):
        RFMRegressor().fit(X, Y, X_val=X, y_val=Y_val)


def test_y_val_with_labels_that_y_does_not_have(X, y):
    message = r"y_val holds labels that y does not have: \[2(\.0)?, 3(\.0)?\]"
    with pytest.raises(ValueError, match=message):
        RFMClassifier().fit(X, y, X_val=X[:4], y_val=[0, 1, 2, 3])
    labels = np.array(["a", "b"])[y.astype(int)]
    with pytest.raises(ValueError, match=r"y_val holds labels .* \['c'\]"):
        RFMClassifier().fit(X, labels, X_val=X[:2], y_val=["a", "c"])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(24), "sample_weight_val"),
        (-np.ones(24), "sample_weight_val"),
        (np.ones(20), r"sample_weight_val.*\(20,\).*\(24,\)"),
        (np.full(24, np.nan), "sample_weight_val.* contains NaN"),
        (["a"] * 24, "sample_weight_val.* must be an array of numbers"),
    ],
    ids=["zero", "negative", "short", "nan", "text"],
)
def test_errors_of_sample_weight_val_name_it(weight, message, X, y):
    with pytest.raises(ValueError, match=message):
        RFMRegressor().fit(X, y, X_val=X, y_val=y, sample_weight_val=weight)


# -- parameters ---------------------------------------------------------------------


@every_estimator
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1.0}, r"'alpha' parameter .* \[0.0, inf\) or .*'auto'.*Got -1.0"),
        ({"alpha": np.inf}, r"'alpha' parameter .* Got inf"),
        ({"alpha": "best"}, r"'alpha' parameter .* Got 'best'"),
        (
            {"alphas": ()},
            r"alphas must be 'auto', or one or more finite numbers >= 0; got \(\)",
        ),
        ({"alphas": (-1, 1)}, r"alphas must be .* >= 0; got \(-1, 1\)"),
        ({"alphas": [np.nan]}, r"alphas must be 'auto', or one or more finite numbers"),
        ({"alphas": ["a"]}, r"alphas must be .* one or more finite numbers .*\['a'\]"),
        ({"alphas": 1.0}, r"'alphas' parameter .* must be .*an array-like"),
        ({"kernel": "laplas"}, r"Unknown kernel 'laplas': pass one of \[.*laplace"),
        ({"kernel": "precomputed"}, "gradients of the kernel, which a precomputed"),
        ({"kernel": {"laplace"}}, r"'kernel' parameter .* instance of .*Kernel"),
        ({"kernel": GeneralizedLaplace(3)}, r"exponent of Gen.*in \(0, 2\], got 3"),
        ({"kernel": LpqLaplace(p=3)}, r"p of LpqLaplace .* in \[1, 2\], got 3"),
        ({"kernel": LpqLaplace(q=1.6)}, r"q of LpqLaplace .* in \(0, 1.5\], got 1.6"),
        ({"bandwidth": 0}, r"'bandwidth' parameter .* in the range \(0.0, inf\)"),
        ({"bandwidth": "mean"}, 'bandwidth must be a positive number, "median", or'),
        ({"metric_type": "truncated"}, "'metric_type' parameter .*'full'"),
        (
            {"metric_type": "full", "kernel": "l1_laplace"},
            r"metric_type='full' does not work with L1Laplace\(\).*Pass metric_type=",
        ),
        (
            {"metric_type": "full", "kernel": LpqLaplace()},
            r"metric_type='full' does not work with LpqLaplace\(\).*'laplace'",
        ),
        ({"n_components": 0}, r"'n_components' parameter .* \[1, inf\)"),
        ({"n_components": 1.5}, r"'n_components' parameter .* \(0.0, 1.0\)"),
        ({"max_iter": -1}, r"'max_iter' parameter .* \[0, inf\)"),
        ({"max_iter": 1.5}, "'max_iter' parameter .* must be an int"),
        ({"validation": "yes"}, "'validation' parameter .*'holdout'"),
        ({"cv": 1}, r"'cv' parameter .* int in the range \[2, inf\).*Got 1"),
        ({"cv": []}, "cv is an empty list of splits"),
        ({"validation_fraction": 1.0}, r"'validation_fraction' .* \(0.0, 1.0\)"),
        ({"solver": "lu"}, "'solver' parameter .*'cholesky'"),
        ({"device": "tpu"}, "'device' parameter .*'cuda'"),
        ({"max_agop_samples": 0}, r"'max_agop_samples' parameter .* \[1, inf\)"),
        ({"random_state": "a"}, "'random_state' parameter"),
        ({"fit_intercept": "no"}, "'fit_intercept' parameter .*bool"),
    ],
    ids=repr,
)
def test_parameters_out_of_range(cls, parameters, message, X, y):
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        cls(**parameters).fit(X, y)


def test_a_split_without_rows(X, y):
    splits = [(np.arange(12), np.arange(12, 24)), (np.arange(24), np.array([], int))]
    with pytest.raises(ValueError, match="cv holds a split whose train or test part"):
        RFMRegressor(cv=splits).fit(X, y)


def test_a_split_whose_rows_have_no_weight(X, y):
    splits = [(np.arange(12), np.arange(12, 24))]
    weight = (np.arange(24) < 12).astype(float)
    with pytest.raises(ValueError, match="cv holds .* no row of positive weight"):
        RFMRegressor(cv=splits).fit(X, y, sample_weight=weight)


def test_an_invalid_class_weight(X, y):
    with pytest.raises(ValueError, match="'class_weight' parameter .*'balanced'"):
        RFMClassifier(class_weight="even").fit(X, y)


def test_a_hold_out_too_small_for_the_classes(X):
    """Three classes do not fit in a hold-out of two rows: cope, or name the cause."""
    labels = np.array(["a", "b", "c"])[np.arange(9) % 3]
    machine = RFMClassifier(**{**QUICK, "validation": "holdout"})
    try:
        machine.fit(X[:9], labels)
    except ValueError as error:
        assert "validation_fraction" in str(error)


def test_a_hold_out_of_nearly_everything(X, y):
    machine = RFMRegressor(validation="holdout", validation_fraction=0.99)
    with pytest.raises(ValueError, match="validation_fraction"):
        machine.fit(X, y)


# -- memory -------------------------------------------------------------------------


@every_estimator
@pytest.mark.parametrize("validation", [None, "cv", "loo"])
def test_a_kernel_matrix_that_does_not_fit(cls, validation, X, y, monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr("skrfm._backend._packed.UNCHECKED_BYTES", 0)
    machine = cls(**{**QUICK, "validation": validation})
    message = (
        r"kernel matrix of \d+ rows needs .* GB, and 1e-06 GB are free\. Fit on fewer "
        r"rows \(about 11 fit\), pass solver='pcg', .*; X in float32 halves it\."
    )
    with pytest.raises(MemoryError, match=message):
        machine.fit(X, y)


# -- hard but possible --------------------------------------------------------------


@every_estimator
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_constant_columns(cls, kernel, X, y):
    constant = np.column_stack([X, np.full(24, 5.0), np.zeros(24)])
    machine = cls(**{**QUICK, "kernel": kernel}).fit(constant, y)
    assert_allclose(machine.feature_importances_[3:], 0, atol=1e-20)
    expected = cls(**{**QUICK, "kernel": kernel}).fit(X, y)
    assert_allclose(machine.predict(constant), expected.predict(X), rtol=1e-8)


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace", "auto"])
@pytest.mark.parametrize("validation", [None, "cv", "loo", "holdout"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_constant_target(kernel, validation, outputs, X):
    """A warning, and predictions of that constant."""
    y = np.full((24, outputs), 3.5).squeeze()
    machine = RFMRegressor(kernel=kernel, validation=validation, max_iter=2)
    with pytest.warns(NumericalWarning, match=r"constant.*Is y constant") as caught:
        machine.fit(X, y)
    assert_allclose(machine.predict(X + 1), y, rtol=1e-12)
    assert len(caught) == 1


def test_the_warning_points_at_the_call_of_fit(X):
    with pytest.warns(NumericalWarning) as caught:
        RFMRegressor(**QUICK).fit(X, np.ones(24))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("validation", [None, "cv", "loo", "holdout"])
@every_estimator
def test_equal_rows_only(cls, validation, y):
    """Nothing to learn from X: the metric collapses, the mean is predicted."""
    machine = cls(**{**QUICK, "validation": validation, "random_state": 0})
    with pytest.warns(NumericalWarning, match="are all rows equal"):
        machine.fit(np.ones((24, 3)), y)
    assert_allclose(machine.metric_, np.ones(3))
    assert np.isfinite(machine.predict(np.ones((2, 3)))).all()
    assert np.isfinite(machine.feature_importances_).all()


def test_a_target_that_does_not_depend_on_X_at_the_training_rows(X):
    """A huge ridge leaves gradients, however small: no collapse, no warning."""
    machine = RFMRegressor(**{**QUICK, "alpha": 1e12})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine.fit(X, X[:, 0])
    assert_allclose(machine.predict(X), X[:, 0].mean(), atol=1e-6)


@every_estimator
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_two_rows(cls, kernel):
    machine = cls(**{**QUICK, "kernel": kernel})
    machine.fit(np.array([[0.0, 1.0], [1.0, 1.0]]), [0, 1])
    predicted = machine.predict(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert predicted[0] < predicted[1]


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", "auto"])
def test_three_rows_can_be_validated(validation, X):
    machine = RFMRegressor(validation=validation, max_iter=1)
    machine.fit(X[:3], [1.0, 2.0, 4.0])
    assert np.isfinite(machine.predict(X)).all()


@every_estimator
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace", "auto"])
def test_more_features_than_rows(cls, kernel, rng):
    X = rng.normal(size=(12, 40))
    machine = cls(kernel=kernel, cv=2, max_iter=2).fit(X, (X[:, 0] > 0).astype(int))
    n_columns = {"clipped": 40, "quantile": 80}[machine.scaling_]
    diagonal = machine.metric_.ndim == 1
    assert machine.metric_.shape == (n_columns,) * (1 if diagonal else 2)
    assert machine.feature_importances_.shape == (40,)
    assert np.isfinite(machine.transform(X)).all()


def test_duplicate_rows_without_a_ridge(X):
    """A warning that names the remedy, and still an interpolation."""
    doubled = np.concatenate([X, X])
    machine = RFMRegressor(**{**QUICK, "alpha": 0.0})
    with pytest.warns(NumericalWarning, match="not positive definite.*Raise alpha"):
        machine.fit(doubled, doubled[:, 0])
    assert_allclose(machine.predict(X), X[:, 0], atol=1e-6)


def test_contradicting_duplicates_without_a_ridge(X, y):
    doubled = np.concatenate([X, X])
    machine = RFMRegressor(**{**QUICK, "alpha": 0.0}, solver="eigh")
    machine.fit(doubled, np.concatenate([y, 1 - y]))
    assert_allclose(machine.predict(X), 0.5, atol=1e-8)


def test_a_matrix_that_is_not_positive_definite_in_float32(rng):
    """A smooth kernel of close rows: the warning recommends float64, which suffices."""
    X = rng.uniform(size=(80, 1)).astype(np.float32)
    y = np.sin(6 * X[:, 0])
    machine = RFMRegressor(
        kernel="gaussian",
        bandwidth="median",
        alpha=1e-9,
        max_iter=0,
        validation=None,
    )
    message = r"in float32.* added to the diagonal\. Raise alpha, or pass X in float64"
    with pytest.warns(NumericalWarning, match=message):
        machine.fit(X, y)
    assert machine.predict(X).dtype == np.float32
    assert_allclose(machine.predict(X), y, atol=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        machine.fit(X.astype(np.float64), y)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_columns_of_extreme_scale(scale, X):
    y = X[:, 0]
    expected = RFMRegressor(**QUICK).fit(X, y).predict(X)
    assert_allclose(
        RFMRegressor(**QUICK).fit(scale * X, y).predict(scale * X), expected, rtol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-24, 1e24])
def test_targets_of_extreme_scale(scale, X):
    """Their squares do not fit into a float32, but the metric has no scale."""
    narrow, y = X.astype(np.float32), X[:, 0]
    expected = RFMRegressor(**QUICK).fit(narrow, y)
    machine = RFMRegressor(**QUICK).fit(narrow, scale * y)
    assert machine.best_iter_ == expected.best_iter_
    got = machine.predict(narrow).astype(np.float64) / scale
    assert_allclose(got, expected.predict(narrow), rtol=1e-3, atol=1e-4)


@every_estimator
def test_a_fit_that_fails_leaves_the_estimator_unchanged(cls, X, y, monkeypatch):
    machine = cls(**QUICK).fit(X, y)
    before = machine.predict(X)
    with pytest.raises(ValueError, match="Unknown kernel"):
        machine.set_params(kernel="none").fit(X[:, :2], 1 - y)
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr("skrfm._backend._packed.UNCHECKED_BYTES", 0)
    with pytest.raises(MemoryError):
        machine.set_params(kernel="laplace").fit(X[:, :2], 1 - y)
    assert machine.n_features_in_ == 3
    assert_allclose(machine.predict(X), before, rtol=0)


def test_a_fit_that_fails_sets_nothing_on_a_new_estimator(X, y):
    machine = RFMRegressor(kernel="none")
    with pytest.raises(ValueError, match="Unknown kernel"):
        machine.fit(X, y)
    with pytest.raises(NotFittedError):
        machine.predict(X)


def test_a_kernel_object_may_be_shared(X, y):
    kernel = L1Laplace()
    first = RFMRegressor(**{**QUICK, "kernel": kernel}).fit(X, y)
    second = RFMRegressor(**{**QUICK, "kernel": kernel, "bandwidth": 9.0}).fit(X, y)
    expected = RFMRegressor(**{**QUICK, "kernel": "l1_laplace"}).fit(X, y)
    assert_allclose(first.predict(X), expected.predict(X), rtol=1e-12)
    assert second.bandwidth_ == 9.0
