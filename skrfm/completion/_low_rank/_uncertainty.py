"""Standard deviations of completed entries, by Laplace's approximation of the factors.

Given the columns, a row is a ridge regression with a posterior covariance, and given
the rows, so is a column. The variance of entry (i, j) is the sum of both variances and
of the noise, whose size is a product of a factor of the row and one of the column.
These are estimated from residuals that are scaled up to leave-one-out residuals, and a
last common factor from the entries that were hidden to choose the rank.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._backend import BoolArray, FloatArray, IntArray
from .._entries import ObservedEntries
from .._noise import NoiseFactors
from .._observed import StoredEntries
from ._iterates import Averages, entry_weights
from ._loss import deviation_of_top_tenth, reweighted
from ._rows import FactorModel
from ._scaling import Scaling

# Entries of average variance that are added to each column where rows have no entries.
_PRIOR_ENTRIES = 10
# The largest leverage of an entry: one of 1 leaves no residual to learn from.
_LARGEST_LEVERAGE = 1 - 1e-6
# With fewer hidden entries the share of them inside an interval is too uncertain.
_FEWEST_HIDDEN = 20
# Positions of draws that are looked up together: bounds the memory.
_BLOCK = 100_000


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """A fit without some of the entries.

    Attributes
    ----------
    hidden : ndarray of bool of shape (n_entries,)
        The entries that were hidden.
    model : FactorModel
        The fit to the others, its arrays in the memory of the CPU.
    """

    hidden: BoolArray
    model: FactorModel


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """The variances of the entries of one fit.

    Attributes
    ----------
    entries : ObservedEntries
        The entries that were fitted, scaled as for the solvers.
    model : FactorModel
        The fit.
    loss : {"squared", "huber"}
    """

    entries: ObservedEntries
    model: FactorModel
    loss: str

    def deviations(
        self, rows: IntArray, cols: IntArray, weight: FloatArray | float = 1.0
    ) -> FloatArray:
        """Return standard deviations at some positions, with the noise of a weight."""
        of_rows, of_columns = self._noise
        relative = 1 / weight + sum(self._spreads(rows, cols))
        return np.sqrt(of_rows[rows] * of_columns[cols] * relative)

    @cached_property
    def _residuals(self) -> FloatArray:
        return self.entries.values - self.model.products(self.entries)

    @cached_property
    def _weight(self) -> FloatArray:
        """The weights of the entries, with those of Huber's loss."""
        return reweighted(self.entries.weight, self._residuals, self.loss)

    def _regression_weight(self, weight: FloatArray) -> FloatArray:
        """Return the weights of entries in the regressions of rows and columns."""
        model = self.model
        return entry_weights(weight, base=model.base, penalty=model.penalty)[0]

    def _spreads(self, rows: IntArray, cols: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the variances due to the row and the column, relative to noise."""
        model, entries = self.model, self.entries
        weight = self._regression_weight(self._weight)
        of_rows = entries.quadratic_forms(
            model.row_model.V, model.row_model.penalty, weight, rows=rows, cols=cols
        )
        of_columns = entries.transposed().quadratic_forms(
            model.factors[0],
            model.column_penalty,
            entries.by_column(weight),
            rows=cols,
            cols=rows,
        )
        unit = self._regression_weight(np.ones(1, dtype=weight.dtype))
        return unit * of_rows, unit * of_columns

    @cached_property
    def _noise(self) -> tuple[FloatArray, FloatArray]:
        """The factors of the noise variance, of the rows and of the columns.

        The leave-one-out residual of an entry is r / ((1 − h)(1 − h')), with the
        leverages h and h' of the regressions of its row and column.
        """
        entries = self.entries
        spreads = self._spreads(entries.rows, entries.cols)
        relative, left, explained = self._relative_weight, 1.0, 1.0
        for spread in spreads:
            leverage = np.minimum(relative * spread, _LARGEST_LEVERAGE)
            left = left * (1 - leverage)
            explained = explained + leverage / (1 - leverage)
        squares = self._weight * (self._residuals / left) ** 2 / explained
        factors, dtype = NoiseFactors.of(entries, squares), squares.dtype
        return factors.rows.astype(dtype), factors.columns.astype(dtype)

    @property
    def _relative_weight(self) -> FloatArray:
        """The weights in the regressions, relative to that of an entry of weight 1."""
        weight = self._regression_weight(self._weight)
        return weight / self._regression_weight(np.ones(1, dtype=weight.dtype))


def hidden_scale(
    entries: ObservedEntries, hold_out: HoldOut | None, loss: str
) -> float:
    """Return the factor that makes 90 % intervals cover 90 % of the hidden entries."""
    if hold_out is None or hold_out.hidden.sum() < _FEWEST_HIDDEN:
        return 1.0
    shown, hidden = entries.select(~hold_out.hidden), entries.select(hold_out.hidden)
    posterior = Posterior(entries=shown, model=hold_out.model, loss=loss)
    errors = hidden.values - hold_out.model.products(hidden)
    deviations = posterior.deviations(hidden.rows, hidden.cols, hidden.weight)
    # an error of 0 is inside any interval, however short
    scaled = errors / np.maximum(deviations, np.finfo(deviations.dtype).tiny)
    return deviation_of_top_tenth(scaled)


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """What the standard deviations of a fitted matrix are computed from, when asked.

    Attributes
    ----------
    observed : StoredEntries
        The entries, in a matrix without empty rows and columns.
    scaling : Scaling
        What the entries were scaled by for the solver.
    model : FactorModel
        The fit to the scaled entries.
    loss : {"squared", "huber"}
    hold_out : HoldOut or None
        The fit to a part of the entries that chose the rank.
    averages : Averages or None
        Given if the fit is an average of draws, which tell the deviations.
    """

    observed: StoredEntries
    scaling: Scaling
    model: FactorModel
    loss: str
    hold_out: HoldOut | None = None
    averages: Averages | None = None

    @cached_property
    def _entries(self) -> ObservedEntries:
        """The scaled entries."""
        entries = self.observed.entries()
        values = entries.subtract(self.scaling.mean).values / self.scaling.scale
        return entries.with_values(values)

    @cached_property
    def _posterior(self) -> Posterior:
        return Posterior(entries=self._entries, model=self.model, loss=self.loss)

    @cached_property
    def _scale(self) -> float:
        """The scale of the entries, times the factor from hidden ones."""
        factor = hidden_scale(self._entries, self.hold_out, self.loss)
        return factor * float(self.scaling.scale)

    def deviations(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return standard deviations at positions in rows and columns with entries.

        Without a ridge, rows and columns of fewer entries than the rank are not
        determined by them: they are treated like those without entries.
        """
        if self.averages is not None:
            return self._of_draws(self.averages, rows, cols)
        out = self._posterior.deviations(rows, cols) * self._scale
        if self.model.penalty == 0:
            rank, of_columns = len(self.model.factors[1]), self.column_deviations
            undetermined = self._entries.row_counts()[rows] < rank
            out[undetermined] = of_columns[cols[undetermined]]
            out[self._entries.column_counts()[cols] < rank] = self.overall_deviation
        return out.astype(self._entries.values.dtype, copy=False)

    def _of_draws(
        self, averages: Averages, rows: IntArray, cols: IntArray
    ) -> FloatArray:
        """Return the deviations that draws have, in blocks."""
        out = np.empty(len(rows), dtype=self.observed.values.dtype)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = averages.deviations(rows[block], cols[block])
        return out * self.scaling.scale

    @cached_property
    def column_deviations(self) -> FloatArray:
        """The standard deviations of the entries of each column."""
        entries = self._entries
        squares = entries.weight * entries.subtract(entries.column_means()).values ** 2
        sums = np.bincount(entries.cols, squares, minlength=entries.shape[1])
        counts = np.bincount(entries.cols, entries.weight, minlength=entries.shape[1])
        prior = _PRIOR_ENTRIES * np.sum(sums) / np.sum(counts)
        return np.sqrt((sums + prior) / (counts + _PRIOR_ENTRIES)) * self.scaling.scale

    @cached_property
    def overall_deviation(self) -> float:
        """The standard deviation of all entries."""
        entries = self._entries
        mean = entries.overall_mean()
        variance = np.average((entries.values - mean) ** 2, weights=entries.weight)
        return float(np.sqrt(variance) * self.scaling.scale)
