"""NTKMatrixCompleter: matrix completion with tangent kernels and side features."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ..._backend import Array, Table
from ..._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    restored_on_error,
    warn_of_edge,
)
from ..._tables import DEVICES, outer_placement_of, to_host
from .._entry_predictions import EntryPredictionsMixin
from .._frames import as_given
from .._input import entries_of, is_nan, require_entries
from ._fitted import fit_completion, predicts_from_features
from ._kernel_model import SolveOptions, warn_if_not_converged
from ._side_input import check_alphas, read_sides, warn_of_undetermined


class NTKMatrixCompleter(
    EntryPredictionsMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Matrix completion with neural tangent kernels and side features.

    Each row of the matrix is described by a prior vector: its features or, if there are
    none, its own observed entries. Each column is predicted by kernel ridge regression
    on the rows where it is observed, with the tangent kernel of an infinitely wide
    network of the prior vectors. Rows without any observed entry and rows that were not
    in `fit` are predicted from their features in the same way. If columns have features
    too, the kernel between two entries is the product of the kernel between their rows
    and the kernel between their columns.

    Parameters
    ----------
    depth : int or "auto", default="auto"
        Number of hidden layers. "auto" is 1 if the own entries of a row are its prior
        or if columns have features or a kernel, and 2 otherwise: with features of the
        rows alone, two layers predicted held-out drug responses better than the single
        one of the paper.
    activation : str or DualActivation, default="relu"
        As in `skrfm.kernels.NTK`.
    bias : float, default=0.0
        Standard deviation of the biases.
    prior_identity : float, default=0.0
        Length of an indicator of each fitted row that is appended to its features,
        which are scaled to length 1. The larger it is, the less rows share with each
        other. The paper uses 1.5 and no ridge; with a ridge chosen from the data, 0 was
        better on held-out gene expression.
    prior_entries : float or "auto", default="auto"
        Root mean square length of the observed entries of a row, less the means of the
        columns, in its prior vector; the features have length 1 and a constant 1 is
        appended. Each column then has a kernel of its own, which leaves out the entries
        of that column. "auto" is 1 if there are no features, kernels or first
        completer, else 0. With features, 1 or 2 helps where single entries rather than
        whole rows are missing.
    first_completer : estimator, default=None
        A completer, such as `LinRFMCompleter`, that is fitted first. The kernels of the
        features then complete its residuals on held-out entries. This is better than
        either alone where single entries are missing; it does not help for rows or
        columns without entries, about which the first completer has no information.
    center : bool, default=True
        Whether to subtract the means of the columns.
    alpha : float or "auto", default="auto"
        The ridge, on the scale of the kernel of a row with itself, `depth_` + 1 (its
        square if columns have a kernel too). "auto" takes the one of `alphas` with the
        smallest leave-one-out error, computed in closed form; with a kernel of columns,
        the one with the smallest error on hidden entries.
    alphas : array-like of float, default=(0.001, 0.003, 0.01, ..., 100.0)
        Ridges that "auto" compares. A warning tells where the best of them is at an
        edge and clearly better than the next.
    col_features, col_kernel : array-like, default=None
        As in `fit`. Pass them here for searches by cross-validation, which split
        arguments of `fit` that are as long as X.
    tol : float, default=1e-6
        Tolerance of conjugate gradients, which solve for entries that are coupled by a
        kernel of columns: they stop when the norm of the residual is below `tol` times
        the norm of the entries.
    max_iter : int, default=1000
        Maximum number of iterations of conjugate gradients.
    validation_fraction : float, default=0.1
        Fraction of the entries that "auto" hides if there is a kernel of columns.
    missing_values : float, default=np.nan
        The value of missing entries in a dense X.
    keep_observed : bool, default=True
        Whether `transform` keeps observed entries. If False, they are replaced by their
        predictions.
    device : {"cpu", "cuda", None}, default=None
        Where linear systems are solved: ``"cuda"`` uses a GPU through CuPy. None
        follows the input: arrays of CuPy are processed on the GPU, and results are
        arrays of CuPy.
    random_state : int, RandomState instance or None, default=None
        Determines the entries that are hidden, by "auto" and for the first completer.

    Attributes
    ----------
    depth_ : int
        Number of hidden layers.
    alpha_ : float
        The ridge.
    alpha_errors_ : ndarray of shape (n_alphas,)
        Mean squared validation error of each of `alphas`, in increasing order of the
        ridge; NaN for ridges that the search over coupled entries did not reach. If
        `alpha` is a number, the error of that ridge alone, NaN for coupled entries.
    dual_coef_ : ndarray of shape (n_rows, n_features)
        Coefficients of the rows in each column; 0 where the column is not observed.
    mean_ : ndarray of shape (n_features,)
        What was subtracted from the columns: their means, or zeros. The mean of a
        column without entries is the mean of all entries, or is predicted from the
        features of the column.
    first_completer_ : estimator
        The fitted first completer, or None.
    n_iter_ : int
        Number of iterations of conjugate gradients; 1 if they were not needed.
    converged_ : bool
        Whether they reached `tol`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    Notes
    -----
    Columns that are observed in the same rows share one factorisation; with entries in
    the prior, each column needs one. Factorisations are not kept, so memory is bounded
    by X and a few matrices of n_rows by n_rows for each thread. Standard deviations
    need them again; with a kernel of columns and more than 3000 entries they come from
    32 draws of the process, which leaves an error of up to 13 %, mostly less.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    The last 20 rows have no observed entry and are predicted from their features:

    >>> import numpy as np
    >>> from sklearn.metrics import r2_score
    >>> from skrfm import NTKMatrixCompleter
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(80, 3))
    >>> full = np.tanh(features @ rng.normal(size=(3, 20)))
    >>> X = full.copy()
    >>> X[60:] = np.nan
    >>> completer = NTKMatrixCompleter().fit(X, row_features=features)
    >>> r2_score(full[60:], completer.transform(X)[60:])
    0.91
    >>> mean, std = completer.predict(features[60:], return_std=True)
    >>> float(np.mean(np.abs(mean - full[60:]) < 2 * std))
    0.95
    """

    _parameter_constraints = {
        "depth": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "activation": "no_validation",
        "bias": [Interval(Real, 0, None, closed="left")],
        "prior_identity": [Interval(Real, 0, None, closed="left")],
        "prior_entries": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "first_completer": [HasMethods(["fit", "transform"]), None],
        "center": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alphas": ["array-like"],
        "col_features": ["array-like", None],
        "col_kernel": ["array-like", None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "missing_values": [Real],
        "keep_observed": ["boolean"],
        "device": [StrOptions(set(DEVICES)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        depth="auto",
        activation="relu",
        bias=0.0,
        prior_identity=0.0,
        prior_entries="auto",
        first_completer=None,
        center=True,
        alpha="auto",
        alphas=(1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        col_features=None,
        col_kernel=None,
        tol=1e-6,
        max_iter=1000,
        validation_fraction=0.1,
        missing_values=np.nan,
        keep_observed=True,
        device=None,
        random_state=None,
    ):
        self.depth = depth
        self.activation = activation
        self.bias = bias
        self.prior_identity = prior_identity
        self.prior_entries = prior_entries
        self.first_completer = first_completer
        self.center = center
        self.alpha = alpha
        self.alphas = alphas
        self.col_features = col_features
        self.col_kernel = col_kernel
        self.tol = tol
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.missing_values = missing_values
        self.keep_observed = keep_observed
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = is_nan(self.missing_values)
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
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
        """Learn to complete a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_rows, n_features)
            The matrix. In a dense one, entries equal to `missing_values` are missing;
            in a sparse one, entries that are not stored.
        y : None
            Ignored; present for compatibility with pipelines.
        row_features : array-like of shape (n_rows, d) or "identity", default=None
            Features of the rows. Rows of a data frame are matched with those of X by
            label if both have labels; these must be unique, and every label of X must
            be there. Arrays and data frames with the default index (0, 1, …) have no
            labels: their rows are in the order of X. Labels of two integer indexes are
            matched even if one of them is the default one.
            "identity" only distinguishes each row from the others: without a kernel of
            columns, it predicts the means of the columns.
        col_features : array-like of shape (n_features, d), default=None
            Features of the columns; the index of a data frame is matched with the names
            of the columns of X in the same way.
        row_kernel : array-like of shape (n_rows, n_rows), default=None
            Similarities of the rows, which replace features: symmetric and positive
            semidefinite. They are scaled to the mean diagonal of the tangent kernel, so
            that ridges have the same meaning. Rows and columns of a data frame are both
            matched by label.
        col_kernel : array-like of shape (n_features, n_features), default=None
            Similarities of the columns, which replace features.

        Returns
        -------
        self : object
            The fitted completer.

        Raises
        ------
        ValueError
            If all entries are missing, if features do not match X, or if labels on both
            sides are repeated, missing, or different.
        """
        with restored_on_error(self):
            backend = outer_placement_of(self.device, X).backend
            X = to_host(X)
            entries = entries_of(self, X, reset=True)
            require_entries(entries)
            sides = read_sides(
                self,
                X,
                entries.shape,
                row_features=row_features,
                col_features=col_features,
                row_kernel=row_kernel,
                col_kernel=col_kernel,
            )
            warn_of_undetermined(entries, sides)
            self._fitted = fit_completion(
                entries,
                sides,
                first_completer=self.first_completer,
                center=self.center,
                options=self._options(),
                backend=backend,
            )
            model = self._fitted.model
            warn_if_not_converged(model)
            self.first_completer_ = self._fitted.first_completer
            self.depth_ = sides.prior.ntk.depth
            self.mean_ = model.mean.astype(entries.values.dtype)
            self.dual_coef_, self.alpha_ = model.coef, model.alpha
            self.alpha_errors_ = model.alpha_errors
            if self.alpha == "auto":
                warn_of_edge(check_alphas(self.alphas), model.alpha_errors)
            self.n_iter_, self.converged_ = model.n_iter, model.converged
        return self

    def _options(self) -> SolveOptions:
        """Return the parameters of the solver, with sorted ridges."""
        alpha: Any = self.alpha
        return SolveOptions(
            alpha=alpha,
            alphas=check_alphas(self.alphas),
            tol=self.tol,
            max_iter=self.max_iter,
            validation_fraction=self.validation_fraction,
            random_state=self.random_state,
        )

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

    def transform(self, X: Table, *, row_features: Table | None = None) -> Array:
        """Complete the rows of a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The rows of `fit`, or new ones.
        row_features : array-like of shape (n_samples, d), default=None
            Features of the rows, which are treated as new rows; they are matched with X
            as in `fit`, and names of columns must be those in `fit`, in the same order.
            None takes the features passed to `fit`: rows of X are matched with the rows
            in `fit` by label, or without labels by position, which needs as many rows.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The completed rows; for a data frame, with its index and columns. Observed
            entries are unchanged unless `keep_observed` is False.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        X, row_features = to_host(X), to_host(row_features)
        entries = entries_of(self, X, reset=False)
        completed = self._fitted.predict(X, entries, row_features)
        completed = completed.astype(entries.values.dtype, copy=False)
        if self.keep_observed:
            completed[entries.rows, entries.cols] = entries.values
        completed = as_given(self, X, completed)
        if isinstance(completed, np.ndarray):
            return placement.to_caller(completed)
        return completed

    @available_if(predicts_from_features)
    def predict(
        self, row_features: Table, return_std: bool = False
    ) -> Array | tuple[Array, Array]:
        """Predict rows from their features.

        Parameters
        ----------
        row_features : array-like of shape (n_samples, d)
            Features of the rows: the columns of `fit`, in the same order.
        return_std : bool, default=False
            Whether to return standard deviations as well, noise included: those of a
            Gaussian process, scaled in each column to its leave-one-out residuals.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            The predictions.
        std : ndarray of shape (n_samples, n_features)
            With ``return_std=True`` only. NaN in columns without entries and kernel;
            with ``center=True`` in all, if none has two entries.

        Raises
        ------
        ValueError
            If names or number of the features differ from those in `fit`.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, row_features)
        model = self._fitted.model
        rows = self._fitted.new_rows(to_host(row_features))
        if not return_std:
            return placement.to_caller(model.predict(rows))
        std = model.standard_deviations(rows, placement.backend)
        mean = model.predict(rows)
        return placement.to_caller(mean), placement.to_caller(std)

    def score(
        self, X: Table, y: None = None, *, row_features: Table | None = None
    ) -> float:
        """Return R² of the predictions of observed entries.

        For rows that were not in `fit`, observed entries are predicted from features or
        from other entries. Entries of the rows in `fit` are part of the training data.

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
        X, row_features = to_host(X), to_host(row_features)
        entries = entries_of(self, X, reset=False)
        require_entries(entries)
        predicted = self._fitted.predict(X, entries, row_features)
        predicted = predicted[entries.rows, entries.cols]
        return float(r2_score(entries.values, predicted))
