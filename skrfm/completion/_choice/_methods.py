"""Ways to complete a matrix, all with one interface, made of the public completers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ..._backend import FloatArray, IntArray
from ..._sklearn import clone
from .._entries import ObservedEntries
from .._low_rank._problem import may_average
from .._side_features._first_completer import dense
from ._means import ShrunkMeans
from ._sides import SideData

# Dense matrices with more elements than this are left to methods of entries.
_MOST_ELEMENTS = 50_000_000
# The most work of a kernel method in one fit, (rows to the third power) × columns:
# 60 columns of 3000 rows, which take about five CPU minutes.
_MOST_WORK = 60 * 3000.0**3


@dataclass(frozen=True)
class Rows:
    """Rows to complete.

    Attributes
    ----------
    entries : ObservedEntries
        Their entries, in all columns of the fit.
    positions : ndarray of shape (n_rows,) or None
        Their indices in the fit; None for new rows, or if nothing needs them.
    features : ndarray of shape (n_rows, d) or None
        Their features, if they are new rows.
    """

    entries: ObservedEntries
    positions: IntArray | None = None
    features: FloatArray | None = None


class FittedMethod(Protocol):
    """A method that was fitted to entries."""

    def predict(self, rows: Rows) -> FloatArray:
        """Return predictions (n_rows, n_columns), of observed entries as well."""
        ...

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return predictions of entries of the matrix of the fit."""
        ...


class Method(Protocol):
    """A way to complete a matrix."""

    name: str

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the method, fitted to entries, whose means are given."""
        ...


class Means:
    """Shrunk means of rows and columns."""

    name = "means"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted means."""
        return FittedMeans(means)


@dataclass(frozen=True)
class FittedMeans:
    """Fitted shrunk means."""

    means: ShrunkMeans

    def predict(self, rows: Rows) -> FloatArray:
        """Return the means of rows and columns."""
        return self.means.dense(self.means.of_rows(rows.entries))

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the means at entries of the fit."""
        means = self.means
        return means.mean + means.rows[rows] + means.columns[cols]


@dataclass(frozen=True)
class LowRank:
    """LinRFMCompleter."""

    completer: Any
    name = "low rank"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        return FittedLowRank(self._fitted(entries))

    def _fitted(self, entries, **parameters):
        completer = clone(self.completer).set_params(
            keep_observed=False, missing_values=np.nan, **parameters
        )
        return completer.set_output(transform="default").fit_entries(
            entries.rows,
            entries.cols,
            entries.values,
            entries.shape,
            sample_weight=entries.weight,
        )


@dataclass(frozen=True)
class FittedLowRank:
    """A fitted LinRFMCompleter."""

    completer: Any

    def predict(self, rows: Rows) -> FloatArray:
        """Return the low-rank completion of rows."""
        return self.completer.transform(dense(rows.entries))

    def at(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the low-rank matrix at entries of the fit."""
        return self.completer.predict_entries(rows, cols)


@dataclass(frozen=True)
class LowRankDraws(LowRank):
    """LinRFMCompleter as an average of draws, which suits few and noisy entries."""

    name = "low rank, gibbs"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        completer = self._fitted(entries, solver="gibbs")
        return FittedLowRankDraws(completer, RowIndex(entries))


@dataclass(frozen=True)
class FittedLowRankDraws(FittedLowRank):
    """A fitted LinRFMCompleter whose average holds for the rows of the fit only."""

    index: "RowIndex"

    def predict(self, rows: Rows) -> FloatArray:
        """Return the average for rows of the fit, and the completion of others."""
        out = super().predict(rows)
        known, positions = self.index.find(rows.entries)
        columns = np.arange(out.shape[1])
        at = np.repeat(positions[known], len(columns)), np.tile(columns, known.sum())
        out[known] = self.at(*at).reshape(-1, len(columns))
        return out


class _FittedKernel:
    """A kernel completer of what means of rows and columns leave over."""

    def __init__(self, entries: ObservedEntries, means: ShrunkMeans):
        self.means = means
        self._entries = entries

    @cached_property
    def _of_fit_rows(self) -> FloatArray:
        every = np.arange(self._entries.shape[0])
        return self.predict(Rows(self._entries, positions=every))

    def at(self, rows, cols):
        """Return predictions of entries of the matrix of the fit."""
        return self._of_fit_rows[rows, cols]

    def predict(self, rows):
        """Return predictions of the rows."""
        left_over = dense(self.means.residuals(rows.entries))
        effects = self.means.of_rows(rows.entries)
        return self.means.dense(effects) + self._left_over(left_over, rows)

    def _left_over(self, residuals, rows):
        """Return predictions of what the means leave over."""
        raise NotImplementedError


@dataclass(frozen=True)
class RowEntries:
    """NTKMatrixCompleter, rows described by their own entries."""

    completer: Any
    name = "row entries"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        return _FittedRowEntries(entries, means, self.completer)


class _FittedRowEntries(_FittedKernel):
    def __init__(self, entries, means, completer):
        super().__init__(entries, means)
        residuals = dense(self.means.residuals(entries))
        self.completer = kernel_of(completer, prior_entries=1.0).fit(residuals)

    def _left_over(self, residuals, rows):
        return self.completer.transform(residuals)


@dataclass(frozen=True)
class ColumnEntries:
    """NTKMatrixCompleter, columns described by their own entries."""

    completer: Any
    name = "column entries"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        return _FittedColumnEntries(entries, means, self.completer)


class _FittedColumnEntries(_FittedKernel):
    """A kernel of the columns by their entries.

    A row of the fit, recognised by its entries, is predicted by a kernel without them,
    so that its observed columns look like the others. A new row has none there.
    """

    def __init__(self, entries, means, completer):
        super().__init__(entries, means)
        residuals = dense(self.means.residuals(entries)).T
        self._completer = completer
        self.completer = kernel_of(completer, prior_entries=1.0).fit(residuals)
        self._of_fit = self.completer.transform(residuals).T
        self._index = RowIndex(entries)

    def _left_over(self, residuals, rows):
        known, positions = self._index.find(rows.entries)
        out = np.zeros(residuals.shape)
        out[known] = self._of_fit[positions[known]]
        new = ~known & (rows.entries.row_counts() > 0)
        if new.any():
            side: Any = self.completer._fitted.model.side
            fitted = {"alpha": self.completer.alpha_, "depth": self.completer.depth_}
            model = kernel_of(self._completer, **fitted)
            kernel = side.gram(column=None)
            out[new] = model.fit_transform(residuals[new].T, row_kernel=kernel).T
        return out


class RowIndex:
    """Finds rows of the fit by their entries."""

    def __init__(self, entries: ObservedEntries):
        keys = _row_keys(entries)
        self._positions = {key: i for i, key in reversed(list(enumerate(keys)))}

    def find(self, entries: ObservedEntries) -> tuple[Any, IntArray]:
        """Return a mask of rows with the same entries as one in the fit, and which."""
        found = [self._positions.get(key, -1) for key in _row_keys(entries)]
        positions = np.array(found, dtype=np.intp)
        return positions >= 0, positions


def _row_keys(entries):
    """Return what identifies each row: the columns and values of its entries."""
    cols = entries.cols.astype(np.int64)
    values = entries.values.astype(np.float64)
    return [cols[row].tobytes() + values[row].tobytes() for row in entries.by_row()]


@dataclass(frozen=True)
class RowFeatures:
    """NTKMatrixCompleter with features or a kernel of the rows."""

    completer: Any
    sides: SideData
    name = "row features"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        return FittedRowFeatures(entries, means, self.completer, self.sides)


class FittedRowFeatures(_FittedKernel):
    """Kernel ridge regressions of residuals, and of the effects of rows.

    The latter predict the effects of rows without entries.
    """

    def __init__(
        self,
        entries: ObservedEntries,
        means: ShrunkMeans,
        completer: Any,
        sides: SideData,
    ):
        super().__init__(entries, means)
        residuals = dense(self.means.residuals(entries))
        self._model = RowModel(residuals, completer, sides)
        self.completer = self._model.completer
        known = entries.row_counts() > 0
        effects = np.where(known, self.means.rows, np.nan)[:, None]
        self._effects = RowModel(effects, completer, sides, center=True)

    def _left_over(self, residuals, rows):
        return self._model.predict(rows)

    def effects(self, rows: Rows) -> FloatArray:
        """Return the effects of rows, as predicted by their features."""
        return self._effects.predict(rows)[:, 0]

    def of_empty(self, rows: Rows) -> FloatArray:
        """Return predictions of rows, from their features alone."""
        return self.means.dense(self.effects(rows)) + self._model.predict(rows)


class RowModel:
    """Kernel ridge regressions of columns on the features or the kernel of rows."""

    def __init__(
        self, X: FloatArray, completer: Any, sides: SideData, *, center: bool = False
    ):
        self.completer = kernel_of(completer, center=center, prior_entries=0.0)
        self.completer.fit(X, **sides.of_rows())
        self._of_fit = self.completer.transform(X)

    def predict(self, rows: Rows) -> FloatArray:
        """Return predictions of rows of the fit, or of new rows by their features."""
        if rows.features is not None:
            return self.completer.predict(rows.features)
        return self._of_fit[rows.positions]


@dataclass(frozen=True)
class ColumnFeatures:
    """NTKMatrixCompleter with features or a kernel of the columns."""

    completer: Any
    sides: SideData
    name = "column features"

    def fit(self, entries: ObservedEntries, means: ShrunkMeans) -> FittedMethod:
        """Return the fitted completer."""
        return FittedColumnFeatures(entries, means, self.completer, self.sides)


class FittedColumnFeatures(_FittedKernel):
    """Kernel ridge regressions of the rows on what is known of the columns."""

    def __init__(
        self,
        entries: ObservedEntries,
        means: ShrunkMeans,
        completer: Any,
        sides: SideData,
    ):
        super().__init__(entries, means)
        self._completer, self._sides = completer, sides.transposed()
        residuals = dense(self.means.residuals(entries)).T
        self.completer = kernel_of(completer, prior_entries=0.0)
        self.completer.fit(residuals, **self._sides.of_rows())
        known = entries.column_counts() > 0
        effects = np.where(known, self.means.columns, np.nan)[:, None]
        model = RowModel(effects, completer, self._sides, center=True)
        every = np.arange(len(effects))
        #: effects of all columns, as predicted by their features
        self.effects: FloatArray = model.predict(Rows(entries, positions=every))[:, 0]

    def _left_over(self, residuals, rows):
        out, some = np.zeros(residuals.shape), rows.entries.row_counts() > 0
        if some.any():
            fitted = {"alpha": self.completer.alpha_, "depth": self.completer.depth_}
            model = kernel_of(self._completer, prior_entries=0.0, **fitted)
            sides = self._sides.of_rows()
            out[some] = model.fit_transform(residuals[some].T, **sides).T
        return out

    def of_empty(self, rows: Rows, columns: IntArray) -> FloatArray:
        """Return predictions of some columns from their features."""
        effects = self.means.of_rows(rows.entries)
        left_over = dense(self.means.residuals(rows.entries))
        means = self.means.mean + effects[:, None] + self.effects[columns]
        return means + self._left_over(left_over, rows)[:, columns]


def kernel_of(completer: Any, **parameters: Any) -> Any:
    """Return a clone of a kernel completer that predicts observed entries as well."""
    settings = {"center": False, "keep_observed": False, "missing_values": np.nan}
    completer = clone(completer).set_params(**(settings | parameters))
    return completer.set_output(transform="default")


def methods_of(
    low_rank: Any,
    kernel: Any,
    sides: SideData,
    entries: ObservedEntries,
    *,
    weighted: bool = False,
) -> list[Method]:
    """Return the methods that entries allow, the simplest first.

    Parameters
    ----------
    low_rank : LinRFMCompleter
    kernel : NTKMatrixCompleter
    sides : SideData
    entries : ObservedEntries
    weighted : bool, default=False
        Whether entries have weights, which kernel methods do not take.
    """
    methods: list[Method] = [Means(), LowRank(low_rank)]
    if may_average(low_rank):
        methods.append(LowRankDraws(low_rank))
    (m, n), size = entries.shape, np.prod(entries.shape, dtype=float)
    if weighted or size > _MOST_ELEMENTS:
        return methods
    if n * float(m) ** 3 <= _MOST_WORK:
        methods.append(RowEntries(kernel))
        if sides.has_rows:
            methods.append(RowFeatures(kernel, sides))
    if m * float(n) ** 3 <= _MOST_WORK:
        methods.append(ColumnEntries(kernel))
        if sides.has_columns:
            methods.append(ColumnFeatures(kernel, sides))
    return methods
