"""EntryRegressor: a completer as a regressor of (row, column) pairs."""

from typing import Any, Self

from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.utils.validation import check_is_fitted

from .._backend import Array, Table, Vector
from .._sklearn import HasMethods, restored_on_error, validate_data
from .._tables import (
    HostScoreMixin,
    find_source,
    outer_placement_of,
    refuse_dates,
    to_host,
)
from ._pairs import INDEX_ADVICE, pairs_of, read_pairs


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
    def fit(
        self,
        X: Table,
        y: Vector | str | None = None,
        sample_weight: Vector | str | None = None,
    ) -> Self:
        """Fit the completer to entries.

        Parameters
        ----------
        X : array-like of int of shape (n_entries, 2), or data set
            Pairs (row, column). A pyarrow data set (files of Parquet, say), a lazy
            frame of polars, a frame of Dask or an iterable of batches (X, y) is read in
            batches once; only indices, as small integers, and values are kept.
        y : array-like of shape (n_entries,), str or None
            The values of the entries. The name of their column in a data set, whose
            other two columns, in their order, are row and column; None for batches.
        sample_weight : array-like of shape (n_entries,) or str, default=None
            Weights of the entries; one of weight 0 counts as missing.

        Returns
        -------
        self : object
            The fitted regressor.
        """
        with restored_on_error(self):
            source = find_source(X, y, sample_weight)
            if source is None:
                X, y, sample_weight = map(to_host, (X, y, sample_weight))
                refuse_dates(X, "X", advice=INDEX_ADVICE)
                refuse_dates(y, "y")
                X, y = validate_data(self, X, y, dtype=None, y_numeric=True)
                rows, cols = pairs_of(X)
            else:
                rows, cols, y, sample_weight = read_pairs(self, source)
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
        refuse_dates(X, "X", advice=INDEX_ADVICE)
        pairs = validate_data(self, X, dtype=None, reset=False)
        rows, cols = pairs_of(pairs)
        if not return_std:
            return placement.to_caller(self.completer_.predict_entries(rows, cols))
        mean, std = self.completer_.predict_entries(rows, cols, return_std=True)
        return placement.to_caller(mean), placement.to_caller(std)
