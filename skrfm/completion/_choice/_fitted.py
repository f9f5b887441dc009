"""The fitted choice: the methods that are used, their weights, and rows without any."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._backend import FloatArray, IntArray
from .._entries import ObservedEntries
from .._input import quiet
from ._deviations import Deviations
from ._methods import (
    FittedColumnFeatures,
    FittedMethod,
    FittedRowFeatures,
    Rows,
)


@dataclass(frozen=True, kw_only=True)
class FittedChoice:
    """The weighted sum of fitted methods.

    Attributes
    ----------
    entries : ObservedEntries
        The entries of the fit.
    methods : dict of str to FittedMethod
    weights : dict of str to float
    means : FittedMethod
        Shrunk means of rows and columns, for rows and columns of which nothing else is
        known.
    spread : Deviations
        Standard deviations of new measurements.
    row_features : FittedRowFeatures or None
        Predicts rows without entries.
    column_features : FittedColumnFeatures or None
        Predicts columns without entries.
    """

    entries: ObservedEntries
    methods: dict[str, FittedMethod]
    weights: dict[str, float]
    row_features: FittedRowFeatures | None = None
    column_features: FittedColumnFeatures | None = None
    means: FittedMethod
    spread: Deviations
    empty_columns: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix of the fit."""
        return self.entries.shape

    def completers(self) -> dict[str, Any]:
        """Return the fitted completers of the methods that are one."""
        found = {n: getattr(m, "completer", None) for n, m in self.methods.items()}
        return {name: item for name, item in found.items() if item is not None}

    def predict(self, rows: Rows) -> FloatArray:
        """Return predictions of rows, of observed entries as well."""
        parts = (
            w * self.methods[name].predict(rows) for name, w in self.weights.items()
        )
        out = sum(parts, np.zeros(rows.entries.shape))
        empty = rows.entries.row_counts() == 0
        if empty.any():
            out[empty] = self._of_empty_rows(rows)[empty]
        if len(self.empty_columns) > 0:
            self._fill_empty_columns(out, rows, empty)
        return out

    def _of_empty_rows(self, rows):
        if self.row_features is None:
            return self.means.predict(rows)
        return self.row_features.of_empty(rows)

    def _fill_empty_columns(self, out, rows, empty):
        """Predict columns without entries from their features, or by their means."""
        columns = self.empty_columns
        if self.column_features is None:
            out[:, columns] = self.means.predict(rows)[:, columns]
            effects = np.zeros(len(columns))
        else:
            out[:, columns] = self.column_features.of_empty(rows, columns)
            effects = self.column_features.effects[columns]
        if self.row_features is not None and empty.any():
            # rows and columns that are both new have the sum of the effects
            of_rows = self.row_features.effects(rows)[empty]
            mean = self.row_features.means.mean
            out[np.ix_(empty, columns)] = mean + of_rows[:, None] + effects

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return predictions of entries of the matrix of the fit."""
        with quiet():
            return self._as_entries(self._at(rows, cols))

    def _at(self, rows, cols):
        parts = (w * self.methods[n].at(rows, cols) for n, w in self.weights.items())
        out = sum(parts, np.zeros(len(rows)))
        unknown = (self.entries.row_counts() == 0)[rows] | np.isin(
            cols, self.empty_columns
        )
        if unknown.any():
            out[unknown] = self._at_unknown(rows[unknown], cols[unknown])
        return out

    def deviations(
        self, rows: IntArray, cols: IntArray, *, backend: object = None
    ) -> FloatArray:
        """Return standard deviations of new measurements; `backend` is not needed."""
        known = self.entries.row_counts() > 0, self.entries.column_counts() > 0
        return self._as_entries(self.spread.at(rows, cols, known=known))

    def _as_entries(self, a):
        """Return an array in the precision of the entries."""
        return a.astype(self.entries.values.dtype, copy=False)

    def _at_unknown(self, rows, cols):
        """Return predictions in rows or columns without entries."""
        if self.row_features is None and self.column_features is None:
            return self.means.at(rows, cols)
        every = Rows(self.entries, positions=np.arange(self.entries.shape[0]))
        return self.predict(every)[rows, cols]
