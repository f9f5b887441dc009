"""Side features and kernels that a user passes, and what is wrong with them."""

import numpy as np
from sklearn.utils.validation import check_array

from .._frames import index_of
from ._kernel_completion import positive_semidefinite

_SLICED = (
    " A search by cross-validation cuts what is passed to `fit` and is as long as X "
    "into the same rows as X"
)
# what to do about an array that has been cut
_HINTS = {
    "row_features": "",
    "row_kernel": _SLICED + ": pass row_features instead, or a data frame whose "
    "columns have the names of its rows.",
    "col_features": _SLICED + ": give col_features to the constructor instead.",
    "col_kernel": _SLICED + ": give col_kernel to the constructor instead.",
}


def one_of(features, kernel, side):
    """Raise ValueError where both features and a kernel are given."""
    if features is not None and kernel is not None:
        raise ValueError(
            f"{side}_features and {side}_kernel are both given: a kernel takes the "
            "place of features. Pass one of them."
        )


def check_features(features, name, labels, count):
    """Return features (count, d), in the order of `labels` if they have those."""
    features = _in_order(features, name, labels)
    checked = check_array(features, dtype=np.float64, input_name=name, copy=True)
    _require_length(checked, name, count)
    return checked


def check_kernel(K, name, labels, count, stacklevel):
    """Return a kernel (count, count) that is symmetric and positive semidefinite."""
    K = _in_order(K, name, labels)
    index, columns = index_of(K), index_of(K, axis=1)
    if index is not None and columns is not None and K.shape[0] != K.shape[1]:
        places = columns.get_indexer(index)
        K = K.iloc[:, places] if (places >= 0).all() else K
    checked = check_array(K, dtype=np.float64, input_name=name, copy=True)
    _require_length(checked, name, count)
    if checked.shape[0] != checked.shape[1]:
        raise ValueError(
            f"{name} must be square, the similarities of {count} to {count}; its shape "
            f"is {checked.shape}.{_HINTS[name]}"
        )
    largest = np.abs(checked).max()
    if np.abs(checked - checked.T).max() > 1e-5 * largest:
        raise ValueError(
            f"{name} must be symmetric: pass ({name} + {name}.T) / 2 where it is not."
        )
    return positive_semidefinite((checked + checked.T) / 2, name, stacklevel + 1)


def _in_order(side, name, labels):
    """Return the rows of a data frame in the order of the labels of X.

    Labels none of which is known are of no help: then the order is that of X.
    """
    index = index_of(side)
    if labels is None or index is None:
        return side
    places = index.get_indexer(labels)
    known = places >= 0
    if known.all():
        picked = side.iloc[places]
        own = index_of(side, axis=1)
        square = own is not None and len(own) == len(index) and own.equals(index)
        return picked.iloc[:, places] if square and "kernel" in name else picked
    if known.any():
        missing = ", ".join(repr(label) for label in labels[~known][:5])
        raise ValueError(
            f"{name} has no row {missing}, but X does: its index must have all the "
            "labels of X."
        )
    return side


def _require_length(side, name, count):
    if len(side) != count:
        of = "row" if name.startswith("row") else "column"
        raise ValueError(
            f"{name} has {len(side)} rows and X {count} {of}s: there must be one for "
            f"each {of} of X.{_HINTS[name]}"
        )
