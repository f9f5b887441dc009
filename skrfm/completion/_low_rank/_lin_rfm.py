"""LinRFMCompleter: matrix completion by a linear Recursive Feature Machine."""

from functools import partial
from numbers import Integral, Real

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

from ..._backend import worker_threads
from ..._sklearn import Interval, Progress, StrOptions, restored_on_error
from ..._tables import DEVICES, outer_placement_of, to_host
from .._frames import as_given
from .._input import (
    check_indices,
    entries_from_triplets,
    entries_of,
    is_nan,
    largest_rank,
    require_entries,
    warn_of_empty,
    warn_of_trouble,
)
from ._alternating import alternating
from ._exact import exact
from ._gpu_entries import entries_at
from ._rows import fitted_rows, new_rows, row_model
from ._search import Problem, complete
from ._two_sided import two_sided

SOLVERS = {
    "two-sided": two_sided,
    "alternating": alternating,
    "exact": exact,
}
# tol is at least so many rounding units
_LEAST_TOL = 100
# with the dense solver, whose systems hold squares, so many roots of one
_LEAST_DENSE_TOL = 10
# graded iterates are tried up to so many operations for each
_DENSE_WORK = 2e9
# ε ends at so many rounding units of the largest singular value
_LEAST_SMOOTHING = 10
# as much work as a row of a kernel machine, when threads are worth their while
_ENTRIES_PER_ROW = 50
# entries that are predicted at a time
_BLOCK = 100_000


class LinRFMCompleter(
    CallbackSupportMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Low-rank matrix completion by a linear Recursive Feature Machine.

    Of all matrices that fit the observed entries one of low rank is found, by
    reweighted least squares: each iterate weighs singular directions by the AGOP of the
    one before, smoothed by an ε that falls. Rank, noise and the end of the iterations
    are found from the observed entries alone. Nothing of the size of the matrix is
    formed, except by `transform`, which returns it.

    What is learned is a metric on the columns, so `transform` also completes rows that
    `fit` has not seen.

    With y the observed entries, w their weights and σ_j the singular values of W, the
    objective is

        ½ Σ_e w_e (y_e − W_e)² + (λ/p) Σ_j σ_j^p,   p = 2 − 4 power,

    where for power = 1/2 the penalty is λ Σ_j log σ_j.

    Parameters
    ----------
    power : float, default=0.5
        The power of the AGOP, 0 < power <= 1/2. At 1/4 the penalty is the nuclear
        norm, a convex one; at (L − 1) / (2 L) it is that of a linear network of L
        layers; at 1/2 it is the logarithm, which needs the fewest entries.
    max_rank : int, default=None
        The largest rank that is looked for; about twice the rank that is expected is
        a good value. None takes the largest one of at most 100 that has no more
        degrees of freedom than entries are observed, and lets "auto" try matrices of
        full rank where they are cheap. Time and memory grow with it.
    alpha : float or "auto", default="auto"
        The ridge, relative to the top of the spectrum: λ = alpha σ_1^(4 power), with
        σ_1 that of the current W. 0 matches the entries exactly. "auto" first looks
        for a matrix of low rank that matches all entries up to `tol`. If there is
        none, it hides the share `validation_fraction` of the entries, lets λ fall
        together with ε² until the hidden entries are no longer predicted better, and
        goes as far again with all the entries. Where the matrix is small enough (about
        1000 by 300), a matrix with a graded spectrum in place of a low rank is tried in
        the same way, and taken if it predicts the hidden entries better.
    loss : {"squared", "huber"}, default="squared"
        "huber" is robust against a few grossly wrong entries: beyond twice the scale
        of the bulk of the residuals it is linear.
    center : bool, default=False
        Whether the means of the columns are subtracted first. They add 1 to the rank
        of a matrix that has none, but help where columns differ mainly in level.
        Matrices with a graded spectrum are centred in any case.
    solver : {"auto", "two-sided", "alternating", "exact"}, default="auto"
        "two-sided" weighs rows and columns at once and solves by conjugate gradients;
        "alternating" solves for each row, then for each column; "exact" is the dense
        algorithm of the paper, for reference and matrices of some hundred columns.
        "auto" is "alternating" with an `alpha` above 0, where it takes fewer
        iterations, and "two-sided" otherwise.
    max_iter : int, default=300
        The most iterations of each stage.
    tol : float, default=1e-8
        Entries count as matched where the root mean square of the residuals is below
        this share of that of the entries. With a given `alpha` iterations end where
        the matrix is estimated to be within this share of their limit. It is at least
        100 rounding units of the precision of X, and of the solver "exact" 10 roots of
        one.
    validation_fraction : float, default=0.1
        The share of the observed entries that is hidden by "auto" and by `score`.
    missing_values : float, default=np.nan
        What stands for a missing entry in a dense X.
    keep_observed : bool, default=True
        Whether `transform` leaves observed entries as they are, as scikit-learn's
        imputers do, or puts their low-rank prediction in their place.
    device : {"cpu", "cuda", None}, default=None
        Where to compute: ``"cuda"`` on a GPU, by CuPy. None follows arrays of CuPy;
        results are such arrays for such input.
    random_state : int, RandomState instance or None, default=None
        Determines what is hidden, and where the search for singular vectors starts.

    Attributes
    ----------
    factors_ : tuple of ndarray, of shapes (n_rows, k), (k,) and (n_features, k)
        U, s and V: the matrix is ``mean_ + (U * s) @ V.T``.
    rank_ : int
        The rank that was found: the number of singular values above ε. Of a graded
        spectrum, which has all of them, the smaller side of the matrix.
    mean_ : ndarray of shape (n_features,)
        The means of the columns, or zeros if it is not centred.
    n_iter_ : int
        Iterations in all stages together.
    converged_ : bool
        Whether the iterations came to an end by themselves.
    validation_score_ : float
        R² on the entries that "auto" has hidden; NaN where none were.
    history_ : dict of ndarray
        One element per iteration: "stage" ("match", "hide", "graded" or "fit"),
        "iter", "epsilon", "rank" and "score". The score is generalised cross-validation
        in the first stage, the error on hidden entries in the next two, and the
        relative residual in the last.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where `fit` got a data frame with names.

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
    >>> bool(np.abs(completer.transform(X) - full).max() < 1e-5)
    True
    """

    _parameter_constraints = {
        "power": [Interval(Real, 0, 0.5, closed="right")],
        "max_rank": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "loss": [StrOptions({"squared", "huber"})],
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
        power=0.5,
        max_rank=None,
        alpha="auto",
        loss="squared",
        center=False,
        solver="auto",
        max_iter=300,
        tol=1e-8,
        validation_fraction=0.1,
        missing_values=np.nan,
        keep_observed=True,
        device=None,
        random_state=None,
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
    def fit(self, X, y=None):
        """Learn the low-rank structure of a matrix.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The matrix. Of a dense one the entries equal to `missing_values` are
            missing. Of a **sparse one the stored entries are the observed ones**,
            stored zeros included; what is not stored is missing, not zero.
        y : None
            Ignored; there for pipelines.

        Returns
        -------
        self : object
            The fitted completer.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            entries = entries_of(self, placement.read(X), reset=True)
            return self._fit(entries, placement, {"X": X, "y": None, "metadata": {}})

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_entries(self, rows, cols, values, shape, sample_weight=None):
        """Learn from entries given by their places; as `fit` for large matrices.

        Parameters
        ----------
        rows, cols : array-like of int of shape (n_entries,)
            Where the entries are. No place may occur twice.
        values : array-like of shape (n_entries,)
            What they are.
        shape : tuple of (int, int)
            Number of rows and columns of the matrix.
        sample_weight : array-like of shape (n_entries,), default=None
            Weights of the entries; one of weight 0 counts as missing.

        Returns
        -------
        self : object
            The fitted completer.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, values)
            given = map(to_host, (rows, cols, values))
            entries = entries_from_triplets(*given, shape, to_host(sample_weight))
            for name in ("feature_names_in_",):
                vars(self).pop(name, None)
            self.n_features_in_ = entries.shape[1]
            return self._fit(entries, placement, {"X": None, "y": None, "metadata": {}})

    def _fit(self, entries, placement, data):
        require_entries(entries)
        problem = self._problem(entries)
        # stacklevel: the line that calls fit, past its two decorators
        warn_of_empty(entries, stacklevel=5)
        mean, scale = self._location(entries)
        centred = entries.less(mean)
        centred = entries_at(placement, centred.with_values(centred.values / scale))

        def attributes(iterate):
            return self._fitted(iterate, mean, scale)

        n_runs = 4 if self.alpha == "auto" else 1
        progress = Progress(self, n_runs, attributes, data)
        with worker_threads(len(entries) // _ENTRIES_PER_ROW):
            found = complete(centred, problem, progress)
            fitted = attributes(found.iterate) | _report(found)
        placement.backend.release()
        for name, value in fitted.items():
            setattr(self, name, value)
        warn_of_trouble(found, entries, stacklevel=5)
        progress.end(fitted)
        return self

    def _problem(self, entries):
        """Return what is to be solved."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        eps = float(np.finfo(entries.values.dtype).eps)
        least_tol = _LEAST_TOL * eps
        if self.solver == "exact":
            least_tol = _LEAST_DENSE_TOL * eps**0.5
        return Problem(
            solver=SOLVERS[self._solver_name()],
            graded=partial(exact, graded=True) if self._tries_graded(entries) else None,
            power=self.power,
            alpha=self.alpha,
            max_rank=largest_rank(self.max_rank, entries),
            loss=self.loss,
            max_iter=self.max_iter,
            tol=max(self.tol, least_tol),
            floor=_LEAST_SMOOTHING * eps,
            validation_fraction=self.validation_fraction,
            seed=seed,
        )

    def _solver_name(self):
        """Return the solver; a fixed ridge keeps a two-sided one from turning fast."""
        if self.solver != "auto":
            return self.solver
        fixed = self.alpha != "auto" and self.alpha > 0
        return "alternating" if fixed else "two-sided"

    def _tries_graded(self, entries):
        """Return whether dense iterates are to be compared, and are cheap enough."""
        largest = np.iinfo(np.int64).max if self.max_rank is None else self.max_rank
        solves = float(np.sum(entries.row_counts() ** 3.0)) / 3
        decompositions = 10.0 * np.prod(entries.shape) * min(entries.shape)
        cheap = solves + decompositions <= _DENSE_WORK
        return self.solver == "auto" and largest >= min(entries.shape) and cheap

    def _location(self, entries):
        """Return the means of the columns, or zeros, and the scale of the rest."""
        mean = np.zeros(entries.shape[1], dtype=entries.values.dtype)
        if self.center:
            mean = entries.column_means()
        rest = entries.less(mean).values
        top = np.abs(rest).max()
        if top == 0:
            return mean, mean.dtype.type(1)
        square = np.average((rest / top) ** 2, weights=entries.weight)
        return mean, mean.dtype.type(top * np.sqrt(square))

    def _fitted(self, iterate, mean, scale):
        """Return the attributes of a completer that ends with an iterate."""
        exponent = 2 * self.power
        model = row_model(iterate, exponent, self.loss)
        Z, to_numpy = fitted_rows(iterate, exponent, model), iterate.entries.to_numpy
        left, triangle = np.linalg.qr(Z)
        u, s, vt = np.linalg.svd(triangle, full_matrices=False)
        factors, V, penalty = (left @ u, s, model[0] @ vt.T), *model[:2]
        left, s, right = map(to_numpy, factors)
        if iterate.mean is not None:
            mean = mean + to_numpy(iterate.mean) * scale
        return {
            "factors_": (left, s * scale, right),
            "rank_": iterate.rank,
            "mean_": mean,
            "_scale": scale,
            "_row_model": (to_numpy(V), to_numpy(penalty), model[2]),
        }

    def transform(self, X):
        """Complete the rows of a matrix, by one small solve for each.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            The rows of `fit` or new ones, with missing entries as in `fit`.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The completed rows, of a data frame with its index and columns. Observed
            entries stay as they are, unless `keep_observed` is False.
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        given = placement.read(X)
        entries = entries_of(self, given, reset=False)
        completed = self._complete(entries, placement)
        if self.keep_observed:
            completed[entries.rows, entries.cols] = entries.values
        completed = as_given(self, given, completed)
        whole = isinstance(completed, np.ndarray)
        return placement.to_caller(completed) if whole else completed

    def _complete(self, entries, placement):
        """Return the dense rows that the entries belong to."""
        dtype = entries.values.dtype
        V, penalty = (part.astype(dtype) for part in self._row_model[:2])
        mean, scale = self.mean_.astype(dtype), dtype.type(self._scale)
        centred = entries.less(mean)
        centred = entries_at(placement, centred.with_values(centred.values / scale))
        model = centred.asarray(V), centred.asarray(penalty), self._row_model[2]
        with worker_threads(len(entries) // _ENTRIES_PER_ROW):
            Z = centred.to_numpy(new_rows(centred, model))
        return (Z * scale) @ V.T + mean

    def predict_entries(self, rows, cols):
        """Return entries of the matrix that was fitted, without forming it.

        Parameters
        ----------
        rows, cols : array-like of int of shape (n_entries,)
            Where the entries are.

        Returns
        -------
        ndarray of shape (n_entries,)
        """
        check_is_fitted(self)
        U, s, V = self.factors_
        placement = outer_placement_of(self.device, rows)
        rows, cols = check_indices(to_host(rows), to_host(cols), (len(U), len(V)))
        out = np.empty(len(rows), dtype=U.dtype)
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = np.einsum("ek,ek->e", U[rows[block]] * s, V[cols[block]])
        return placement.to_caller(out + self.mean_[cols])

    def score(self, X, y=None):
        """Return R² on observed entries that are hidden before the transform.

        The share `validation_fraction` of the observed entries of X is hidden, drawn
        with `random_state`.

        Parameters
        ----------
        X : array-like or sparse matrix or array of shape (n_samples, n_features)
            Rows with missing entries as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        entries = entries_of(self, placement.read(X), reset=False)
        require_entries(entries)
        random_state = check_random_state(self.random_state)
        hidden = entries.hide(self.validation_fraction, random_state)
        completed = self._complete(entries.select(~hidden), placement)
        places = entries.rows[hidden], entries.cols[hidden]
        return float(r2_score(entries.values[hidden], completed[places]))


def _report(found):
    """Return the attributes that tell how the search went."""
    columns = zip(*found.history, strict=True)
    names = ("stage", "iter", "epsilon", "rank", "score")
    return {
        "n_iter_": len(found.history),
        "converged_": found.converged,
        "validation_score_": found.validation_score,
        "history_": {
            name: np.array(column) for name, column in zip(names, columns, strict=True)
        },
    }
