"""What completers have in common: predictions of entries of the fitted matrix."""

from typing import Any

from sklearn.utils.validation import check_is_fitted

from .._backend import Array, Vector
from .._tables import outer_placement_of, to_host
from ._input import check_indices


class EntryPredictionsMixin:
    """Mixin of completers that predict entries of the matrix they were fitted to.

    Their attribute `_fitted` has the `shape` of the matrix and methods `at` and
    `deviations`, which map indices of rows and columns to predictions and to standard
    deviations.
    """

    _fitted: Any
    device: Any

    def predict_entries(
        self, rows: Vector, cols: Vector, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict entries of the fitted matrix without forming it.

        Parameters
        ----------
        rows, cols : array-like of int of shape (n_entries,)
            The indices of the entries.
        return_std : bool, default=False
            Whether to return standard deviations as well: of new measurements, so with
            the noise.

        Returns
        -------
        mean : ndarray of shape (n_entries,)
            The predictions, also for entries that were observed.
        std : ndarray of shape (n_entries,)
            The standard deviations, with ``return_std=True`` only.
        """
        check_is_fitted(self)
        fitted, placement = self._fitted, outer_placement_of(self.device, rows)
        rows, cols = check_indices(to_host(rows), to_host(cols), fitted.shape)
        mean = placement.to_caller(fitted.at(rows, cols))
        if not return_std:
            return mean
        std = fitted.deviations(rows, cols, backend=placement.backend)
        return mean, placement.to_caller(std)
