"""Errors and warnings of skrfm that a caller may want to catch by name."""

import numpy as np


class NotPositiveDefiniteError(np.linalg.LinAlgError):
    """K + alpha I has no Cholesky factor in the precision at hand."""

    def __init__(self, row):
        super().__init__(f"The leading minor of order {row + 1} is not positive.")
        self.row = row


class NotConvergedError(np.linalg.LinAlgError):
    """An iterative solver has not reached a solution."""


class NumericalWarning(UserWarning):
    """A fit needed help: a jitter on the diagonal, or a metric that collapsed."""
