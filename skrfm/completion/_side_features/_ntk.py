"""NTKMatrixCompleter: matrix completion with tangent kernels and side features."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    OneToOneFeatureMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted

from ..._sklearn import HasMethods, Interval, StrOptions, restored_on_error
from ..._tables import DEVICES, outer_placement_of, to_host
from ...kernels import NTK
from .._frames import as_given, index_of
from .._input import entries_of, is_nan, require_entries
from ._kernel_model import Coupled, Decoupled, warn_of_iterations, warn_of_unknown
from ._left_over import dense, first_and_rest, said_by
from ._side_input import check_features, check_kernel, one_of
from ._side_kernels import EntrySide, FeatureSide, GivenSide

IDENTITY = "identity"


def _has_row_features(completer):
    if completer.first_completer is not None:
        raise AttributeError(
            "predict knows no entries of rows, which first_completer needs: complete "
            "rows with transform."
        )
    if not getattr(completer, "_takes_features", False):
        raise AttributeError(
            "predict needs features of the rows: fit with row_features, or complete "
            "rows with transform."
        )
    return True


class NTKMatrixCompleter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Matrix completion with neural tangent kernels and side features.

    Every row of the matrix has a prior vector: its features, or its own observed
    entries where there are none. Each column is predicted by kernel ridge regression
    on the rows where it is observed, with the tangent kernel of an infinitely wide
    network of these vectors. Rows of which nothing is observed and rows that `fit`
    has not seen are predicted from their features in the same way. Features of the
    columns as well make the kernel between two entries a product, of that of the rows
    and that of the columns.

    Parameters
    ----------
    depth : int or "auto", default="auto"
        Number of hidden layers. "auto" is 2 for features or a kernel of rows alone,
        which predicted held-out drug responses better than the one of the paper, and 1
        where the own entries of a row are its prior, and with a kernel of columns.
    activation : str or DualActivation, default="relu"
        As in `skrfm.kernels.NTK`.
    bias : float, default=0.0
        Standard deviation of the biases.
    prior_identity : float, default=0.0
        Each row that is fitted has an indicator of itself of this length beside its
        features, which are normalised to length 1: the larger, the less rows say about
        each other. The paper has 1.5 and no ridge; where the ridge is chosen, 0 was
        better on held-out gene expression.
    prior_entries : float or "auto", default="auto"
        The mean length of the observed entries of a row, less the means of the columns,
        beside its features and a constant 1. Each column then has a kernel of its own,
        from which it is left out. "auto" is 1 for rows without features, else 0; with
        features 1 or 2 helps where entries, not whole rows, are missing.
    first_completer : estimator, default=None
        A completer, such as `LinRFMCompleter`, whose predictions come first: the
        kernels of features then complete what it leaves over on entries that it has
        not seen. That is better than either alone where single entries are missing; it
        is not for rows or columns without entries, of which the first says nothing.
    center : bool, default=True
        Whether the means of the columns are subtracted.
    alpha : float or "auto", default="auto"
        The ridge, to be compared with `depth_` + 1, the kernel of a row with itself
        (squared, where columns have a kernel too). "auto" takes that of `alphas` with
        the least leave-one-out error, in closed form; with a kernel of columns, that
        with the least error on hidden entries.
    alphas : array-like of float, default=(0.001, 0.003, 0.01, ..., 100.0)
        Ridges that "auto" tries.
    col_features, col_kernel : array-like, default=None
        As in `fit`, for searches by cross-validation: those cut what is passed to
        `fit` where it is as long as X.
    tol : float, default=1e-6
        Conjugate gradients, which solve for entries coupled by a kernel of columns,
        end where residuals have fallen to this share of the entries.
    max_iter : int, default=1000
        The most iterations of conjugate gradients.
    validation_fraction : float, default=0.1
        The share of the entries that "auto" hides, with a kernel of columns.
    missing_values : float, default=np.nan
        What stands for a missing entry in a dense X.
    keep_observed : bool, default=True
        Whether `transform` leaves observed entries as they are, or puts what is
        predicted in their place.
    device : {"cpu", "cuda", None}, default=None
        Where systems are solved: ``"cuda"`` on a GPU, by CuPy. None follows arrays of
        CuPy; results are such arrays for such input.
    random_state : int, RandomState instance or None, default=None
        Determines what is hidden, from "auto" and from the first completer.

    Attributes
    ----------
    depth_ : int
        The number of hidden layers.
    alpha_ : float
        The ridge.
    alpha_errors_ : ndarray of shape (n_alphas,)
        The mean squared error that each of `alphas`, in increasing order, was judged
        by; NaN where a search over coupled entries has ended before. With a given ridge
        its own alone, NaN for coupled entries.
    dual_coef_ : ndarray of shape (n_rows, n_features)
        Coefficients of the rows in each column; 0 where it is not observed.
    mean_ : ndarray of shape (n_features,)
        What was subtracted from the columns: their means or zeros. A column without
        entries has the overall mean, or what its features say of its mean.
    first_completer_ : estimator
        The fitted first completer, or None.
    n_iter_ : int
        Iterations of conjugate gradients; 1 where there was no need of them.
    converged_ : bool
        Whether they have reached `tol`.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where `fit` got a data frame with names.

    Notes
    -----
    Columns that are observed in the same rows share one factorisation; where a row's
    own entries are its prior, each column needs one. They are made one after the other
    and not kept, so the memory is that of X and of a few matrices of n_rows by n_rows
    for each thread. Standard deviations factorise again.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import NTKMatrixCompleter
    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(80, 3))
    >>> full = np.tanh(features @ rng.normal(size=(3, 20)))
    >>> X = full.copy()
    >>> X[60:] = np.nan  # nothing is known of these rows
    >>> completer = NTKMatrixCompleter().fit(X, row_features=features)
    >>> error = completer.transform(X) - full
    >>> bool(np.mean(error**2) < 0.1 * np.var(full))
    True
    >>> mean, std = completer.predict(features[60:], return_std=True)
    >>> bool(np.mean(np.abs(mean - full[60:]) < 2 * std) > 0.85)
    True
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
        X,
        y=None,
        *,
        row_features=None,
        col_features=None,
        row_kernel=None,
        col_kernel=None,
    ):
        """Learn to complete a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_rows, n_features)
            The matrix. Of a dense one the entries equal to `missing_values` are
            missing, of a sparse one those that are not stored.
        y : None
            Ignored; there for pipelines.
        row_features : array-like of shape (n_rows, d) or "identity", default=None
            Features of the rows, in the order of X; of a data frame, by its index where
            that has the labels of X. "identity" tells each row from the others and
            nothing else: without a kernel of columns, the mean of the column.
        col_features : array-like of shape (n_features, d), default=None
            Features of the columns.
        row_kernel : array-like of shape (n_rows, n_rows), default=None
            Similarities of the rows in place of features: symmetric and positive
            semidefinite. They are scaled to the mean diagonal that the tangent kernel
            has, so that ridges mean the same.
        col_kernel : array-like of shape (n_features, n_features), default=None
            Similarities of the columns in place of features.

        Returns
        -------
        self : object
            The fitted completer.

        Raises
        ------
        ValueError
            Where all entries are missing, or features do not belong to X.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            X, row_features, col_features, row_kernel, col_kernel = map(
                to_host, (X, row_features, col_features, row_kernel, col_kernel)
            )
            entries = entries_of(self, X, reset=True)
            require_entries(entries)
            sides = {
                "row": (row_features, row_kernel, index_of(X)),
                "col": (*self._columns(col_features, col_kernel), index_of(X, axis=1)),
            }
            self._entry_weight = self._weight_of_entries(sides)
            self.depth_ = self.depth
            if self.depth == "auto":
                coupled = any(part is not None for part in sides["col"][:2])
                self.depth_ = 1 if self._entry_weight or coupled else 2
            self._kernel = NTK(
                depth=self.depth_, activation=self.activation, bias=self.bias
            )
            self._kernel.validate()
            rows, columns = (
                self._side(name, *side, size)
                for (name, side), size in zip(sides.items(), entries.shape, strict=True)
            )
            self._check_prior(rows, columns)
            self._index, self._n_rows = index_of(X), entries.shape[0]
            warn_of_unknown(entries, rows is not None, columns is not None, 3)
            rest = self._rest(entries, rows, columns)
            self._fit(rest, rows, columns, placement.backend)
        return self

    def _rest(self, entries, rows, columns):
        """Return the entries, less what a first completer says of them."""
        self.first_completer_ = None
        if self.first_completer is None:
            return entries
        if rows is None and columns is None:
            raise ValueError(
                "first_completer leaves over what features are to complete: pass "
                "row_features, col_features or kernels, or leave it out."
            )
        random_state = check_random_state(self.random_state)
        seed = random_state.randint(np.iinfo(np.int32).max)
        found = first_and_rest(self.first_completer, entries, seed)
        self.first_completer_, rest = found
        return rest

    def _columns(self, features, kernel):
        """Return what is known of columns, from `fit` or from the constructor."""
        pairs = ("col_features", features), ("col_kernel", kernel)
        for name, value in pairs:
            if value is not None and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} was given to the constructor and to fit: give it once."
                )
        return tuple(
            to_host(getattr(self, name)) if value is None else value
            for name, value in pairs
        )

    def _side(self, name, features, kernel, labels, count):
        """Return the checked side of rows or columns, None where nothing is known."""
        one_of(features, kernel, name)
        if kernel is not None:
            checked = check_kernel(kernel, f"{name}_kernel", labels, count, 5)
            mean = np.mean(np.diag(checked))
            own = float(self._kernel.of_cosines(np.ones(1))[0])
            return GivenSide(checked * (own / mean if mean > 0 else 1))
        if features is None:
            return None
        if isinstance(features, str) and name == "row":
            if features != IDENTITY:
                raise ValueError(
                    f'row_features must be an array or "identity", got {features!r}.'
                )
            features = np.zeros((count, 0))
        else:
            features = check_features(features, f"{name}_features", labels, count)
        return FeatureSide(features, self.prior_identity, self._kernel)

    def _weight_of_entries(self, sides):
        """Return how far the own entries of a row are its prior."""
        if self.prior_entries != "auto":
            return self.prior_entries
        known = [part for side in sides.values() for part in side[:2]]
        return float(all(part is None for part in (*known, self.first_completer)))

    def _check_prior(self, rows, columns):
        """Check, and note, what rows are told apart by."""
        weight = self._entry_weight
        if weight > 0 and self.first_completer is not None:
            raise ValueError(
                'prior_entries must be 0 or "auto" with a first_completer, which '
                "sees the entries of a row itself."
            )
        if weight > 0 and (columns is not None or isinstance(rows, GivenSide)):
            raise ValueError(
                "prior_entries is for rows with features or none: with a kernel of "
                'rows or of columns it must be 0 or "auto".'
            )
        self._n_side_features = (
            rows.features.shape[1] if isinstance(rows, FeatureSide) else 0
        )
        self._takes_features = self._n_side_features > 0

    def _fit(self, entries, rows, columns, backend):
        """Fit the kind of model that the sides ask for."""
        if rows is None:
            nothing = np.zeros((entries.shape[0], 0))
            rows = FeatureSide(nothing, self.prior_identity, self._kernel)
        alphas = self._checked_alphas()
        if columns is not None:
            model = Coupled(entries, self.center, columns.gram())
            search = {"share": self.validation_fraction, "tol": self.tol}
            search |= {"random_state": self.random_state, "max_iter": self.max_iter}
            model.solve(rows, self.alpha, alphas, backend, **search)
        else:
            model = Decoupled(entries, self.center)
            if self._entry_weight:
                shape = (self._entry_weight, self.prior_identity, self._kernel)
                rows = EntrySide(model.targets, rows.features, *shape)
            model.solve(rows, self.alpha, alphas, backend)
        backend.release()
        warn_of_iterations(model, 4)
        self._model = model
        self.mean_ = model.mean.astype(entries.values.dtype)
        self.dual_coef_, self.alpha_ = model.coef, model.alpha
        self.alpha_errors_ = model.alpha_errors
        self.n_iter_, self.converged_ = model.n_iter, model.converged

    def _checked_alphas(self):
        """Return the ridges to try, in increasing order."""
        alphas = check_array(
            self.alphas, ensure_2d=False, dtype=np.float64, input_name="alphas"
        )
        if alphas.ndim != 1 or (alphas <= 0).any():
            raise ValueError(f"alphas must be numbers above 0; got {self.alphas!r}.")
        return sorted(alphas.tolist())

    def fit_transform(self, X, y=None, **sides):
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
            As of `transform`.
        """
        return self.fit(X, y, **sides).transform(X)

    def transform(self, X, *, row_features=None):
        """Complete the rows of a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The rows of `fit` or new ones.
        row_features : array-like of shape (n_samples, d), default=None
            Features of the rows, which are taken as new ones. None takes those that
            `fit` got: for the rows of the same labels, if both matrices were data
            frames, else for as many rows as `fit` got, in the same order.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The completed rows, of a data frame with its index and columns. Observed
            entries stay as they are, unless `keep_observed` is False.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        X, row_features = to_host(X), to_host(row_features)
        entries = entries_of(self, X, reset=False)
        completed = self._predicted(entries, X, row_features)
        completed = completed.astype(entries.values.dtype, copy=False)
        if self.keep_observed:
            completed[entries.rows, entries.cols] = entries.values
        completed = as_given(self, X, completed)
        whole = isinstance(completed, np.ndarray)
        return placement.to_caller(completed) if whole else completed

    def _predicted(self, entries, X, row_features):
        """Return all entries as they are predicted."""
        side, count = self._model.side, entries.shape[0]
        features = self._new_features(row_features, count)
        positions = None
        if features is None and self._needs_positions():
            positions = self._positions(X, count)
        if isinstance(side, EntrySide):
            filled = self._model.filled(entries)
            if positions is not None:
                features = side.features[positions]
            elif features is None:
                features = np.zeros((count, 0))

            def cross_of(part):
                return side.new(filled[part], features[part])
        elif positions is not None:

            def cross_of(part):
                return side.matched(positions[part])
        else:
            features = np.zeros((count, 0)) if features is None else features

            def cross_of(part):
                return side.new(features[part])

        predicted = self._model.predict(cross_of, count)
        if self.first_completer_ is not None:
            predicted = predicted + said_by(self.first_completer_, dense(entries))
        return predicted

    def _needs_positions(self):
        """Return whether rows are known by their place in the fitted matrix."""
        given = isinstance(self._model.side, GivenSide)
        return self._takes_features or given or isinstance(self._model, Coupled)

    def _positions(self, X, count):
        """Return which rows of `fit` these are."""
        labels = index_of(X)
        if labels is not None and self._index is not None:
            positions = self._index.get_indexer(labels)
            if (positions < 0).any():
                unknown = ", ".join(repr(x) for x in labels[positions < 0][:5])
                raise ValueError(
                    f"X has rows that fit has not seen ({unknown}): pass row_features "
                    "for them, or X with the index of the rows of fit."
                )
            return positions
        if count != self._n_rows:
            raise ValueError(
                f"X has {count} rows, and fit has seen {self._n_rows}: pass "
                "row_features for other rows than those, or data frames, the rows of "
                "which are found by their index."
            )
        return np.arange(count)

    def _new_features(self, row_features, count=None):
        """Return checked features of rows other than those of `fit`."""
        if row_features is None:
            return None
        if not self._takes_features:
            raise ValueError(
                "row_features is given, but fit has got none: fit with row_features, "
                "or leave it out."
            )
        count = len(row_features) if count is None else count
        features = check_features(row_features, "row_features", None, count)
        if features.shape[1] != self._n_side_features:
            raise ValueError(
                f"row_features has {features.shape[1]} columns, and had "
                f"{self._n_side_features} in fit: pass the same features."
            )
        return features

    @available_if(_has_row_features)
    def predict(self, row_features, return_std=False):
        """Predict rows from their features.

        Parameters
        ----------
        row_features : array-like of shape (n_samples, d)
            Features of rows, as in `fit`.
        return_std : bool, default=False
            Whether to return standard deviations as well: those of the posterior of a
            Gaussian process, noise included, the variance of each column scaled so
            that its leave-one-out residuals are as large as expected.

        Returns
        -------
        ndarray of shape (n_samples, n_features), or a tuple of two
            The predictions, and with `return_std` their standard deviations, NaN in
            columns without entries.

        Raises
        ------
        ValueError
            Where standard deviations are asked for with a kernel of columns.
        """
        check_is_fitted(self)
        if return_std and isinstance(self._model, Coupled):
            raise ValueError(
                "return_std=True needs columns that are independent: fit without "
                "col_features and col_kernel."
            )
        placement = outer_placement_of(self.device, row_features)
        side = self._model.side
        features = self._new_features(to_host(row_features))

        def cross_of(part):
            if isinstance(side, EntrySide):
                nothing = np.zeros((len(features[part]), self.n_features_in_))
                return side.new(nothing, features[part])
            return side.new(features[part])

        mean = self._model.predict(cross_of, len(features))
        if not return_std:
            return placement.to_caller(mean)
        std = self._model.deviations(cross_of(slice(None)), placement.backend)
        return placement.to_caller(mean), placement.to_caller(std)

    def score(self, X, y=None, *, row_features=None):
        """Return R² of the predictions of observed entries.

        Of rows that `fit` has not seen the observed entries are told by features or by
        other entries alone; those of the rows of `fit` had a part in it.

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
        predicted = self._predicted(entries, X, row_features)
        predicted = predicted[entries.rows, entries.cols]
        return float(r2_score(entries.values, predicted))
