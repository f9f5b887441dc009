"""From what a user passes to arrays that the recursion can trust."""

import numpy as np
from sklearn.utils.validation import check_consistent_length, validate_data

from ._backend import get_backend
from ._compat import (
    check_same_namespace,
    check_sample_weight,
    get_namespace_and_device,
    move_to,
)
from ._recursion import Data
from ._search import ValidationSet


def validate_training(estimator, X, y, sample_weight):
    """Return the Data of the rows that have a weight, their mask, and the backend."""
    if estimator.device == "cuda":
        raise ValueError(
            "device='cuda' is not available: this version computes on the CPU. "
            "Pass device=None or device='cpu'."
        )
    X = _on_device(estimator, X)
    xp, _, device = get_namespace_and_device(X)
    try:
        X, y = validate_data(
            estimator,
            X,
            _on_host(y),
            dtype=[xp.float64, xp.float32],
            multi_output=estimator._multi_output,
            y_numeric=estimator._multi_output,
            ensure_min_samples=2,
        )
    except ValueError as error:
        if "could not convert string" in str(error):
            raise ValueError(
                f"{error}. X and the y of a regressor must be numeric: encode "
                "categories first, for example with OneHotEncoder in a "
                "ColumnTransformer."
            ) from error
        raise
    weight = _validate_weight(sample_weight, y)
    Y, weight = estimator._encode(y, weight)
    backend = get_backend(xp, device)
    data = _make_data(X, Y, weight, backend)
    keep = weight > 0
    if not keep.all():
        rows = np.flatnonzero(keep)
        if len(rows) < 2:
            raise ValueError(
                f"{type(estimator).__name__} needs at least 2 rows of positive "
                f"sample_weight, got {len(rows)}."
            )
        data = data.subset(rows, backend)
    return data, keep, backend


def validate_validation_set(estimator, X_val, y_val, sample_weight_val, backend):
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
    xp = backend.xp
    X_val = _on_device(estimator, X_val)
    try:
        X_val = validate_data(
            estimator, X_val, dtype=[xp.float64, xp.float32], reset=False
        )
        y_val = _on_host(y_val)
        check_consistent_length(X_val, y_val)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not fit X and y: {error}") from error
    try:
        weight = _validate_weight(sample_weight_val, y_val)
    except ValueError as error:
        raise ValueError(f"sample_weight_val: {error}") from error
    Y, weight = estimator._encode_more(y_val, weight)
    return ValidationSet(_make_data(X_val, Y, weight, backend))


def validate_rows(estimator, X, method):
    """Return new rows and their backend."""
    X = _on_device(estimator, X)
    check_same_namespace(X, estimator, attribute="X_fit_", method=method)
    xp, _, device = get_namespace_and_device(X)
    X = validate_data(estimator, X, dtype=[xp.float64, xp.float32], reset=False)
    return X, get_backend(xp, device)


def _make_data(X, Y, weight, backend):
    """Return the Data with targets and weights beside X, in its precision."""
    return Data(X, *(backend.asarray(a, X.dtype) for a in (Y, weight)))


def _validate_weight(sample_weight, y):
    """Return float64 weights, ones by default."""
    return check_sample_weight(
        _on_host(sample_weight), y, dtype=np.float64, ensure_non_negative=True
    )


def _on_device(estimator, X):
    """Return X where `device` asks for it; None follows X."""
    return _on_host(X) if estimator.device == "cpu" else X


def _on_host(a):
    """Return an array as it is, or as NumPy if it is another library's."""
    if a is None:
        return None
    xp, is_array_api, _ = get_namespace_and_device(a)
    return move_to(a, xp=np, device="cpu") if is_array_api and xp is not np else a
