"""From what a user passes to arrays that the recursion can trust."""

import numpy as np
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import (
    check_consistent_length,
    check_X_y,
    validate_data,
)

from ._compat import (
    check_categorical_features,
    check_sample_weight,
    get_namespace_and_device,
)
from ._device import on_host, place_of, require_same_place
from ._judging import ValidationSet
from ._recursion import Data
from ._table import TableEncoder, TableReader


def validate_training(estimator, X, y, sample_weight):
    """Return the Data of the rows that have a weight, their mask, and the Place.

    What is learned of the table on the way is set on the estimator.
    """
    place = place_of(estimator.device, X)
    X, y = place.read(X), on_host(y)
    X, y, weight = read_training(
        estimator, X, y, sample_weight, estimator.categorical_features
    )
    Y, weight = estimator._encode(y, weight)
    reader = place.reader
    data = _make_data(X, Y, weight, reader)
    keep = weight > 0
    if not keep.all():
        rows = np.flatnonzero(keep)
        if len(rows) < 2:
            raise ValueError(
                f"{type(estimator).__name__} needs at least 2 rows of positive "
                f"sample_weight, got {len(rows)}."
            )
        data = data.subset(rows, reader)
    estimator._encoder = TableEncoder.fit(
        data.X, estimator.is_categorical_, data.weight, estimator.scaling, reader.xp
    )
    return _encoded(estimator, data, place), keep, place


def read_training(estimator, X, y, sample_weight, categorical_features):
    """Return X as a matrix of floats, y, and the weights, after the usual checks.

    How categories become codes is set on the estimator.
    """
    estimator._reader = None
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False)
    estimator.is_categorical_ = check_categorical_features(X, categorical_features)
    options = {
        "multi_output": estimator._multi_output,
        "y_numeric": estimator._multi_output,
        "ensure_min_samples": 2,
    }
    try:
        if estimator.is_categorical_ is None:
            X, y = validate_data(estimator, X, y, **_float_options(X), **options)
            return X, y, _validate_weight(sample_weight, y)
        validate_data(estimator, X, y, skip_check_array=True)
        weight = _validate_weight(sample_weight, y)
        check_consistent_length(X, weight)
        reader = TableReader(estimator.is_categorical_)
        reader.fit(_safe_indexing(X, np.flatnonzero(weight > 0)))
        X = reader.transform(X)
        X, y = check_X_y(X, y, ensure_all_finite=False, dtype=X.dtype, **options)
    except ValueError as error:
        if "could not convert string" in str(error):
            raise ValueError(
                f"{error}. Columns of X that are categories must have a categorical "
                "dtype (in pandas: astype('category')), or be named in "
                "categorical_features; the y of a regressor must be numeric."
            ) from error
        raise
    estimator._reader = reader
    return X, y, weight


def read_rows(estimator, X):
    """Return new rows as a matrix of floats, after the usual checks."""
    if estimator._reader is None:
        return validate_data(estimator, X, reset=False, **_float_options(X))
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False)
    validate_data(estimator, X, skip_check_array=True, reset=False)
    return estimator._reader.transform(X)


def _float_options(X):
    """Return how validate_data checks a table of numbers: NaN is a missing value."""
    xp, _, _ = get_namespace_and_device(X)
    numpy = xp.__name__.split(".")[-1] == "numpy"
    finite = "allow-nan" if numpy else True
    return {"dtype": [xp.float64, xp.float32], "ensure_all_finite": finite}


def _encoded(estimator, data, place):
    """Return data whose rows are a kernel's, where it is computed with."""
    encoder = estimator._encoder
    X = encoder.transform(data.X, place.reader.xp)
    X, Y, weight = (place.bring(a) for a in (X, data.Y, data.weight))
    X, n_levels = place.backend.rows(X), sum(encoder.widths)
    return Data(X, Y, weight, n_levels, encoder.quantile_columns)


def validate_validation_set(estimator, X_val, y_val, sample_weight_val, place):
    """Return the user's ValidationSet, or None where there is none."""
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val is given without X_val and y_val.")
        return None
    if X_val is None or y_val is None:
        given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"{given} is given without {missing}: pass both, or none.")
    if getattr(estimator, "validation", "auto") is None:
        raise ValueError(
            "X_val is given, but validation=None keeps the last round whatever its "
            "score. Leave validation at 'auto', or do not pass X_val."
        )
    X_val = place.read(X_val)
    try:
        X_val = read_rows(estimator, X_val)
        y_val = on_host(y_val)
        check_consistent_length(X_val, y_val)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not fit X and y: {error}") from error
    try:
        weight = _validate_weight(sample_weight_val, y_val)
    except ValueError as error:
        raise ValueError(f"sample_weight_val: {error}") from error
    Y, weight = estimator._encode_more(y_val, weight)
    data = _make_data(X_val, Y, weight, place.reader)
    return ValidationSet(_encoded(estimator, data, place))


def validate_rows(estimator, X, method):
    """Return new rows as a matrix of numbers and codes, and their Place."""
    require_same_place(X, estimator, method)
    place = place_of(estimator.device, X)
    return read_rows(estimator, place.read(X)), place


def encode_rows(estimator, X, place):
    """Return the rows of such a matrix as a kernel's, where it is computed with."""
    return place.bring(estimator._encoder.transform(X, place.reader.xp))


def _make_data(X, Y, weight, reader):
    """Return the Data with targets and weights beside X, in its precision."""
    return Data(X, *(reader.asarray(a, X.dtype) for a in (Y, weight)))


def _validate_weight(sample_weight, y):
    """Return float64 weights, ones by default."""
    return check_sample_weight(
        on_host(sample_weight), y, dtype=np.float64, ensure_non_negative=True
    )
