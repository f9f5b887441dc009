"""Errors and warnings of skrfm, to catch or filter by name."""

import numpy as np


class NotPositiveDefiniteError(np.linalg.LinAlgError):
    """A matrix K + diag(ridge) has no Cholesky factor in the precision of the data.

    Parameters
    ----------
    row : int
        The first row without a positive pivot.

    Attributes
    ----------
    row : int
    """

    def __init__(self, row: int):
        super().__init__(f"The leading minor of order {row + 1} is not positive.")
        self.row = row


class NotConvergedError(np.linalg.LinAlgError):
    """An iterative solver did not reach a solution."""


class NumericalWarning(UserWarning):
    """A numerical problem in a fit, such as a jitter on the diagonal."""
