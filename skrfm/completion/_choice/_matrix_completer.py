"""MatrixCompleter: the best way to complete a matrix, chosen on hidden entries."""

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..._backend import Array, FloatArray, Seed, Table, Vector
from ..._sklearn import FitTasks, Interval, StrOptions, restored_on_error
from ..._tables import outer_placement_of, to_host
from .._entries import ObservedEntries
from .._entry_predictions import EntryPredictionsMixin
from .._frames import as_given
from .._input import (
    check_triplets,
    entries_of,
    is_nan,
    quiet,
    require_entries,
)
from .._low_rank._lin_rfm import LinRFMCompleter
from .._side_features._ntk import NTKMatrixCompleter
from ._choose import choose_and_fit, seeded
from ._comparison import folds_of
from ._fitted import FittedChoice
from ._methods import Rows
from ._sides import FittedSides


class MatrixCompleter(
    EntryPredictionsMixin,
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Matrix completion by the methods that predict hidden entries best.

    Which method completes a matrix best depends on the matrix: its rank and noise, how
    many entries each row and column has, and whether features tell anything. This
    completer hides the observed entries, one fold after another, predicts them by
    every method that the input allows, and takes the best one or an average:

    - "means": an overall mean and the effects of rows and columns, both shrunk;
    - "low rank": `LinRFMCompleter`;
    - "low rank, gibbs": the same with ``solver="gibbs"``, for few and noisy entries;
    - "row entries", "column entries": `NTKMatrixCompleter`, with rows or columns
      described by their own entries;
    - "row features", "column features": `NTKMatrixCompleter` with what is passed for
      the rows or the columns;
    - "low rank, row features", "low rank, column features": what low rank leaves over
      is predicted from features.

    The kernel methods complete what the shrunk means leave over. All methods are
    compared on the same folds, and those that are used are fitted to all entries.

    Rows without entries are predicted from their features, columns without entries
    from theirs; without features they have the shrunk means. Errors are compared in the
    units of X: scale columns of different units first, by `StandardScaler` say, which
    leaves NaN.

    Parameters
    ----------
    combine : {"auto", "average", "best"}, default="auto"
        "average" takes the average of least error on hidden entries, with weights of
        at least 0 and a sum of 1; "best" the method with the highest score. "auto"
        takes the average if it is better than the best method by more than one
        standard error of the difference, each fold predicted by the weights of the
        others.
    low_rank : LinRFMCompleter, default=None
        The low-rank completer; None takes the defaults. Its draws are compared unless
        it has another solver, loss, ridge or power.
    kernel : NTKMatrixCompleter, default=None
        The kernel completer, without features; None takes the defaults. Its `center`,
        `prior_entries`, `keep_observed` and `missing_values` are set by the methods.
    cv : int, default=5
        Number of folds of the observed entries. "low rank, row features" and "low rank,
        column features" need at least 3: for each pair of folds there is a low-rank fit
        without both, so that their residuals are those of entries not seen.
    missing_values : float, default=np.nan
        The value of missing entries in a dense X.
    keep_observed : bool, default=True
        Whether `transform` keeps observed entries. If False, they are replaced by their
        predictions.
    random_state : int, RandomState instance or None, default=None
        Determines the folds, and the seeds of the completers that have none.

    Attributes
    ----------
    method_ : str
        The name of the method that was chosen, or "average".
    weights_ : dict of str to float
        The weight of each method that is used; their sum is 1.
    cv_results_ : dict of ndarray
        As in `sklearn.model_selection.GridSearchCV`: "params", "param_method", the R²
        "split0_test_score", …, "mean_test_score", "std_test_score" and
        "rank_test_score", and the seconds "mean_fit_time" and "std_fit_time" of a fit,
        with an element for each method and at last for "average". R² is that of hidden
        entries, relative to the variance of all entries.
    best_score_ : float
        The mean score of `method_`; NaN if there were too few entries to compare.
    completers_ : dict of str to estimator
        The fitted completers of the methods that are used, by name: a
        `LinRFMCompleter` for "low rank" and "low rank, gibbs", a `NTKMatrixCompleter`
        for those of kernels, fitted to what the shrunk means leave over.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    LinRFMCompleter : Low-rank completion, also of huge matrices.
    NTKMatrixCompleter : Completion by kernels, with standard deviations.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import MatrixCompleter
    >>> rng = np.random.default_rng(0)
    >>> full = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    >>> X = np.where(rng.random(full.shape) < 0.5, full, np.nan)
    >>> completer = MatrixCompleter(random_state=0).fit(X)
    >>> completer.method_, completer.weights_
    ('low rank', {'low rank': 1.0})
    >>> for name, score in zip(
    ...     completer.cv_results_["param_method"],
    ...     completer.cv_results_["mean_test_score"],
    ... ):
    ...     print(f"{name}: {score:z.2f}")
    means: 0.00
    low rank: 1.00
    low rank, gibbs: 1.00
    row entries: 0.85
    column entries: 0.87
    average: 1.00
    >>> completer.transform(X)[0, :4].round(3)
    array([ 0.031,  0.145,  0.08 , -0.148])
    """

    device = None  # it computes on the CPU, whatever the arrays
    method_: str
    weights_: dict[str, float]
    cv_results_: dict[str, Any]
    best_score_: float
    completers_: dict[str, Any]
    _fitted: FittedChoice
    _sides: FittedSides

    _parameter_constraints = {
        "combine": [StrOptions({"auto", "average", "best"})],
        "low_rank": [LinRFMCompleter, None],
        "kernel": [NTKMatrixCompleter, None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "missing_values": [Real],
        "keep_observed": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        combine: Literal["auto", "average", "best"] = "auto",
        low_rank: LinRFMCompleter | None = None,
        kernel: NTKMatrixCompleter | None = None,
        cv: int = 5,
        missing_values: float = np.nan,
        keep_observed: bool = True,
        random_state: Seed = None,
    ):
        self.combine = combine
        self.low_rank = low_rank
        self.kernel = kernel
        self.cv = cv
        self.missing_values = missing_values
        self.keep_observed = keep_observed
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = is_nan(self.missing_values)
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Table,
        y: None = None,
        *,
        row_features: Table | None = None,
        col_features: Table | None = None,
        row_kernel: Table | None = None,
        col_kernel: Table | None = None,
    ) -> Self:
        """Compare the methods, and fit those that are used to all entries.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_rows, n_features)
            The matrix. In a dense one, entries equal to `missing_values` are missing;
            in a sparse one, entries that are not stored.
        y : None
            Ignored; present for compatibility with pipelines.
        row_features : array-like of shape (n_rows, d), default=None
            Features of the rows. Rows of a data frame are matched with those of X by
            label if both have labels, as in `NTKMatrixCompleter.fit`.
        col_features : array-like of shape (n_features, d), default=None
            Features of the columns, matched in the same way.
        row_kernel : array-like of shape (n_rows, n_rows), default=None
            Similarities of the rows, which replace features: symmetric and positive
            semidefinite.
        col_kernel : array-like of shape (n_features, n_features), default=None
            Similarities of the columns, which replace features.

        Returns
        -------
        self : object
            The fitted completer.

        Raises
        ------
        ValueError
            If all entries are missing, or if features or kernels do not match X.
        """
        with restored_on_error(self):
            X = to_host(X)
            entries = entries_of(self, X, reset=True)
            require_entries(entries)
            sides = FittedSides.read(
                X,
                entries.shape,
                row_features=row_features,
                col_features=col_features,
                row_kernel=row_kernel,
                col_kernel=col_kernel,
            )
            return self._fit(entries, sides, X, weighted=False)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit_entries(
        self,
        rows: Vector,
        cols: Vector,
        values: Vector,
        shape: tuple[int, int],
        sample_weight: Vector | None = None,
    ) -> Self:
        """Learn from entries given by their indices.

        Parameters
        ----------
        rows, cols : array-like of int of shape (n_entries,)
            The indices of the entries. No pair may occur twice.
        values : array-like of shape (n_entries,)
            The values of the entries.
        shape : tuple of (int, int)
            Number of rows and columns of the matrix. Kernels are left out of the
            comparison where the matrix is too large for them.
        sample_weight : array-like of shape (n_entries,), default=None
            Weights of the entries; one of weight 0 counts as missing. With weights, the
            kernels, which do not take them, are left out of the comparison.

        Returns
        -------
        self : object
            The fitted completer.
        """
        with restored_on_error(self):
            triplets = check_triplets(
                *map(to_host, (rows, cols, values)),
                shape=shape,
                sample_weight=to_host(sample_weight),
            )
            require_entries(triplets)
            entries = triplets.entries()
            vars(self).pop("feature_names_in_", None)
            self.n_features_in_ = entries.shape[1]
            sides = FittedSides.read(None, entries.shape)
            weighted = len(np.unique(entries.weight)) > 1
            return self._fit(entries, sides, None, weighted=weighted)

    def _fit(
        self,
        entries: ObservedEntries,
        sides: FittedSides,
        X: Table | None,
        *,
        weighted: bool,
    ) -> Self:
        """Compare the methods on entries; X is passed on to callbacks."""
        sides.warn_of_gaps(entries)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        tasks = FitTasks.of_fit(self, X=X, y=None, metadata={})
        fitted, choice = choose_and_fit(
            entries,
            sides.data,
            low_rank=seeded(self.low_rank or LinRFMCompleter(), seed),
            kernel=seeded(self.kernel or NTKMatrixCompleter(), seed),
            combine=self.combine,
            n_folds=min(self.cv, len(entries)),
            seed=seed,
            weighted=weighted,
            tasks=tasks,
        )
        attributes = {
            "method_": choice.method,
            "weights_": choice.weights,
            "cv_results_": choice.results,
            "best_score_": choice.score,
            "completers_": fitted.completers(),
            "_fitted": fitted,
            "_sides": sides,
        }
        for name, value in attributes.items():
            setattr(self, name, value)
        tasks.end(attributes)
        return self

    def fit_transform(self, X: Table, y: None = None, **sides: Table) -> Array:
        """Learn to complete a matrix, and complete it.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_rows, n_features)
            The matrix.
        y : None
            Ignored.
        **sides : dict
            Features and kernels, as in `fit`.

        Returns
        -------
        ndarray or data frame of shape (n_rows, n_features)
            As in `transform`.
        """
        return self.fit(X, y, **sides).transform(X)

    def transform(self, X: Table, *, row_features: Table | None = None) -> Table:
        """Complete the rows of a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The rows of `fit`, or new ones.
        row_features : array-like of shape (n_samples, d), default=None
            Features of new rows. None takes the features passed to `fit`: rows of X
            are matched with the rows in `fit` by label, or without labels by position.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The completed rows; for a data frame, with its index and columns. Observed
            entries are unchanged unless `keep_observed` is False.
        """
        check_is_fitted(self)
        placement = outer_placement_of(None, X)
        X = to_host(X)
        entries = entries_of(self, X, reset=False)
        completed = self._predict(X, entries, row_features)
        completed = completed.astype(entries.values.dtype, copy=False)
        if self.keep_observed:
            completed[entries.rows, entries.cols] = entries.values
        completed = as_given(self, X, completed)
        is_frame = not isinstance(completed, np.ndarray)
        return completed if is_frame else placement.to_caller(completed)

    def _predict(
        self, X: Table, entries: ObservedEntries, row_features: Table | None
    ) -> FloatArray:
        """Return predictions of all entries of X, observed ones included."""
        known = self._sides.match(X, entries.shape[0], to_host(row_features))
        with quiet():
            return self._fitted.predict(Rows(entries, **known))

    def score(
        self, X: Table, y: None = None, *, row_features: Table | None = None
    ) -> float:
        """Return R² on observed entries that are hidden before the transform.

        The observed entries of X are hidden in `cv` folds, one after another, and
        predicted from the others of their rows. Those of rows in `fit` are part of the
        training data all the same: `best_score_` is what to expect of other entries.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            Rows with missing entries as in `fit`.
        y : None
            Ignored.
        row_features : array-like of shape (n_samples, d), default=None
            As in `transform`.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X = to_host(X)
        entries = entries_of(self, X, reset=False)
        require_entries(entries)
        predicted, n_folds = np.empty(len(entries)), min(self.cv, len(entries))
        fold_of = np.zeros(len(entries), dtype=np.intp)
        if n_folds > 1:
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            fold_of = folds_of(entries, n_folds, seed)
        for fold in range(n_folds):
            hidden = fold_of == fold
            shown = entries.select(~hidden)
            at = entries.rows[hidden], entries.cols[hidden]
            predicted[hidden] = self._predict(X, shown, row_features)[at]
        return float(r2_score(entries.values, predicted))
