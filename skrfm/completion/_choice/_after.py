"""Low rank first, then kernels of features for what it leaves over."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import FloatArray, IntArray
from .._entries import ObservedEntries
from .._side_features._first_completer import dense
from ._methods import FittedMethod, RowIndex, RowModel, Rows
from ._sides import SideData


@dataclass(frozen=True)
class AfterLowRank:
    """A kernel of features that completes the residuals of hidden entries.

    Parameters
    ----------
    completer : NTKMatrixCompleter
    sides : SideData
    of_columns : bool
        Whether the features are those of the columns.
    """

    completer: Any
    sides: SideData
    of_columns: bool

    @property
    def name(self) -> str:
        """The name of the method."""
        return f"low rank, {'column' if self.of_columns else 'row'} features"

    def left_over(self, residuals: ObservedEntries) -> "LeftOver":
        """Return the model of residuals, each by a fit without its entry."""
        if self.of_columns:
            X, sides = dense(residuals).T, self.sides.transposed()
        else:
            X, sides = dense(residuals), self.sides
        model = RowModel(X, self.completer, sides, center=True)
        return LeftOver(model, residuals, of_columns=self.of_columns)


class LeftOver:
    """Predictions of what low rank leaves over.

    Kernels of columns predict the residuals of each row from its other residuals. New
    rows have none: there the prediction is 0.
    """

    def __init__(
        self, model: RowModel, residuals: ObservedEntries, *, of_columns: bool
    ):
        self._model, self._of_columns = model, of_columns
        count = residuals.shape[1] if of_columns else residuals.shape[0]
        of_fit = model.predict(Rows(residuals, positions=np.arange(count)))
        self.of_fit: FloatArray = of_fit.T if of_columns else of_fit

    def predict(self, rows: Rows, index: RowIndex) -> FloatArray:
        """Return predictions of rows; `index` finds those of the fit."""
        if not self._of_columns:
            return self._model.predict(rows)
        known, positions = index.find(rows.entries)
        out = np.zeros(rows.entries.shape)
        out[known] = self.of_fit[positions[known]]
        return out


@dataclass(frozen=True)
class FittedAfterLowRank:
    """Low rank, and the prediction of what it leaves over."""

    first: FittedMethod
    left_over: LeftOver
    index: RowIndex

    def predict(self, rows: Rows) -> FloatArray:
        """Return the sum of both predictions."""
        return self.first.predict(rows) + self.left_over.predict(rows, self.index)

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return predictions of entries of the matrix of the fit."""
        return self.first.at(rows, cols) + self.left_over.of_fit[rows, cols]
