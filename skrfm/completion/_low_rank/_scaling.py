"""Centred and scaled entries: the solvers get values of unit size."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..._backend import FloatArray
from ..._tables import Placement
from .._entries import Entries, ObservedEntries
from ._gpu_entries import entries_at


@dataclass(frozen=True)
class Scaling:
    """The means of the columns, and the scale of the entries around them.

    Attributes
    ----------
    mean : ndarray of shape (n,)
        The means, or zeros without centring.
    scale : floating
        The root mean square of the entries minus the means; 1 if all are 0.
    """

    mean: FloatArray
    scale: np.floating

    @classmethod
    def of(cls, entries: ObservedEntries, center: bool) -> Self:
        """Return the scaling of entries."""
        mean = np.zeros(entries.shape[1], dtype=entries.values.dtype)
        if center:
            mean = entries.column_means()
        residuals = entries.subtract(mean).values
        top = np.abs(residuals).max()
        if top == 0:
            return cls(mean, mean.dtype.type(1))
        # divided by the largest value, since squares of the values may overflow
        square = np.average((residuals / top) ** 2, weights=entries.weight)
        return cls(mean, mean.dtype.type(top * np.sqrt(square)))

    def apply(self, entries: ObservedEntries, placement: Placement) -> Entries:
        """Return scaled entries, in the memory where a placement computes."""
        centred = entries.subtract(self.mean)
        return entries_at(placement, centred.with_values(centred.values / self.scale))
