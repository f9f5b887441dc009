"""Sample weights: what a user passes, and what they are divided by."""

from numbers import Number

import numpy as np

from .._sklearn import check_sample_weight
from ._device import to_host


def validate_weight(sample_weight, rows, *, may_be_zero=False):
    """Return float64 weights of rows, ones by default.

    `may_be_zero` says whether all of them may be, as those of a part of the rows.
    """
    weight = to_host(sample_weight)
    if weight is not None and not isinstance(weight, Number):
        try:
            weight = np.asarray(weight, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"sample_weight must be an array of numbers, one per row: {error}."
            ) from error
    return check_sample_weight(
        weight,
        rows,
        dtype=np.float64,
        ensure_non_negative=True,
        allow_all_zero_weights=may_be_zero,
    )


def weight_unit_of(weight, sample_weight):
    """Return what weights are divided by, so that only their ratios count.

    Weights that are whole numbers count equal rows, and stay as they are: the unit is
    1. Of others the unit is the mean weight of a row, with the rows counted by sample
    weights that are whole numbers.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Sample weights times the factors of the classes.
    sample_weight : ndarray of shape (n,)
    """
    top = weight.max(initial=0)
    if top == 0 or np.array_equal(weight, np.round(weight)):
        return 1.0
    counts = sample_weight
    if not np.array_equal(counts, np.round(counts)):
        counts = (sample_weight > 0).astype(float)
    return float((weight / top).sum() / counts.sum() * top)


def weight_unit_of_totals(totals, sample_totals, n_rows, whole):
    """Return what `weight_unit_of` does, from sums of the weights of many rows.

    Parameters
    ----------
    totals : ndarray of shape (n_labels,)
        Sums of sample weights times the factors of the classes.
    sample_totals : ndarray of shape (n_labels,)
        Sums of sample weights.
    n_rows : int
        The number of rows of positive weight.
    whole : bool
        Whether all sample weights are whole numbers.
    """
    if whole and np.array_equal(totals, np.round(totals)):
        return 1.0
    return float(totals.sum() / (sample_totals.sum() if whole else n_rows))
