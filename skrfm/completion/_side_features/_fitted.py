"""A fitted completion: the first completer, the kernel model, and the fitted rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..._backend import Backend, FloatArray, IntArray, Table
from .._entries import ObservedEntries
from ._feature_names import FeatureNames
from ._first_completer import dense, fit_first_completer, predictions_of
from ._kernel_model import KernelModel, SolveOptions, new_model
from ._labels import labels_of
from ._rows import FittedRows, NewRows, order_features
from ._side_input import Sides, check_new_features


@dataclass(frozen=True)
class FittedCompletion:
    """What predictions need.

    Attributes
    ----------
    entries : ObservedEntries
        The entries of the fit.
    model : KernelModel
        Fitted to the entries, or to the residuals of the first completer.
    rows : FittedRows
    row_feature_names : FeatureNames
        Names of the columns of row_features.
    first_completer : estimator or None
    first : ndarray of shape (n_rows, n_columns) or None
        Its predictions of the fitted matrix.
    """

    entries: ObservedEntries
    model: KernelModel
    rows: FittedRows
    row_feature_names: FeatureNames
    first_completer: Any
    first: FloatArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the fitted matrix."""
        return self.model.observed.shape

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return predictions of entries of the fitted matrix."""
        if len(rows) == 0:
            return np.zeros(0)
        chosen, positions = np.unique(rows, return_inverse=True)
        out = self.model.predict(self._fitted_rows(chosen))[positions, cols]
        return out if self.first is None else out + self.first[rows, cols]

    def deviations(
        self, rows: IntArray, cols: IntArray, *, backend: Backend
    ) -> FloatArray:
        """Return their standard deviations, noise included."""
        if len(rows) == 0:
            return np.zeros(0)
        chosen, positions = np.unique(rows, return_inverse=True)
        new = self._fitted_rows(chosen)
        return self.model.standard_deviations(new, backend)[positions, cols]

    def _fitted_rows(self, positions: IntArray) -> NewRows:
        """Return rows of the fitted matrix as rows to predict."""
        side, entries = self.model.side, None
        if side.per_column:
            entries = self.model.targets[positions]
        if not self.model.needs_positions:
            return NewRows(np.zeros((len(positions), 0)), entries=entries)
        return NewRows(side.features[positions], positions=positions, entries=entries)

    @property
    def n_features(self) -> int:
        """Number of features that a new row must have, 0 where it cannot have any."""
        return self.model.side.n_features

    def predict(
        self, X: Table, entries: ObservedEntries, row_features: Table | None
    ) -> FloatArray:
        """Return predictions of all entries of a matrix, observed ones included.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_rows, n_columns)
            A matrix, for the labels of its rows.
        entries : ObservedEntries
            Its entries.
        row_features : array-like of shape (n_rows, n_features) or None
            Features of new rows, which are matched with X by label; None takes the
            features in the fit.
        """
        predicted = self.model.predict(self._rows_to_predict(X, entries, row_features))
        if self.first_completer is not None:
            first = predictions_of(self.first_completer, dense(entries))
            predicted = predicted + first
        return predicted

    def _rows_to_predict(self, X, entries, row_features):
        """Return the rows with their new features, or their positions in the fit."""
        n_rows, side, positions = entries.shape[0], self.model.side, None
        if row_features is not None:
            features = self._new_features(row_features, labels_of(X), n_rows)
        elif self.model.needs_positions:
            positions = self.rows.positions_of(X, n_rows)
            features = side.features[positions]
        else:
            features = np.zeros((n_rows, 0))
        filled = self.model.filled(entries) if side.per_column else None
        return NewRows(features, positions=positions, entries=filled)

    def new_rows(self, row_features: Table) -> NewRows:
        """Return rows that have features but no observed entries."""
        features = self._new_features(row_features)
        nothing_observed = np.broadcast_to(0.0, (len(features), len(self.model.mean)))
        return NewRows(features, entries=nothing_observed)

    def _new_features(self, row_features, labels=None, n_rows=None):
        """Return checked features of new rows, in the order of labels of X."""
        if self.n_features == 0:
            raise ValueError(
                "row_features is given, but none were passed to fit: fit with "
                "row_features, or leave it out."
            )
        if isinstance(row_features, str):
            raise ValueError(
                f"row_features must be an array, got {row_features!r}: pass the "
                f"{self.n_features} features of each row."
            )
        self.row_feature_names.check(row_features, "NTKMatrixCompleter")
        features = order_features(
            row_features, "row_features", labels=labels, of="rows of X"
        )
        return check_new_features(features, self.n_features, n_rows)


def fit_completion(
    entries: ObservedEntries,
    sides: Sides,
    *,
    first_completer: Any,
    center: bool,
    options: SolveOptions,
    backend: Backend,
) -> FittedCompletion:
    """Fit a kernel model to entries, or to the residuals of a first completer.

    Parameters
    ----------
    entries : ObservedEntries
    sides : Sides
        The kernels of rows and columns.
    first_completer : estimator or None
    center : bool
        Whether the means of the columns are subtracted.
    options : SolveOptions
    backend : Backend
        Solves the linear systems.
    """
    given, first, predicted = entries, None, None
    if first_completer is not None:
        random_state = check_random_state(options.random_state)
        seed = random_state.randint(np.iinfo(np.int32).max)
        X = dense(entries)
        first, entries = fit_first_completer(first_completer, entries, seed)
        predicted = predictions_of(first, X).astype(X.dtype, copy=False)
    model = new_model(entries, sides.columns, center=center)
    model.solve(sides.rows_with(model.targets), options, backend)
    backend.release()
    return FittedCompletion(
        entries=given,
        model=model,
        rows=sides.fitted_rows,
        row_feature_names=sides.row_feature_names,
        first_completer=first,
        first=predicted,
    )


def predicts_from_features(completer: Any) -> bool:
    """Return True if there is a method `predict`, else raise AttributeError."""
    if completer.first_completer is not None:
        raise AttributeError(
            "predict is not available with a first_completer, which needs the entries "
            "of the rows: complete rows with transform."
        )
    fitted = getattr(completer, "_fitted", None)
    if fitted is None or fitted.n_features == 0:
        raise AttributeError(
            "predict needs features of the rows: fit with row_features, or complete "
            "rows with transform."
        )
    return True
