"""Leave-one-out residuals of a kernel completer, and what they say of its variances."""

from dataclasses import dataclass, fields

import numpy as np

from ..._backend import BoolArray, FloatArray
from .._low_rank._loss import deviation_of_top_tenth

# Entries of average scale that are added to each column: one whose few entries happen
# to be equal would have no variance at all.
_PRIOR_ENTRIES = 10
# With fewer residuals the share of them inside an interval is too uncertain.
_FEWEST_RESIDUALS = 20


@dataclass(frozen=True, kw_only=True)
class KernelOfEntries:
    """What leave-one-out residuals need of the kernel between observed entries.

    K is that kernel with the ridge on its diagonal. Of each entry the attributes have,
    in arrays of shape (n_rows, n_columns) or parts of it:

    Attributes
    ----------
    coef : ndarray
        The coefficient.
    precision : ndarray
        The diagonal element of K⁻¹.
    precision_sum : ndarray
        The sum of its row of K⁻¹ over the entries of the same column.
    variance : ndarray
        The diagonal element of K.
    variance_sum : ndarray
        The sum of its row of K over the entries of the same column.
    """

    coef: FloatArray
    precision: FloatArray
    precision_sum: FloatArray
    variance: FloatArray
    variance_sum: FloatArray

    @classmethod
    def zeros(cls, shape):
        """Return arrays of zeros, for parts to be set."""
        return cls(**{field.name: np.zeros(shape) for field in fields(cls)})

    def set_part(self, index, part):
        """Set a part of each array from another KernelOfEntries."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(part, field.name)


@dataclass(frozen=True)
class LeaveOneOut:
    """The entries of a matrix, each predicted from the others.

    Parameters
    ----------
    observed : ndarray of bool of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_columns)
        The entries, less the means of their columns if they are centred.
    kernel : KernelOfEntries
    centred : bool
        Whether the means of the columns were subtracted. Without an entry the mean is
        another one, and the only entry of a column is no residual.
    """

    observed: BoolArray
    targets: FloatArray
    kernel: KernelOfEntries
    centred: bool

    def mean_variances(self) -> FloatArray:
        """Return how much the errors of the means add to the variance of each column.

        A prediction is w · y with weights that sum to 1, and depends on the mean by a
        factor: 1 less what the kernel takes from the other entries. That of the column
        is the mean over its entries, each predicted from the others.
        """
        counts = self._counts
        if not self.centred:
            return np.zeros(len(counts))
        most = np.maximum(counts, 1)
        factors = self._mean_factors().sum(axis=0) / most
        return (factors / most) ** 2 * self.kernel.variance_sum.sum(axis=0)

    def scales(self) -> FloatArray:
        """Return what the variances of each column have to be scaled by.

        The scale of a column is the mean square of residuals over their variances,
        shrunken towards that of all columns. A common factor makes 90 % intervals hold
        90 % of the residuals, whose tails are heavier than those of a normal
        distribution. Without any residual the scales are NaN.
        """
        usable = self.observed & (self._counts > 1) if self.centred else self.observed
        squares = np.where(usable, self._squares(), 0)
        sums, counts = squares.sum(axis=0), usable.sum(axis=0)
        if not counts.any():
            return np.full(len(counts), np.nan)
        prior = _PRIOR_ENTRIES * sums.sum() / counts.sum()
        scales = (sums + prior) / (counts + _PRIOR_ENTRIES)
        if counts.sum() < _FEWEST_RESIDUALS or prior == 0:
            return scales
        ratios = np.sqrt(squares / scales)[usable]
        return scales * deviation_of_top_tenth(ratios) ** 2

    @property
    def _counts(self):
        """The number of entries of each column."""
        return self.observed.sum(axis=0)

    def _mean_factors(self):
        """Return by which factor each entry's prediction depends on the mean."""
        precision = np.where(self.observed, self.kernel.precision, 1)
        return np.where(self.observed, self.kernel.precision_sum / precision, 0)

    def _squares(self):
        """Return the squares of residuals over their variances."""
        kernel = self.kernel
        precision = np.where(self.observed, kernel.precision, 1)
        residuals, variances = kernel.coef / precision, 1 / precision
        if self.centred:
            others, factors = np.maximum(self._counts - 1, 1), self._mean_factors()
            residuals = residuals + self.targets / others * factors
            total = kernel.variance_sum.sum(axis=0)
            rest = total - 2 * kernel.variance_sum + kernel.variance
            variances = variances + (factors / others) ** 2 * np.maximum(rest, 0)
        return residuals**2 / variances
