"""SingularKernelClassifier: infinitely wide and deep networks in closed form."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .._backend import FloatArray, Table, Vector, own_threads
from .._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_array,
    clone_parametrized,
    restored_on_error,
    validate_data,
)
from .._tables import moments, to_host, validate_numbers, validate_weight
from ._votes import vote_blocks

# Leave-one-out probabilities are not counted as smaller than this: those of a large
# exponent are 0 or 1, and one error would have an infinite log-loss.
_LEAST_PROBABILITY = 1e-3
# Differences of scores that are rounding errors.
_EQUAL_SCORES = 1e-9


class SingularKernelClassifier(ClassifierMixin, BaseEstimator):
    """A vote of all training rows with the weights ‖x − z‖^−exponent.

    This is what the kernel machine of an infinitely wide network becomes as its depth
    grows [1]_: every network for which the limit is not a majority vote (exponent 0)
    or the nearest neighbour (exponent inf) gives such a kernel, which is infinite at
    equal rows; `skrfm.kernels.infinite_depth_limit` tells the exponent of an
    activation. No equation is solved: a fit stores the rows, and chooses the exponent
    by exact leave-one-out predictions, which cost one pass over the distances.

    Parameters
    ----------
    exponent : "auto", "dimension" or float, default="auto"
        ``"auto"`` takes the one of `exponents` with the best leave-one-out score, the
        smallest of equals. ``"dimension"`` is the number of columns that are not
        constant, or the rank of `metric`; one less with ``normalize=True``. It is
        consistent as the number of rows grows, but of a wide table far too large. Or
        a number from 0 up, inf included.
    exponents : array-like of float, \
            default=(0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, inf)
        What ``"auto"`` chooses from.
    scoring : {"log_loss", "accuracy"}, default="log_loss"
        The leave-one-out score: minus the log-loss, with probabilities of at least
        0.001, or the accuracy.
    metric : fitted estimator or array-like of shape (k, n_features) or (n_features,), \
            default=None
        What maps rows first. An estimator with a method `transform`, such as a fitted
        `RFMClassifier`, encodes and maps them; `scaling` is not used then, and clones
        keep it fitted. An array maps scaled rows x to ``metric @ x``; one of
        shape (n_features,) multiplies them. None is the identity.
    scaling : {"standard", None}, default="standard"
        ``"standard"`` subtracts the mean of each column and divides by the standard
        deviation. None takes rows as they are.
    normalize : bool, default=False
        Whether rows are divided by their norms at the end, as the theory of the limit
        has it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    exponent_ : float
        The exponent.
    loo_scores_ : ndarray of shape (n_exponents,)
        The leave-one-out scores of `exponents`, with ``exponent="auto"``.
    X_fit_ : ndarray of shape (n_samples, n_columns)
        Training rows of positive weight, scaled and mapped.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    skrfm.kernels.infinite_depth_limit : The exponent of an activation.
    skrfm.kernels.singular_activation : An activation with a given exponent.

    Notes
    -----
    Distances to test rows are computed in blocks of rows, so the memory of a
    prediction does not grow with their number. A row that equals training rows gets
    the mean of their labels. Where all weights are at least 1, leave-one-out takes one
    unit of the weight of a row, as if it were one of so many equal rows.

    References
    ----------
    .. [1] A. Radhakrishnan, M. Belkin and C. Uhler, "Wide and deep neural networks
       achieve consistency for classification", PNAS 120, 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrfm import SingularKernelClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SingularKernelClassifier().fit(X[::2], y[::2])
    >>> model.exponent_
    4.0
    >>> model.score(X[1::2], y[1::2])
    0.96
    """

    _parameter_constraints = {
        "exponent": [
            StrOptions({"auto", "dimension"}),
            Interval(Real, 0, np.inf, closed="both"),
        ],
        "exponents": ["array-like"],
        "scoring": [StrOptions({"log_loss", "accuracy"})],
        "metric": [HasMethods(["transform"]), "array-like", None],
        "scaling": [StrOptions({"standard"}), None],
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        *,
        exponent="auto",
        exponents=(0, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, np.inf),
        scoring="log_loss",
        metric=None,
        scaling="standard",
        normalize=False,
    ):
        self.exponent = exponent
        self.exponents = exponents
        self.scoring = scoring
        self.metric = metric
        self.scaling = scaling
        self.normalize = normalize

    def __sklearn_clone__(self):
        """Return a clone with the same metric, which stays fitted."""
        copy: Any = clone_parametrized(self, safe=False)
        copy.metric = self.metric
        return copy

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self._has_encoder:
            allow_nan = get_tags(self.metric).input_tags.allow_nan
            tags.input_tags.allow_nan = allow_nan
        return tags

    @property
    def _has_encoder(self):
        """Whether the metric is an estimator, which reads the rows."""
        return hasattr(self.metric, "transform")

    # the metric is fitted, and validates its own parameters
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Vector, sample_weight: Vector | None = None):
        """Store the rows, and choose the exponent.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: numbers, or what the metric reads.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors on the votes of the rows. Rows of weight 0 are left out.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        exponents = self._checked_exponents()
        with restored_on_error(self):
            X, y = self._read_training(X, y)
            weight = validate_weight(sample_weight, X)
            kept = weight > 0
            X, y, weight = X[kept, :], np.asarray(y)[kept], weight[kept]
            self.classes_, codes = np.unique(y, return_inverse=True)
            self._fit_scale(X, weight)
            self.X_fit_ = self._mapped(X)
            self._squares = np.einsum("ij,ij->i", self.X_fit_, self.X_fit_)
            self._votes = weight[:, None] * np.eye(len(self.classes_))[codes]
            self.__dict__.pop("loo_scores_", None)
            self.exponent_ = self._chosen_exponent(exponents, codes, weight)
        return self

    def _checked_exponents(self):
        """Return `exponents` in rising order as an array, or raise ValueError."""
        exponents = np.asarray(self.exponents, dtype=float)
        valid = (
            exponents.ndim == 1 and exponents.size > 0 and bool((exponents >= 0).all())
        )
        if not valid:
            raise ValueError(
                "exponents must be a list of one number or more, each from 0 up; got "
                f"{self.exponents!r}."
            )
        return exponents

    def _read_training(self, X, y):
        """Return numeric rows, mapped by an estimator if that is the metric, and y."""
        if self._has_encoder:
            validate_data(self, X, skip_check_array=True)
            y = column_or_1d(y, warn=True)
            X = self._encoded(X)
            if len(X) != len(y):
                raise ValueError(f"X and y have {len(X)} and {len(y)} rows.")
        else:
            X, y = validate_numbers(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        return X, y

    def _encoded(self, X):
        """Return rows mapped by the estimator that is the metric."""
        metric: Any = self.metric
        check_is_fitted(metric)
        mapped = to_host(metric.transform(X))
        return check_array(mapped, dtype=[np.float64, np.float32])

    def _read(self, X):
        """Return new rows, scaled and mapped."""
        check_is_fitted(self)
        if self._has_encoder:
            validate_data(self, X, skip_check_array=True, reset=False)
            X = self._encoded(X)
        else:
            X = validate_numbers(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._mapped(X)

    def _fit_scale(self, X, weight):
        """Set the centre and the factors of the columns, and the matrix."""
        self._center, self._factors = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.scaling is not None and not self._has_encoder:
            self._center, deviation, _ = moments(X, weight, np)
            self._factors = np.divide(
                1, deviation, out=np.zeros_like(deviation), where=deviation > 0
            )
        self._matrix = None if self._has_encoder else self._checked_matrix(X.shape[1])

    def _checked_matrix(self, n_features):
        """Return the array of the metric, None without one."""
        if self.metric is None:
            return None
        matrix = check_array(
            self.metric, dtype=np.float64, ensure_2d=False, input_name="metric"
        )
        if matrix.ndim not in (1, 2) or matrix.shape[-1] != n_features:
            raise ValueError(
                f"metric must have shape (k, {n_features}) or ({n_features},) for X of "
                f"{n_features} features; it has shape {matrix.shape}."
            )
        return matrix

    def _mapped(self, X):
        """Return numeric rows, scaled, mapped and normalised, in their precision."""
        rows = (X - self._center) * self._factors
        if self._matrix is not None:
            one_row = self._matrix.ndim == 1
            rows = rows * self._matrix if one_row else rows @ self._matrix.T
        if self.normalize:
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            n_zero = int(np.count_nonzero(norms == 0))
            if n_zero:
                raise ValueError(
                    f"normalize=True needs rows that are not zero; {n_zero} rows are, "
                    "after scaling. Pass normalize=False, or leave them out."
                )
            rows = rows / norms
        return np.ascontiguousarray(rows, dtype=X.dtype)

    # -- the exponent -------------------------------------------------------------

    def _chosen_exponent(self, exponents, codes, weight):
        """Return the exponent; set `loo_scores_` where it is chosen."""
        if self.exponent == "dimension":
            return float(self._dimension())
        if self.exponent != "auto":
            return float(self.exponent)
        self.loo_scores_ = self._leave_one_out(exponents, codes, weight)
        good = self.loo_scores_ >= self.loo_scores_.max() - _EQUAL_SCORES
        return float(exponents[good].min())

    def _dimension(self):
        """Return the dimension that ``exponent="dimension"`` means."""
        spread = self.X_fit_ if self._matrix is None else self._matrix
        if self._has_encoder:
            components = to_host(getattr(self.metric, "components_", spread))
            spread = np.asarray(components)
        elif self._matrix is None:
            spread = np.ptp(spread, axis=0)
        if spread.ndim == 1:
            dimension = int(np.count_nonzero(spread))
        else:
            dimension = int(np.linalg.matrix_rank(spread))
        return max(dimension - bool(self.normalize), 0)

    def _leave_one_out(self, exponents, codes, weight):
        """Return the leave-one-out score of each exponent."""
        # Of a row of weight w >= 1 one unit is left out, as of w equal rows one is.
        repeats = weight - 1 if weight.min() >= 1 else np.zeros(len(weight))
        totals = np.zeros(len(exponents))
        with own_threads(len(codes)):
            for start, block in self._blocks(self.X_fit_):
                rows = np.arange(start, start + len(block.squares))
                block.leave_out(rows, self._votes, repeats / weight)
                for number, exponent in enumerate(exponents):
                    proba = block.probabilities(exponent)
                    scores = self._scores(proba, codes[rows])
                    totals[number] += weight[rows] @ scores
        return totals / weight.sum()

    def _scores(self, proba, codes):
        """Return the score of each row, given class probabilities and true classes."""
        if self.scoring == "accuracy":
            return (proba.argmax(axis=1) == codes).astype(float)
        true = proba[np.arange(len(codes)), codes]
        return np.log(np.maximum(true, _LEAST_PROBABILITY))

    # -- predictions --------------------------------------------------------------

    def predict_proba(self, X: Table) -> FloatArray:
        """Predict class probabilities, the shares of the classes in the vote.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        T = self._read(X)
        proba = np.empty((len(T), len(self.classes_)), dtype=T.dtype)
        with own_threads(len(self.X_fit_)):
            for start, block in self._blocks(T):
                stop = start + len(block.squares)
                proba[start:stop] = block.probabilities(self.exponent_)
        return proba

    def predict(self, X: Table) -> np.ndarray:
        """Predict class labels; of equal votes the first of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def _blocks(self, T):
        """Yield the first row of each block of rows, and its VoteBlock."""
        return vote_blocks(T, self.X_fit_, self._squares, self._votes)
