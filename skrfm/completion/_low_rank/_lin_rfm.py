"""LinRFMCompleter: matrix completion by a linear Recursive Feature Machine."""

from dataclasses import replace
from functools import partial
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

from ..._backend import FloatArray, IntArray, Seed, Table, Vector
from ..._sklearn import Interval, Progress, StrOptions, restored_on_error
from ..._tables import DEVICES, Placement, outer_placement_of, to_host
from .._entry_predictions import EntryPredictionsMixin
from .._frames import as_given
from .._input import (
    check_triplets,
    is_nan,
    require_entries,
    triplets_of,
    warn_of_few_entries,
    warn_of_gaps,
    warn_of_iterations,
    warn_of_outliers,
)
from .._observed import ObservedIndices, ObservedMatrix, Triplets
from ._fitted import FittedMatrix, fitted_matrix, threads_for
from ._iterates import Iterate
from ._problem import SOLVERS, problem_of
from ._scaling import Scaling
from ._search import complete


class LinRFMCompleter(
    CallbackSupportMixin,
    EntryPredictionsMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Low-rank matrix completion by a linear Recursive Feature Machine.

    The completer finds a low-rank matrix that fits the observed entries, by
    iteratively reweighted least squares: each iterate weights singular directions by
    the AGOP of the previous one, smoothed by an ε that decreases. The rank, the level
    of noise and the number of iterations are chosen from the observed entries alone.
    No array of the size of the matrix is formed, except for the result of `transform`.

    The fit learns a metric on the columns, so `transform` also completes rows that
    were not in `fit`.

    Rows and columns without any observed entry have no effect on the fit. Whatever
    `center` is, such a row is filled with the weighted means of the columns, such a
    column with the weighted mean of all entries; "gibbs" has its own means of both.
    `fit` warns of them, and `transform` of such new rows if `fit` had none.

    With y the observed entries, w their weights and σ_j the singular values of W, the
    objective is

        ½ Σ_e w_e (y_e − W_e)² + (λ/p) Σ_j σ_j^p,   p = 2 − 4 power,

    where for power = 1/2 the penalty is λ Σ_j log σ_j.

    Parameters
    ----------
    power : float, default=0.5
        The power of the AGOP, 0 < power <= 1/2. With 1/4 the penalty is the nuclear
        norm, which is convex; with (L − 1) / (2 L) it is the one that a linear network
        of L layers minimises; with 1/2 it is the logarithm, for which the fewest
        entries suffice.
    max_rank : int, default=None
        The largest rank. About twice the expected rank is a good value; time and
        memory grow with it. None takes the largest rank up to 100 that has no more
        degrees of freedom than entries are observed, and lets "auto" also try matrices
        of full rank if those are cheap.
    alpha : float or "auto", default="auto"
        The ridge, relative to the largest singular value σ_1 of the current W:
        λ = alpha σ_1^(4 power). 0 matches the entries exactly. "auto" first looks for
        a low-rank matrix that matches all entries up to `tol`, also from random starts
        if they are few. If there is none, it hides the share `validation_fraction` of
        the entries, decreases λ together with ε² until the predictions of the hidden
        entries no longer improve, and repeats the iterations up to that point with all
        entries. A matrix of at most about 1000 by 300 that keeps its full spectrum is
        tried in the same way, and taken if it predicts the hidden entries better. So is
        the average of the solver "gibbs" where R² on hidden entries is below 0.5 and
        `max_rank` is None.
    loss : {"squared", "huber", "absolute"}, default="squared"
        "huber" is linear beyond twice the scale of the bulk of the residuals: it stands
        about 5 % of grossly wrong entries, and needs an `alpha` other than 0.
        "absolute" stands 30 % of any size: variational Bayes with contaminated errors
        finds them, and the others are fitted by squares. Use keep_observed=False.
    center : bool, default=False
        Whether the means of the columns are subtracted first. They add 1 to the rank
        of a matrix that has none, but help if columns differ mainly in level. A matrix
        that keeps its full spectrum is always centred.
    solver : {"auto", "two-sided", "alternating", "exact", "gibbs"}, default="auto"
        "two-sided" weights rows and columns at once and solves by conjugate gradients;
        "alternating" solves for the rows, then for the columns; "exact" is the dense
        algorithm of the paper, for reference and for matrices with some hundred
        columns. "auto" is "alternating" with an `alpha` above 0, where it takes fewer
        iterations, and "two-sided" otherwise. "gibbs" is for noisy entries such as
        ratings: the average of 80 matrices with biases of rows and columns, of rank
        `max_rank` (None: 20), drawn from their posterior, where counts and noise
        determine the ridges. It has the default power, loss and alpha only.
    max_iter : int, default=300
        The largest number of iterations of each stage.
    tol : float, default=1e-8
        Entries count as matched if the root mean square of the residuals is at most
        this share of the root mean square of the entries. With a given `alpha` the
        iterations end when the estimated distance of the matrix to their limit is at
        most this share of its norm. The tolerance is at least 100 rounding units of
        the precision of X, and with the solver "exact" 10 square roots of one.
    validation_fraction : float, default=0.1
        The share of the observed entries that "auto" and `score` hide.
    missing_values : float, default=np.nan
        The value of missing entries in a dense X.
    keep_observed : bool, default=True
        Whether `transform` keeps observed entries, like the imputers of scikit-learn,
        or replaces them by their low-rank predictions.
    device : {"cpu", "cuda", None}, default=None
        Where to compute: ``"cuda"`` is a GPU, by CuPy. None follows the input: arrays
        of CuPy are computed on their GPU. The results for such arrays are arrays of
        CuPy.
    random_state : int, RandomState instance or None, default=None
        Determines which entries are hidden, and the start of the search for singular
        vectors.

    Attributes
    ----------
    factors_ : tuple of ndarray, of shapes (n_rows, k), (k,) and (n_features, k)
        U, s and V: the matrix is ``mean_ + (U * s) @ V.T`` in rows with entries. U and
        V are zero in rows and columns without entries.
    rank_ : int
        The rank that was found: the number of singular values above ε. For a matrix
        that keeps its full spectrum, the smaller number of rows and columns with
        entries.
    mean_ : ndarray of shape (n_features,)
        The means of the columns, or zeros if the matrix is not centred; the mean of
        all entries in columns without any.
    n_iter_ : int
        The number of iterations in all stages together.
    converged_ : bool
        Whether the iterations converged before `max_iter`.
    validation_score_ : float
        R² on the entries that "auto" hid; NaN if none were hidden.
    history_ : dict of ndarray
        One element per iteration: "stage", "iter", "epsilon", "rank" and "score". The
        stages are "match" (the search for a match), "hide" and "graded" (on hidden
        entries, with a low rank and with a full spectrum), "start" (variational Bayes
        from random factors, ten steps each), "refine" (the end of a match), "fit" (with
        all entries) and "draw" (each doubles the draws of "gibbs"). The score is the
        generalised cross-validation error in "match", the error on hidden entries in
        the next two, else the residual.
    outliers_ : tuple of ndarray of int, of shapes (n_outliers,) and (n_outliers,)
        The rows and columns of the entries that loss="absolute" left out as wrong;
        empty with another loss.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    EntryRegressor : The same with pairs (row, column) as X, for cross-validation.

    References
    ----------
    A. Radhakrishnan, M. Belkin and D. Drusvyatskiy, "Linear recursive feature machines
    provably recover low-rank matrices", PNAS 122, 2025, doi:10.1073/pnas.2411325122.

    C. Kümmerle and C. M. Verdun, "A scalable second order method for ill-conditioned
    matrix completion from few samples", ICML 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import LinRFMCompleter
    >>> rng = np.random.default_rng(0)
    >>> full = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    >>> X = np.where(rng.random(full.shape) < 0.5, full, np.nan)
    >>> completer = LinRFMCompleter(random_state=0).fit(X)
    >>> completer.rank_
    2
    >>> X[0, :6].round(3)
    array([ 0.031,    nan,    nan,    nan, -0.257, -0.09 ])
    >>> completer.transform(X)[0, :6].round(3)
    array([ 0.031,  0.145,  0.08 , -0.148, -0.257, -0.09 ])
    >>> full[0, :6].round(3)
    array([ 0.031,  0.145,  0.08 , -0.148, -0.257, -0.09 ])
    """

    rank_: int
    n_iter_: int
    converged_: bool
    validation_score_: float
    history_: dict[str, np.ndarray]
    outliers_: tuple[IntArray, IntArray]
    _fitted: FittedMatrix

    _parameter_constraints = {
        "power": [Interval(Real, 0, 0.5, closed="right")],
        "max_rank": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "loss": [StrOptions({"squared", "huber", "absolute"})],
        "center": ["boolean"],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "missing_values": [Real],
        "keep_observed": ["boolean"],
        "device": [StrOptions(set(DEVICES)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        power: float = 0.5,
        max_rank: int | None = None,
        alpha: float | Literal["auto"] = "auto",
        loss: Literal["squared", "huber", "absolute"] = "squared",
        center: bool = False,
        solver: Literal["auto", "two-sided", "alternating", "exact", "gibbs"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-8,
        validation_fraction: float = 0.1,
        missing_values: float = np.nan,
        keep_observed: bool = True,
        device: Literal["cpu", "cuda"] | None = None,
        random_state: Seed = None,
    ):
        self.power = power
        self.max_rank = max_rank
        self.alpha = alpha
        self.loss = loss
        self.center = center
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
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

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: None = None) -> Self:
        """Learn the low-rank structure of a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The matrix. In a dense matrix the entries equal to `missing_values` are
            missing. In a **sparse matrix the stored entries are the observed ones**,
            stored zeros included; entries that are not stored are missing, not zero.
        y : None
            Ignored; for compatibility with pipelines.

        Returns
        -------
        self : object
            The fitted completer.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            triplets = triplets_of(self, placement.read(X), reset=True)
            return self._fit(triplets, placement, X)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_entries(
        self,
        rows: Vector,
        cols: Vector,
        values: Vector,
        shape: tuple[int, int],
        sample_weight: Vector | None = None,
    ) -> Self:
        """Learn from entries given by their indices, which suits large matrices.

        Parameters
        ----------
        rows, cols : array-like of int of shape (n_entries,)
            The indices of the entries. No pair may occur twice.
        values : array-like of shape (n_entries,)
            The values of the entries.
        shape : tuple of (int, int)
            Number of rows and columns of the matrix. Time and memory do not grow with
            the number of those without entries, so that indices may have gaps.
        sample_weight : array-like of shape (n_entries,), default=None
            Weights of the entries; one of weight 0 counts as missing.

        Returns
        -------
        self : object
            The fitted completer.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, values)
            triplets = check_triplets(
                to_host(rows),
                to_host(cols),
                to_host(values),
                shape=shape,
                sample_weight=to_host(sample_weight),
            )
            vars(self).pop("feature_names_in_", None)
            self.n_features_in_ = triplets.shape[1]
            return self._fit(triplets, placement, None)

    def _fit(self, triplets: Triplets, placement: Placement, X: Table | None) -> Self:
        """Fit to entries; X is passed on to callbacks."""
        require_entries(triplets)
        matrix = triplets.without_gaps()
        entries, problem = matrix.entries, problem_of(self, matrix)
        warn_of_gaps(matrix.rows, matrix.columns)
        scaling = Scaling.of(entries, self.center)
        scaled = scaling.apply(entries, placement)
        attributes = partial(self._attributes, scaling, matrix)
        progress = Progress(
            self,
            n_runs=None if self.alpha == "auto" or self.loss == "absolute" else 1,
            attributes=attributes,
            data={"X": X, "y": None, "metadata": {}},
        )
        with threads_for(len(entries)):
            found = complete(scaled, problem, progress)
            left_out = found.left_out(len(entries))
            if left_out.any():
                kept = replace(matrix, entries=entries.select(~left_out))
                attributes = partial(self._attributes, scaling, kept)
            fitted = attributes(found.iterate)
        placement.backend.release()
        fitted["_fitted"] = fitted["_fitted"].with_hold_out(found.hold_out)
        fitted |= found.attributes()
        wrong = matrix.triplets(left_out)
        fitted["outliers_"] = wrong.rows, wrong.cols
        for name, value in fitted.items():
            setattr(self, name, value)
        if self.keep_observed:
            warn_of_outliers(wrong.rows)
        if not found.converged:
            warn_of_iterations(self.n_iter_)
        if found.iterate.claims_rank:
            warn_of_few_entries(entries, found.iterate.rank)
        progress.end(fitted)
        return self

    def _attributes(
        self, scaling: Scaling, matrix: ObservedMatrix, iterate: Iterate
    ) -> dict[str, Any]:
        """Return the fitted attributes of a completer that ends with an iterate."""
        fitted = FittedMatrix.of(
            iterate, loss=self.loss, scaling=scaling, matrix=matrix
        )
        return {"rank_": iterate.rank, "_fitted": fitted}

    @property
    def factors_(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """U, s and V of all rows and columns."""
        return fitted_matrix(self, "factors_").all_factors()

    @property
    def mean_(self) -> FloatArray:
        """The means that are added to the factors."""
        return fitted_matrix(self, "mean_").all_means()

    def transform(self, X: Table) -> Table:
        """Complete the rows of a matrix, by one small least squares problem for each.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The rows of `fit` or new ones, with missing entries as in `fit`.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The completed rows; for a data frame, one with its index and columns.
            Observed entries are kept unless `keep_observed` is False. A row without
            entries has the weighted means of the columns in `fit`.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        read = placement.read(X)
        triplets = triplets_of(self, read, reset=False)
        rows = self._fitted.complete(triplets, placement)
        self._warn_of_new_gaps(rows.filling.rows)
        completed = rows.dense()
        if self.keep_observed:
            completed[triplets.rows, triplets.cols] = triplets.values
        completed = as_given(self, read, completed)
        is_frame = not isinstance(completed, np.ndarray)
        return completed if is_frame else placement.to_caller(completed)

    def _warn_of_new_gaps(self, rows: ObservedIndices) -> None:
        """Warn of new rows without entries, unless `fit` has warned of such rows."""
        if self._fitted.filling.rows.indices is None:
            warn_of_gaps(rows, ObservedIndices(None, self.n_features_in_))

    def score(self, X: Table, y: None = None) -> float:
        """Return R² on observed entries that are hidden before the transform.

        A random share `validation_fraction` of the observed entries of X is hidden,
        drawn with `random_state`.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            Rows with missing entries as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        float
            R² of the predictions of the hidden entries.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        triplets = triplets_of(self, placement.read(X), reset=False)
        require_entries(triplets)
        random_state = check_random_state(self.random_state)
        matrix = triplets.without_gaps()
        mask = matrix.entries.draw_hidden(self.validation_fraction, random_state)
        shown, hidden = matrix.triplets(~mask), matrix.triplets(mask)
        predicted = self._fitted.complete(shown, placement).at(hidden.rows, hidden.cols)
        return float(r2_score(hidden.values, predicted))
