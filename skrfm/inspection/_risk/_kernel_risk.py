"""The error of a kernel machine at other numbers of rows and ridges."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import nnls
from sklearn.utils import check_consistent_length, check_random_state

from ..._backend import FloatArray, IntArray, Seed, Table, Vector
from ..._sklearn import check_array, safe_indexing
from ..._tables import to_host
from ...rfm import RFMClassifier
from ._formulas import effective_ridge, ridge_risk
from ._pool import Pool, kernel_rows, one_hot

# The ridges that are predicted, unless others are given: two in each power of ten.
_ALPHAS = np.geomspace(1e-6, 10, 15)
# Ridges whose leave-one-out residuals are computed together, which bounds memory.
_TOGETHER = 64
# Numbers of rows, as shares of the pool, that a power law is fitted to: larger shares
# leave few rows of the pool to be tested on, and smaller ones follow another power.
_LAW_SHARES = np.geomspace(0.05, 0.5, 12)
# Powers of the number of rows that are tried.
_POWERS = np.linspace(0.05, 2, 79)


@dataclass(frozen=True, kw_only=True)
class KernelRisk:
    """Predicted errors of a kernel machine at numbers of rows and ridges.

    Attributes
    ----------
    train_sizes : ndarray of shape (n_sizes,)
        Numbers n of training rows.
    alphas : ndarray of shape (n_alphas,)
        Ridges.
    risk : ndarray of shape (n_sizes, n_alphas)
        Predicted mean square errors on new rows, summed over the outputs; of a
        classifier, of indicators of the classes.
    standard_error : ndarray of shape (n_sizes, n_alphas)
        How far `risk` may be off because the labelled rows are a sample: the standard
        error of the mean of their squared leave-one-out residuals, as a share of that
        mean, times `risk`. It is large where a few rows make most of the error.
    best_alpha : ndarray of shape (n_sizes,)
        The ridge of the least predicted error.
    effective_dimension : ndarray of shape (n_sizes, n_alphas)
        Degrees of freedom of the machine: how many eigenfunctions it learns.
    kappa : ndarray of shape (n_sizes, n_alphas)
        Effective ridges: eigenfunctions of larger eigenvalues are learned.
    n_pool : int
        Number of labelled rows that the predictions are made from.
    """

    train_sizes: IntArray
    alphas: FloatArray
    risk: FloatArray
    standard_error: FloatArray
    best_alpha: FloatArray
    effective_dimension: FloatArray
    kappa: FloatArray
    n_pool: int
    _pool: Pool = field(repr=False)

    @property
    def best_risk(self) -> FloatArray:
        """The predicted error (n_sizes,) at the best ridge of each number of rows."""
        return self.predict(self.train_sizes, self.best_alpha)

    def predict(
        self,
        n: Vector,
        alpha: Vector,
        *,
        n_features: Vector | None = None,
        corrected: bool = True,
    ) -> Any:
        """Predict the error at any number of rows and any ridge.

        Parameters
        ----------
        n : array-like of float
            Numbers of training rows, at most `n_pool`.
        alpha : array-like of float
            Ridges, from 0 up; they broadcast with `n`.
        n_features : array-like of float, default=None
            Numbers of random features of the kernel, which broadcast as well. None is
            the kernel itself.
        corrected : bool, default=True
            Whether the error is multiplied by the ratio of leave-one-out to generalised
            cross-validation of the pool at the same effective ridge, which accounts for
            rows that are harder than others. For ``n = n_pool`` it is the leave-one-out
            error then, and the generalised cross-validation otherwise. The formula of
            random features is for infinitely many rows; it is multiplied by the ratio
            of the kernel's own error to that by the formula for infinitely many.

        Returns
        -------
        float or ndarray
            Of the shape that the arguments broadcast to.
        """
        spectrum = self._pool.spectrum
        values, power = spectrum.values, spectrum.power
        risk = ridge_risk(values, power, n, alpha, n_pool=self.n_pool)
        if corrected:
            kappa = _effective_ridges(self._pool, n, alpha)
            risk = risk * _corrections(self._pool, kappa)[0]
        if n_features is not None:
            features = ridge_risk(values, power, n, alpha, n_features=n_features)
            if not corrected:
                return features
            published = np.asarray(ridge_risk(values, power, n, alpha))
            defined = np.isfinite(published) & (published > 0)
            safe = np.where(defined, published, 1)
            risk = features * np.where(defined, risk / safe, 1)
        return float(risk) if np.ndim(risk) == 0 else risk

    def extrapolate(self, n: Vector) -> Any:
        """Extrapolate the error at the best ridge to more rows than there are.

        A power law a·n^−b + c, with a and c from 0 up, is fitted to the predicted
        errors of 5 to 50 % of the rows of the pool. Nothing is known of eigenvalues
        beyond the pool, so this is rough: with 2000 rows, the errors of 8000 rows were
        3 to 10 % off on three tables, and twice too large on one without noise.

        Parameters
        ----------
        n : array-like of float
            Numbers of training rows.

        Returns
        -------
        float or ndarray of the shape of n
        """
        sizes = np.unique(np.maximum(2, self.n_pool * _LAW_SHARES).astype(int))
        risk = self.predict(sizes[:, None], self.alphas).min(axis=1)
        laws = []
        for power in _POWERS:
            # relative errors count, as the errors span a range
            columns = np.column_stack([sizes**-power, np.ones(len(sizes))])
            factors, distance = nnls(columns / risk[:, None], np.ones(len(sizes)))
            laws.append((distance, power, factors))
        _, power, (factor, rest) = min(laws, key=lambda law: law[0])
        found = factor * np.asarray(n, dtype=float) ** -power + rest
        return float(found) if found.ndim == 0 else found


def kernel_risk(
    estimator: Any,
    X: Table,
    y: Vector,
    *,
    train_sizes: Vector,
    alphas: Vector | None = None,
    bandwidth: float | str = "3*median",
    max_rows: int = 2000,
    random_state: Seed = None,
) -> KernelRisk:
    """Predict the error of a kernel machine at other numbers of rows and ridges.

    From one eigendecomposition of the kernel matrix of P labelled rows: nothing is
    fitted, and every further n and ridge takes microseconds. The formulas are those of
    [1]_ for kernel ridge regression, corrected for the P rows not being infinitely
    many, and for rows that are harder than others by the ratio of leave-one-out to
    generalised cross-validation. The best ridge is chosen without the latter.

    Parameters
    ----------
    estimator : fitted RFMRegressor or RFMClassifier, or kernel
        A fitted estimator has a kernel, a bandwidth, a metric and an encoding of rows,
        those of its first machine. It is fitted to all its rows, so the error is that
        in this metric, not of a metric learned from n rows. Or a kernel of
        `skrfm.kernels`, or its name, for numeric rows that are taken as they are.
    X : array-like of shape (n_samples, n_features)
        Labelled rows: P of them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their targets, as the estimator has them; numbers with a kernel. Labels of
        classes become indicators.
    train_sizes : array-like of int
        Numbers n of training rows, at most P.
    alphas : array-like of float, default=None
        Ridges on the diagonal of the n x n kernel matrix. None is 15 from 1e-6 to 10.
    bandwidth : float or str, default="3*median"
        The bandwidth of a kernel, as in `RFMRegressor`.
    max_rows : int, default=2000
        The largest P; of more rows, a random sample is taken. The cost grows with P³:
        3 seconds for 2000.
    random_state : int, RandomState or None, default=None
        Seeds the sample.

    Returns
    -------
    KernelRisk
        With the method `predict` for other numbers of rows, ridges and random features,
        and `extrapolate` for a rough guess at more rows than P.

    See Also
    --------
    ridge_risk : The formulas, for given eigenvalues.
    KernelRiskDisplay : The plot.

    References
    ----------
    .. [1] J. Simon, D. Karkada, N. Ghosh and M. Belkin, "More is better: when infinite
       overparameterization is optimal and overfitting is obligatory", ICLR 2024.

    Examples
    --------
    The ridge to take and the error to expect for 100 and 400 rows, from 600 others:

    >>> from sklearn.datasets import make_friedman1
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import kernel_risk
    >>> X, y = make_friedman1(2000, noise=1.0, random_state=0)
    >>> kernel = {"bandwidth": "median", "random_state": 0}
    >>> risk = kernel_risk(
    ...     "gaussian", X[:600], y[:600], train_sizes=[100, 400], **kernel
    ... )
    >>> risk.best_alpha.round(3)
    array([0.01 , 0.003])
    >>> risk.best_risk.round(1)
    array([5.7, 2.4])

    The errors that are measured then:

    >>> options = {"kernel": "gaussian", "scaling": None, "max_iter": 0, **kernel}
    >>> for n, alpha in zip([100, 400], risk.best_alpha):
    ...     model = RFMRegressor(alpha=alpha, validation=None, **options)
    ...     error = model.fit(X[-n:], y[-n:]).predict(X[600:-n]) - y[600:-n]
    ...     print(round(float((error**2).mean()), 1))
    6.0
    2.3
    """
    X, y = _sample(X, y, max_rows, random_state)
    kernel, T, length = kernel_rows(estimator, X, bandwidth, name="kernel_risk")
    pool = Pool.of(kernel, T, length, _targets(estimator, y))
    sizes = _checked_sizes(train_sizes, pool.n_rows)
    ridges = np.asarray(_ALPHAS if alphas is None else alphas, dtype=float)
    if ridges.ndim != 1 or ridges.size == 0:
        raise ValueError(f"alphas must be a list of ridges; got {alphas!r}.")
    return _predict_all(pool, sizes, ridges)


def _checked_sizes(train_sizes, n_pool):
    """Return the numbers of training rows, or raise ValueError."""
    sizes = np.asarray(train_sizes)
    whole = sizes.ndim == 1 and sizes.size > 0 and sizes.dtype.kind in "iu"
    if not whole or sizes.min() < 1 or sizes.max() > n_pool:
        raise ValueError(
            f"train_sizes must be a list of integers from 1 to {n_pool}, the number of "
            f"labelled rows; got {train_sizes!r}. More rows or a larger max_rows allow "
            "more."
        )
    return sizes


def _sample(X, y, max_rows, random_state):
    """Return at most `max_rows` rows and their targets."""
    y = np.asarray(to_host(y))
    check_consistent_length(X, y)
    n = len(y)
    if max_rows < 2:
        raise ValueError(f"max_rows must be at least 2, got {max_rows!r}.")
    if n <= max_rows:
        return X, y
    rng = check_random_state(random_state)
    rows = np.sort(rng.choice(n, max_rows, replace=False))
    return safe_indexing(X, rows), y[rows]


def _targets(estimator, y):
    """Return targets (P, c): numbers, or indicators of classes."""
    if isinstance(estimator, RFMClassifier) or y.dtype.kind not in "biuf":
        return one_hot(y)[1]
    Y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    return Y if Y.ndim == 2 else Y[:, None]


def _effective_ridges(pool, n, alpha):
    """Return κ, of the shape that n and alpha broadcast to."""
    kappa = np.vectorize(
        lambda n, alpha: effective_ridge(pool.spectrum, n, alpha, pool.n_rows),
        otypes=[float],
    )
    return kappa(n, alpha)


def _corrections(pool, kappa):
    """Return leave-one-out over generalised cross-validation, of the shape of κ.

    And the standard error of leave-one-out, as a share of it, of the same shape.
    """
    flat, ratios, errors = np.ravel(kappa), [], []
    for start in range(0, len(flat), _TOGETHER):
        residuals, gcv = pool.leave_one_out(flat[start : start + _TOGETHER])
        squares = (residuals**2).sum(axis=2)
        loo, deviation = squares.mean(axis=1), squares.std(axis=1)
        safe = np.where(gcv > 0, gcv, 1)
        ratios.append(np.where(gcv > 0, loo / safe, 1))
        errors.append(deviation / np.where(loo > 0, loo, 1) / pool.n_rows**0.5)
    shape = np.shape(kappa)
    return np.concatenate(ratios).reshape(shape), np.concatenate(errors).reshape(shape)


def _predict_all(pool, sizes, ridges):
    """Return the KernelRisk of all sizes and ridges."""
    spectrum, n = pool.spectrum, sizes[:, None]
    values, power = spectrum.values, spectrum.power
    uncorrected = ridge_risk(values, power, n, ridges, n_pool=pool.n_rows)
    kappa = _effective_ridges(pool, n, ridges)
    dimension = [spectrum.df(one) for one in kappa.ravel()]
    ratio, error = _corrections(pool, kappa)
    return KernelRisk(
        train_sizes=sizes,
        alphas=ridges,
        risk=uncorrected * ratio,
        standard_error=uncorrected * ratio * error,
        best_alpha=ridges[uncorrected.argmin(axis=1)],
        effective_dimension=np.reshape(dimension, kappa.shape),
        kappa=kappa,
        n_pool=pool.n_rows,
        _pool=pool,
    )
