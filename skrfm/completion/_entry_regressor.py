"""EntryRegressor: a completer as a regressor of (row, column) pairs."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.utils.validation import check_is_fitted

from .._backend import Array, IntArray, Vector
from .._sklearn import HasMethods, restored_on_error, validate_data
from .._tables import HostScoreMixin, outer_placement_of, refuse_dates, to_host

_ADVICE = (
    "X must hold integers, the row and the column of each entry, and no other columns. "
    "Encode labels first, for example by OrdinalEncoder."
)


class EntryRegressor(HostScoreMixin, RegressorMixin, BaseEstimator):
    """A completer as a regressor: X has pairs (row, column), y the entries there.

    Cross-validation, GridSearchCV and learning curves split the rows of X. Here those
    rows are the entries of a matrix, so that these tools choose the parameters of a
    completer. Entries often come sorted by row: use a splitter that shuffles them.

    The indices may have gaps: LinRFMCompleter takes no account of rows and columns
    without entries, and predicts the weighted means of the columns in such a row, and
    the weighted mean of all entries in such a column.

    Parameters
    ----------
    completer : completer
        The completer to fit, such as LinRFMCompleter.
    shape : tuple of (int, int), default=None
        Number of rows and columns of the matrix. None takes the largest indices in
        `fit`; give it if a split may lack the last row or column.

    Attributes
    ----------
    completer_ : completer
        The fitted completer.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    LinRFMCompleter : Low-rank completion of a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV, KFold
    >>> from skrfm import EntryRegressor, LinRFMCompleter
    >>> rng = np.random.default_rng(0)
    >>> full = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    >>> pairs = np.argwhere(rng.random(full.shape) < 0.5)
    >>> y = full[tuple(pairs.T)] + 0.1 * rng.normal(size=len(pairs))
    >>> regressor = EntryRegressor(LinRFMCompleter(random_state=0), shape=full.shape)
    >>> grid = {"completer__max_rank": [1, 2]}
    >>> folds = KFold(3, shuffle=True, random_state=0)
    >>> search = GridSearchCV(regressor, grid, cv=folds).fit(pairs, y)
    >>> search.best_params_
    {'completer__max_rank': 2}
    >>> round(float(search.best_score_), 3)
    0.992
    """

    _parameter_constraints = {
        "completer": [HasMethods(["fit_entries", "predict_entries"])],
        "shape": ["array-like", None],
    }

    def __init__(self, completer: BaseEstimator, shape: tuple[int, int] | None = None):
        self.completer = completer
        self.shape = shape

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Array, y: Vector, sample_weight: Vector | None = None) -> Self:
        """Fit the completer to entries.

        Parameters
        ----------
        X : array-like of int of shape (n_entries, 2)
            Pairs (row, column).
        y : array-like of shape (n_entries,)
            The values of the entries.
        sample_weight : array-like of shape (n_entries,), default=None
            Weights of the entries; one of weight 0 counts as missing.

        Returns
        -------
        self : object
            The fitted regressor.
        """
        with restored_on_error(self):
            X, y, sample_weight = map(to_host, (X, y, sample_weight))
            refuse_dates(X, "X", advice=_ADVICE)
            refuse_dates(y, "y")
            X, y = validate_data(self, X, y, dtype=None, y_numeric=True)
            rows, cols = _pairs(X)
            shape = self.shape
            if shape is None:
                shape = max(rows.max() + 1, 1), max(cols.max() + 1, 1)
            completer: Any = clone(self.completer)
            self.completer_ = completer.fit_entries(
                rows, cols, y, shape, sample_weight=sample_weight
            )
        return self

    def predict(
        self, X: Array, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict entries.

        Parameters
        ----------
        X : array-like of int of shape (n_entries, 2)
            Pairs (row, column) within the shape of the matrix.
        return_std : bool, default=False
            Whether to return standard deviations as well, if the completer has them.

        Returns
        -------
        mean : ndarray of shape (n_entries,)
            The predictions. Where no entry of the row or column was in `fit`, they are
            the means that the completer fills in.
        std : ndarray of shape (n_entries,)
            The standard deviations, with ``return_std=True`` only.
        """
        check_is_fitted(self)
        placement = outer_placement_of(None, X)
        X = placement.read(X)
        refuse_dates(X, "X", advice=_ADVICE)
        pairs = validate_data(self, X, dtype=None, reset=False)
        rows, cols = _pairs(pairs)
        if not return_std:
            return placement.to_caller(self.completer_.predict_entries(rows, cols))
        mean, std = self.completer_.predict_entries(rows, cols, return_std=True)
        return placement.to_caller(mean), placement.to_caller(std)


def _pairs(X: Array) -> tuple[IntArray, IntArray]:
    """Return the two columns of X as integers."""
    if X.shape[1] != 2:
        raise ValueError(
            f"X must have two columns, the row and the column of each entry; it has "
            f"{X.shape[1]}."
        )
    is_whole = np.issubdtype(X.dtype, np.integer)
    if not is_whole and np.issubdtype(X.dtype, np.floating):
        is_whole = bool(np.all(X == np.floor(X)))
    if not is_whole:
        raise ValueError(_ADVICE)
    index = X.astype(np.int64)
    return index[:, 0], index[:, 1]
