"""From what a user passes to arrays that the recursion can trust.

Functions here return what they find; the fitted attributes are the estimator's own
affair. Only scikit-learn's ``validate_data`` sets something, `n_features_in_` and
`feature_names_in_`.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._backend import BoolArray, FloatArray
from .._sklearn import (
    check_array,
    check_categorical_features,
    check_X_y,
    get_namespace_and_device,
    validate_data,
)
from ._data import ClassTargets, Data, NumericTargets, validate_weight, weight_unit_of
from ._device import Placement, placement_of, require_same_placement, to_host
from ._discrete import find_discrete_numbers
from ._level_statistics import most_discrete_numbers
from ._reader import (
    TableReader,
    name_of,
    names_of,
    needs_reading,
    read_numbers,
    refuse_dates,
)
from ._sources import unmasked
from ._table import Coding, TableEncoder

# The values of discrete numbers have so many rows on average, of so many at most, which
# are sorted by each number.
_ROWS_OF_A_VALUE, _MOST_SORTED = 5, 50_000


@dataclass(frozen=True)
class TrainingTable:
    """A training table that was read: numbers and codes, not yet encoded.

    Attributes
    ----------
    X : array of shape (n, n_features)
        Numbers, NaN where they are missing, and codes of categories.
    y : ndarray of shape (n,) or (n, n_outputs)
    weight : ndarray of shape (n,)
    reader : TableReader
        How tables are read.
    names : sequence or None
        The names of the columns, of a data frame.
    """

    X: Any
    y: np.ndarray
    weight: FloatArray
    reader: TableReader
    names: Sequence | None = None


@dataclass(frozen=True)
class TrainingSet:
    """Everything that validation finds in what `fit` was given.

    Attributes
    ----------
    data : Data
        The encoded rows of positive weight, where they are computed with.
    coding : Coding
        From a table to such rows.
    targets : NumericTargets or ClassTargets
        The coding of the targets.
    keep : boolean ndarray
        Which of the given rows have positive weight.
    placement : Placement
    weight_unit : float
        What weights were divided by, see `weight_unit_of`.
    n_centers : int or None
        How many centres the kernel machine has; None are all rows.
    centers : {"random", "kmeans", "given"}
        What they are.
    """

    data: Data
    coding: Coding
    targets: NumericTargets | ClassTargets
    keep: BoolArray
    placement: Placement
    weight_unit: float
    n_centers: int | None = None
    centers: str = "random"

    def discrete_numbers(self):
        """Return which numbers are discrete, as many as may have statistics."""
        encoder, data = self.coding.encoder, self.data.sample
        step = -(-data.X.shape[0] // _MOST_SORTED)

        def to_numpy(a):
            return self.placement.backend.to_numpy(a[::step, ...])

        X = to_numpy(data.X[:, : len(encoder.numbers)])
        repeated = [
            column
            for column in range(X.shape[1])
            if len(np.unique(X[:, column])) * _ROWS_OF_A_VALUE <= len(X)
        ]
        if not repeated:
            return ()
        Y, weight = (to_numpy(a).astype(np.float64) for a in (data.Y, data.weight))
        most = most_discrete_numbers(encoder.category_sizes, Y.shape[1])
        return find_discrete_numbers(X, Y, weight, repeated)[:most]


def validate_training(estimator, X, y, sample_weight, *, fit_targets):
    """Return the TrainingSet of what `fit` was given.

    Parameters
    ----------
    estimator : BaseRFM
        The estimator, for its parameters.
    X, y, sample_weight : objects
        What the user passed.
    fit_targets : callable
        Maps (y, weight) to the coding of the targets.
    """
    placement, table = place_and_read(estimator, X, y, sample_weight)
    targets = fit_targets(table.y, table.weight)
    _, weight = targets.code(table.y, table.weight)
    unit = weight_unit_of(weight, table.weight)
    return make_training_set(estimator, table, targets, placement, unit)


def place_and_read(estimator, X, y, sample_weight):
    """Return the Placement of X, and the TrainingTable that an estimator reads."""
    placement = placement_of(estimator.device, X)
    table = read_training(
        estimator,
        placement.read(X),
        to_host(y),
        sample_weight=sample_weight,
        categorical_features=estimator.categorical_features,
        multi_output=estimator._multi_output,
    )
    return placement, table


def make_training_set(estimator, table, targets, placement, weight_unit):
    """Return the TrainingSet of a TrainingTable.

    Parameters
    ----------
    estimator : BaseRFM
        The estimator, for its parameters.
    table : TrainingTable
    targets : NumericTargets or ClassTargets
        The coding of the targets.
    placement : Placement
    weight_unit : float
        What weights are divided by.
    """
    Y, weight = targets.code(table.y, table.weight)
    weight = weight / weight_unit
    backend = placement.input_backend
    data = make_data(table.X, Y, weight, backend)
    keep = weight > 0
    if not keep.all():
        data = data.subset(_rows_with_weight(keep, estimator), backend)
    encoder = TableEncoder.fit(
        data.X,
        table.reader.is_categorical,
        data.weight,
        scaling=estimator.scaling,
        xp=backend.xp,
        names=table.names,
    )
    coding = Coding(
        table.reader,
        encoder,
        n_features=estimator.n_features_in_,
        feature_names=getattr(estimator, "feature_names_in_", None),
    )
    return TrainingSet(
        data=encoded(data, encoder, placement),
        coding=coding,
        targets=targets,
        keep=keep,
        placement=placement,
        weight_unit=weight_unit,
    )


def _rows_with_weight(keep, estimator):
    """Return the indices of the rows of positive weight, of which there must be two."""
    rows = np.flatnonzero(keep)
    if len(rows) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least 2 rows of positive "
            f"sample_weight, got {len(rows)}."
        )
    return rows


def read_training(
    estimator, X, y, *, sample_weight, categorical_features, multi_output
):
    """Return the TrainingTable of X, y and the weights, after the usual checks."""
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False)
    X = unmasked(X)
    is_categorical = check_categorical_features(X, categorical_features)
    options = {
        "multi_output": multi_output,
        "y_numeric": multi_output,
        "ensure_min_samples": 2,
    }
    if multi_output:
        refuse_dates(y, "y")
    reader = TableReader(is_categorical)
    if is_categorical is None and not needs_reading(X):
        with _infinity_by_column(X, X):
            X, y = validate_data(estimator, X, y, **_float_options(X), **options)
        weight = validate_weight(sample_weight, y)
        return TrainingTable(X=X, y=y, weight=weight, reader=reader)
    validate_data(estimator, X, y, skip_check_array=True)
    weight = validate_weight(sample_weight, y)
    check_consistent_length(X, weight)
    names, table = names_of(X), X
    X = reader.fit(X, weight).transform(X)
    with _infinity_by_column(X, table):
        X, y = check_X_y(X, y, ensure_all_finite="allow-nan", dtype=X.dtype, **options)
    return TrainingTable(X=X, y=y, weight=weight, reader=reader, names=names)


def read_rows(estimator, reader, X):
    """Return new rows as a matrix of numbers and codes, after the usual checks."""
    if not hasattr(X, "shape"):
        X = check_array(X, dtype=None, ensure_all_finite=False)
    X = unmasked(X)
    if reader.is_categorical is None and not needs_reading(X):
        with _infinity_by_column(X, X):
            return validate_data(estimator, X, reset=False, **_float_options(X))
    validate_data(estimator, X, skip_check_array=True, reset=False)
    read = reader.transform(X)
    with _infinity_by_column(read, X):
        return check_array(read, ensure_all_finite="allow-nan", input_name="X")


@contextmanager
def _infinity_by_column(X, table):
    """Let the error of a check for infinite numbers name the column, and the remedy.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        What is checked.
    table : array or data frame of shape (n_samples, n_features)
        What it was read from.
    """
    try:
        yield
    except ValueError as error:
        infinite = "Input X contains infinity" in str(error)
        if not infinite or not isinstance(X, np.ndarray):
            raise
        column = np.flatnonzero(np.isinf(X).any(axis=0))[0]
        raise ValueError(
            f"Input X contains infinity, in column {name_of(table, column)}: replace "
            "it by a number, or by NaN for a missing value."
        ) from error


def validate_numbers(estimator, X, y: Any = "no_validation", *, reset=True, **options):
    """Check a table of numbers as scikit-learn does, with messages by column.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
    y : ndarray, default="no_validation"
    reset : bool, default=True
        Whether to set `n_features_in_` and `feature_names_in_`, or to check X against
        them.
    **options
        Options of `check_array`, with y those of `check_X_y`.

    Returns
    -------
    X, or X and y
    """
    if options.get("y_numeric"):
        refuse_dates(y, "y")
    if not hasattr(X, "shape") or not needs_reading(X):
        return validate_data(estimator, X, y, reset=reset, **options)
    validate_data(estimator, X, y, reset=reset, skip_check_array=True)
    X, options = read_numbers(X), {"estimator": estimator} | options
    if isinstance(y, str):
        return check_array(X, input_name="X", **options)
    return check_X_y(X, y, **options)


def _float_options(X):
    """Return how validate_data checks a table of numbers: NaN is a missing value."""
    xp, _, _ = get_namespace_and_device(X)
    numpy = xp.__name__.split(".")[-1] == "numpy"
    finite = "allow-nan" if numpy else True
    return {"dtype": [xp.float64, xp.float32], "ensure_all_finite": finite}


def encoded(data, encoder, placement):
    """Return data with encoded rows, as arrays of the computing backend."""
    X = encoder.transform(data.X, placement.input_backend.xp)
    X, Y, weight = (placement.to_backend(a) for a in (X, data.Y, data.weight))
    return Data(
        placement.backend.rows(X),
        Y,
        weight,
        n_levels=sum(encoder.category_sizes),
        quantiles=encoder.quantile_columns,
    )


def count_centers(estimator):
    """Return `n_centers` of an estimator, or the number of the centres it is given.

    Raises
    ------
    ValueError
        If both are given and differ.
    """
    count = getattr(estimator, "n_centers", None)
    centers = getattr(estimator, "centers", "random")
    if isinstance(centers, str):
        return count
    given = centers.shape[0] if hasattr(centers, "shape") else len(centers)
    if count not in ("auto", given):
        raise ValueError(
            f"centers has {given} rows, but n_centers={count}: leave n_centers at "
            "'auto'."
        )
    return given


def with_given_centers(estimator, training):
    """Return a TrainingSet whose data have the centres that the user gave, encoded."""
    placement, coding, data = training.placement, training.coding, training.data
    try:
        X = read_rows(estimator, coding.reader, placement.read(estimator.centers))
    except ValueError as error:
        raise ValueError(f"centers do not fit X: {error}") from error
    backend = placement.input_backend
    rows = coding.encoder.transform(X, backend.xp)
    rows = placement.backend.asarray(placement.to_backend(rows), data.X.dtype)
    return replace(training, data=replace(data, centers=placement.backend.rows(rows)))


def validate_validation_set(estimator, training, X_val, y_val, sample_weight_val):
    """Return the Data of the user's validation rows, or None where there are none.

    Parameters
    ----------
    estimator : BaseRFM
    training : TrainingSet
        What was found in the training rows.
    X_val, y_val, sample_weight_val : objects
        What the user passed.
    """
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
    placement, coding = training.placement, training.coding
    try:
        X_val = read_rows(estimator, coding.reader, placement.read(X_val))
        y_val = to_host(y_val)
        check_consistent_length(X_val, y_val)
    except ValueError as error:
        raise ValueError(f"X_val and y_val do not fit X and y: {error}") from error
    try:
        weight = validate_weight(sample_weight_val, y_val)
    except ValueError as error:
        raise ValueError(f"sample_weight_val: {error}") from error
    if isinstance(training.targets, NumericTargets):
        refuse_dates(y_val, "y_val")
    Y, factored = training.targets.code_validation(y_val, weight)
    weight = factored / weight_unit_of(factored, weight)
    data = make_data(X_val, Y, weight, placement.input_backend)
    return encoded(data, coding.encoder, placement)


def validate_rows(estimator, reader, X, method):
    """Return new rows as a matrix of numbers and codes, and their Placement."""
    require_same_placement(X, estimator, method)
    placement = placement_of(estimator.device, X)
    return read_rows(estimator, reader, placement.read(X)), placement


def make_data(X, Y, weight, backend):
    """Return the Data with targets and weights beside X, in its precision."""
    return Data(X, *(backend.asarray(a, X.dtype) for a in (Y, weight)))
