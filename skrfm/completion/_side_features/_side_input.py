"""Side features and kernels that a user passes: checks, and the kernels they give."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..._backend import FloatArray, Table, Vector
from ..._sklearn import check_array, warn
from ..._tables import read_numbers, to_host
from ...exceptions import NumericalWarning
from ...kernels import NTK
from .._entries import ObservedEntries
from .._input import warn_of_empty
from ._feature_names import FeatureNames
from ._labels import Labels, labels_of, named, require_distinct_columns
from ._rows import FittedRows, order_features, order_kernel
from ._side_kernels import EntrySide, FeatureSide, GivenSide, Side, self_kernel

IDENTITY = "identity"
_SLICED = (
    " A search by cross-validation splits arguments of `fit` that are as long as X in "
    "the same way as X"
)
# what to do about an array that a search may have split
_HINTS = {
    "row_features": "",
    "row_kernel": _SLICED + ": pass row_features instead, or a data frame whose "
    "columns have the labels of its rows.",
    "col_features": _SLICED + ": pass col_features to the constructor instead.",
    "col_kernel": _SLICED + ": pass col_kernel to the constructor instead.",
}
# largest difference of a kernel from its transpose, as a share of its largest element;
# it lets the rounding errors of single precision through
_ASYMMETRY = 1e-5
# how many columns a message names
_NAMED = 5


@dataclass(frozen=True)
class SideInput:
    """Features or a kernel of one side of the matrix, as passed by the user.

    Attributes
    ----------
    name : {"row", "col"}
    features : array-like or None
    kernel : array-like or None
    labels : Labels or None
        Labels of these rows or columns of X.
    count : int
        Number of these rows or columns of X.
    """

    name: Literal["row", "col"]
    features: Table | None
    kernel: Table | None
    labels: Labels | None
    count: int

    @property
    def described(self) -> str:
        """These rows or columns of X, for messages."""
        return "rows of X" if self.name == "row" else "columns of X"

    @property
    def given(self) -> bool:
        """Whether there are features or a kernel."""
        return self.features is not None or self.kernel is not None


@dataclass(frozen=True)
class Prior:
    """How rows and columns are described to the network.

    Attributes
    ----------
    ntk : NTK
        The tangent kernel of the network.
    identity : float
        Length of the indicator of each row.
    entry_weight : float
        Weight of the own entries of a row.
    """

    ntk: NTK
    identity: float
    entry_weight: float


@dataclass(frozen=True)
class Sides:
    """The checked kernels of both sides of the matrix.

    Attributes
    ----------
    rows : Side
        The kernel of the rows, without their entries.
    columns : Side or None
        The kernel of the columns, None where they have neither features nor a kernel.
    rows_given : bool
        Whether features or a kernel of the rows were passed.
    fitted_rows : FittedRows
        Labels and number of the rows.
    row_feature_names : FeatureNames
        Names of the columns of row_features.
    prior : Prior
    """

    rows: Side
    columns: Side | None
    rows_given: bool
    fitted_rows: FittedRows
    row_feature_names: FeatureNames
    prior: Prior

    def rows_with(self, entries: FloatArray) -> Side:
        """Return the kernel of the rows, extended by their entries if they count.

        Parameters
        ----------
        entries : ndarray of shape (n_rows, n_columns)
            Entries less the means of the columns, zero where they are missing.
        """
        prior = self.prior
        if prior.entry_weight == 0:
            return self.rows
        return EntrySide(
            entries,
            self.rows.features,
            weight=prior.entry_weight,
            identity=prior.identity,
            ntk=prior.ntk,
        )


def read_sides(
    completer: Any,
    X: Table,
    shape: tuple[int, int],
    *,
    row_features: Table | None,
    col_features: Table | None,
    row_kernel: Table | None,
    col_kernel: Table | None,
) -> Sides:
    """Check what was passed to `fit` and to the constructor.

    Parameters
    ----------
    completer : NTKMatrixCompleter
        Its parameters are read; nothing is set.
    X : array-like or sparse matrix or array
        The matrix, for the labels of its rows and columns.
    shape : tuple of (int, int)
        Its shape.
    row_features, col_features, row_kernel, col_kernel : array-like or None
        The arguments of `fit`.
    """
    rows = SideInput(
        "row",
        features=to_host(row_features),
        kernel=to_host(row_kernel),
        labels=labels_of(X),
        count=shape[0],
    )
    columns = SideInput(
        "col",
        features=_given_once("col_features", col_features, completer.col_features),
        kernel=_given_once("col_kernel", col_kernel, completer.col_kernel),
        labels=labels_of(X, axis=1),
        count=shape[1],
    )
    prior = _make_prior(completer, rows, columns)
    row_side, column_side = _check_side(rows, prior), _check_side(columns, prior)
    if row_side is None:
        features = np.zeros((rows.count, 0))
        row_side = FeatureSide(features, identity=prior.identity, ntk=prior.ntk)
    sides = Sides(
        row_side,
        column_side,
        rows_given=rows.given,
        fitted_rows=FittedRows(rows.labels, rows.count),
        row_feature_names=FeatureNames.read(rows.features, "row_features"),
        prior=prior,
    )
    _check_combination(sides, has_first_completer=completer.first_completer is not None)
    return sides


def _given_once(name, argument, parameter):
    """Return what was passed to `fit`, or else to the constructor."""
    if argument is None:
        return to_host(parameter)
    if parameter is not None:
        raise ValueError(
            f"{name} was passed to the constructor and to fit: pass it once."
        )
    return to_host(argument)


def _make_prior(completer, rows, columns):
    """Return the network and the prior vectors of the rows, with "auto" resolved."""
    entry_weight, depth = completer.prior_entries, completer.depth
    if entry_weight == "auto":
        has_first_completer = completer.first_completer is not None
        given = rows.given or columns.given or has_first_completer
        entry_weight = 0.0 if given else 1.0
    if depth == "auto":
        # benchmarks/drug_screen.py: two layers were better with features of rows alone,
        # and mostly worse with the own entries of rows or a kernel of columns
        depth = 1 if entry_weight > 0 or columns.given else 2
    ntk = NTK(depth=depth, activation=completer.activation, bias=completer.bias)
    ntk.validate()
    return Prior(ntk, identity=completer.prior_identity, entry_weight=entry_weight)


def _check_combination(sides, *, has_first_completer):
    """Raise ValueError where parts of the prior exclude or need each other."""
    if sides.prior.entry_weight > 0:
        if has_first_completer:
            raise ValueError(
                'prior_entries must be 0 or "auto" with a first_completer, which uses '
                "the entries of a row itself."
            )
        if sides.columns is not None or not sides.rows.accepts_entries:
            raise ValueError(
                "prior_entries is for rows with features or none: with a kernel of "
                'rows or of columns it must be 0 or "auto".'
            )
    if has_first_completer and not sides.rows_given and sides.columns is None:
        raise ValueError(
            "first_completer needs features or kernels, which complete its residuals: "
            "pass row_features, col_features, row_kernel or col_kernel, or leave "
            "first_completer out."
        )


def _check_side(side: SideInput, prior: Prior) -> Side | None:
    """Return the kernel of one side, None where nothing was passed."""
    if isinstance(side.features, str) and side.name == "row":
        if side.features != IDENTITY:
            raise ValueError(
                f'row_features must be an array or "{IDENTITY}", got {side.features!r}.'
            )
        features = np.zeros((side.count, 0))
        if side.kernel is None:
            return FeatureSide(features, identity=prior.identity, ntk=prior.ntk)
    features, kernel = ordered(side)
    if kernel is not None:
        mean = np.mean(np.diag(kernel))
        scale = self_kernel(prior.ntk) / mean if mean > 0 else 1
        return GivenSide(kernel * scale)
    if features is None:
        return None
    return FeatureSide(features, identity=prior.identity, ntk=prior.ntk)


def ordered(side: SideInput) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the checked features and kernel of a side, in the order of X."""
    name, features, kernel = side.name, side.features, side.kernel
    if features is not None and kernel is not None:
        raise ValueError(
            f"{name}_features and {name}_kernel are both given: a kernel takes the "
            "place of features. Pass one of them."
        )
    matched = {"labels": side.labels, "of": side.described}
    if kernel is not None:
        kernel = order_kernel(kernel, f"{name}_kernel", **matched)
        return None, _check_kernel(kernel, f"{name}_kernel", count=side.count)
    if features is not None:
        argument = f"{name}_features"
        features = order_features(features, argument, **matched)
        return _check_features(features, argument, count=side.count), None
    return None, None


def warn_of_undetermined(entries: ObservedEntries, sides: Sides) -> None:
    """Warn of rows and columns with neither entries nor features or kernels."""
    if sides.columns is not None:
        return
    if not sides.rows_given:
        warn_of_empty(entries)
        return
    empty = np.flatnonzero(entries.column_counts() == 0)
    if len(empty) > 0:
        named = ", ".join(map(str, empty[:_NAMED]))
        more = ", …" if len(empty) > _NAMED else ""
        warn(
            f"{len(empty)} column{'s' * (len(empty) > 1)} of X without any observed "
            f"entry ({named}{more}): they are filled with 0, or with the mean of all "
            "entries if center=True. Pass col_features or col_kernel to predict them.",
            NumericalWarning,
        )


def check_alphas(alphas: Vector) -> list[float]:
    """Return ridges in increasing order."""
    checked = check_array(
        alphas,
        ensure_2d=False,
        ensure_min_samples=0,
        dtype=np.float64,
        input_name="alphas",
    )
    if checked.ndim != 1 or len(checked) == 0 or (checked <= 0).any():
        raise ValueError(f"alphas must be one or more numbers above 0; got {alphas!r}.")
    return sorted(checked.tolist())


def check_new_features(
    row_features: Table, n_features: int, n_rows: int | None = None
) -> FloatArray:
    """Return the features of rows to predict.

    Parameters
    ----------
    row_features : array-like of shape (n_rows, n_features)
    n_features : int
        Number of features in `fit`.
    n_rows : int, default=None
        Number of rows; None takes the number of rows of the features.
    """
    n_rows = len(row_features) if n_rows is None else n_rows
    features = _check_features(row_features, "row_features", count=n_rows)
    if features.shape[1] != n_features:
        raise ValueError(
            f"row_features has {features.shape[1]} columns, but had {n_features} in "
            "fit: pass the same features."
        )
    return features


def _check_features(features, name, *, count):
    """Return features (count, d) as an array."""
    require_distinct_columns(features, name)
    checked = _check_numbers(features, name)
    _check_length(checked, name, count)
    return checked


def _check_numbers(table, name):
    """Return a copy of a table of numbers as an array."""
    shape = np.shape(table)
    if len(shape) != 2 or shape[1] == 0:
        raise ValueError(
            f"{name} must have two dimensions and at least one column; its shape is "
            f"{shape}. Pass a single feature as one column, for example by "
            f"{name}.to_frame() or {name}.reshape(-1, 1)."
        )
    numbers = read_numbers(table, name)
    checked = check_array(
        numbers,
        dtype=np.float64,
        ensure_all_finite="allow-nan",
        input_name=name,
        copy=True,
    )
    if np.isnan(checked).any():
        columns = np.flatnonzero(np.isnan(checked).any(axis=0))
        raise ValueError(
            f"{name} has NaN in {_described(table, columns)}: missing values must be "
            "filled in first, for example by sklearn.impute.SimpleImputer."
        )
    return checked


def _described(table, columns):
    """Return the names or numbers of some columns of a table for a message."""
    labels = labels_of(table, axis=1)
    names = columns.tolist() if labels is None else labels.select(columns).values
    return f"column{'s' * (len(names) > 1)} {named(names)}"


def _check_kernel(K, name, *, count):
    """Return a kernel (count, count) that is symmetric and positive semidefinite."""
    require_distinct_columns(K, name)
    checked = _check_numbers(K, name)
    _check_length(checked, name, count)
    if checked.shape[0] != checked.shape[1]:
        raise ValueError(
            f"{name} must be square, the similarities of {count} to {count}; its shape "
            f"is {checked.shape}.{_HINTS[name]}"
        )
    if np.abs(checked - checked.T).max() > _ASYMMETRY * np.abs(checked).max():
        raise ValueError(
            f"{name} must be symmetric: pass ({name} + {name}.T) / 2 where it is not."
        )
    return _positive_semidefinite((checked + checked.T) / 2, name)


def _check_length(table, name, count):
    if len(table) != count:
        what = "row" if name.startswith("row") else "column"
        raise ValueError(
            f"{name} has {len(table)} rows, but X has {count} {what}s: pass one row "
            f"for each {what} of X.{_HINTS[name]}"
        )


def _positive_semidefinite(K, name):
    """Return K, or with a warning the nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(K)
    # eigenvalues of a kernel in single precision are negative by this much at most
    rounding = len(K) * np.finfo(np.float32).eps * np.abs(values).max(initial=0)
    if values.min(initial=0) >= -rounding:
        return K
    warn(
        f"{name} is not positive semidefinite (its smallest eigenvalue is "
        f"{values.min():.2g}): its negative eigenvalues are set to 0.",
        NumericalWarning,
    )
    return (vectors * np.maximum(values, 0)) @ vectors.T
