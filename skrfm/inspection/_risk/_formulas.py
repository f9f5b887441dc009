"""The risk of ridge regression on features, from eigenvalues.

With eigenvalues λ of the kernel and the power v² of the target on their eigenfunctions,
df(κ) = Σ λ / (λ + κ) and q(κ) = Σ (λ / (λ + κ))² are the degrees of freedom of an
infinitely large training set with the effective ridge κ; n rows with the ridge α on the
diagonal of their kernel matrix behave as that with a κ that solves an equation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq

from ..._backend import FloatArray, Vector

# Eigenvalues below this share of the largest are rounding errors of zeros.
_NEGLIGIBLE = 1e-12
# Accuracy of log κ; the risk is then as accurate as rounding lets it be.
_XTOL = 1e-14
# Steps by this factor bracket a root.
_STEP = 16.0
# A value that is larger than any other near a root.
_HUGE = 1e100


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues, and the power of the target on their eigenvectors.

    Attributes
    ----------
    values : ndarray of shape (m,)
        Eigenvalues λ, from 0 up.
    power : ndarray of shape (m,)
        v², summed over the outputs.
    """

    values: FloatArray
    power: FloatArray

    @classmethod
    def of(cls, eigenvalues: Vector, target_power: Vector) -> "Spectrum":
        """Return the spectrum of what a user passes, with rounding errors set to 0."""
        values = np.asarray(eigenvalues, dtype=float)
        power = np.asarray(target_power, dtype=float)
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise ValueError(
                "eigenvalues must be finite numbers in one dimension, at least one."
            )
        if values.max() <= 0:
            raise ValueError("eigenvalues must be positive for at least one of them.")
        if power.shape[:1] != values.shape or power.ndim > 2:
            raise ValueError(
                f"target_power must have shape {values.shape}, or one column for each "
                f"output; it has shape {power.shape}."
            )
        if not (np.isfinite(power).all() and power.min() >= 0):
            raise ValueError("target_power must be finite and not negative.")
        power = power if power.ndim == 1 else power.sum(axis=1)
        return cls(np.where(values > _NEGLIGIBLE * values.max(), values, 0.0), power)

    @property
    def rank(self) -> int:
        """The number of positive eigenvalues."""
        return int(np.count_nonzero(self.values))

    @property
    def trace(self) -> float:
        """The sum of the eigenvalues."""
        return float(self.values.sum())

    def df(self, kappa: float) -> float:
        """Return Σ λ / (λ + κ)."""
        return float(self.shares(kappa).sum())

    def shares(self, kappa: float) -> FloatArray:
        """Return λ / (λ + κ); 0 for λ = 0, also at κ = 0."""
        safe = np.where(self.values > 0, self.values, 1.0)
        return np.where(self.values > 0, self.values / (safe + kappa), 0.0)

    def kappa_of_df(self, df: float) -> float:
        """Return the κ with so many degrees of freedom, fewer than the rank."""
        return _falling_root(lambda k: self.df(k) - df, self.trace / df)


def effective_ridge(
    spectrum: Spectrum, n: float, alpha: float, n_pool: float | None = None
) -> float:
    """Return the effective ridge κ of n rows with the ridge `alpha`.

    It solves α (1 − df / P) = κ (n − df), with P = `n_pool`, where None is infinity.
    """
    if alpha == 0 and n >= spectrum.rank:
        return 0.0
    inverse_pool = 0.0 if n_pool is None else 1 / n_pool

    # falls from positive to negative values at its only root
    def excess(kappa):
        df = spectrum.df(kappa)
        return df - n + alpha * (1 - df * inverse_pool) / kappa

    # there κ n >= α + κ df, as κ df is at most the trace
    return _falling_root(excess, (alpha + spectrum.trace) / n)


def _falling_root(function: Callable[[float], float], upper: float) -> float:
    """Return the root of a function that is at most 0 at `upper`, positive near 0."""
    lower = upper
    while function(lower) <= 0:
        upper, lower = lower, lower / _STEP
        if lower == 0:  # the root is below all numbers
            return 0.0
    if upper == lower:  # rounding at the bound itself
        upper *= 2
    found: Any = brentq(
        lambda log_kappa: function(np.exp(log_kappa)),
        np.log(lower),
        np.log(upper),
        xtol=_XTOL,
        rtol=4 * np.finfo(float).eps,
    )
    return float(np.exp(found))


def risk_of_rows(
    spectrum: Spectrum,
    n: float,
    alpha: float,
    *,
    noise: float = 0.0,
    n_pool: float | None = None,
) -> float:
    """Return the risk of n rows, drawn from P = `n_pool` rows or from infinitely many.

    With P rows it is n Σ (κ/(λ+κ))² v² / [(n − q)(1 − df/P) − (n − df)(df − q)/P]; for
    infinitely many [Σ (κ/(λ+κ))² v² + noise] / (1 − q / n), their limit. At n = P it is
    the generalised cross-validation of the pool.
    """
    if n_pool is not None and n == n_pool == spectrum.rank and alpha == 0:
        # the limit of both that vanish as the ridge does
        inverse = 1 / spectrum.values
        return float(n_pool**2 * (spectrum.power @ inverse**2) / inverse.sum() ** 2)
    kappa = effective_ridge(spectrum, n, alpha, n_pool)
    shares = spectrum.shares(kappa)
    df, q = shares.sum(), shares @ shares
    error = float(((1 - shares) ** 2) @ spectrum.power) + noise
    if n_pool is None:
        denominator = 1 - q / n
    else:
        denominator = (n - q) * (1 - df / n_pool) - (n - df) * (df - q) / n_pool
        denominator /= n
    return _quotient(error, denominator)


def risk_of_random_features(
    spectrum: Spectrum, n: float, alpha: float, n_features: float, *, noise: float = 0.0
) -> float:
    """Return the risk of n rows and m = `n_features` random features of the kernel.

    With κ = γ (m − z) / m and z = df(γ), γ solves z + α / κ = n, and the risk is
    [Σ (γ/(λ+γ) − κ λ/(λ+γ)² m/(m − q)) v² + noise] / (1 − (q (m − 2z) + z²) /
    (n (m − q))).
    """
    m = float(n_features)
    gamma = _gamma(spectrum, n, alpha, m)
    shares = spectrum.shares(gamma)
    z, q = shares.sum(), shares @ shares
    if m - z <= _NEGLIGIBLE * m:  # more rows than features, and no ridge
        error = float((1 - shares) @ spectrum.power) + noise
        return _quotient(error, 1 - m / n)
    # κ λ / (λ + γ)² = (κ / γ) (1 − s) s with s = λ / (λ + γ), and κ / γ = (m − z) / m
    errors = (1 - shares) * (1 - shares * (m - z) / (m - q))
    error = float(errors @ spectrum.power) + noise
    return _quotient(error, 1 - (q * (m - 2 * z) + z**2) / (n * (m - q)))


def _gamma(spectrum, n, alpha, m):
    """Return the γ of m random features."""
    if alpha == 0:
        least = min(n, m)
        return spectrum.kappa_of_df(least) if least < spectrum.rank else 0.0

    def excess(gamma):
        z = spectrum.df(gamma)
        if z >= m:  # below all solutions
            return _HUGE
        return z - n + alpha * m / (gamma * (m - z))

    upper = (alpha + spectrum.trace) / min(n, m)
    while excess(upper) > 0:
        upper *= _STEP
    return _falling_root(excess, upper)


def _quotient(error, denominator):
    """Return error / denominator; infinity where rows or features just interpolate."""
    if denominator > 8 * np.finfo(float).eps:
        return float(error / denominator)
    return np.inf if error > 0 else 0.0


def ridge_risk(
    eigenvalues: Vector,
    target_power: Vector,
    n: Vector,
    alpha: Vector,
    *,
    noise: float = 0.0,
    n_pool: int | None = None,
    n_features: Vector | None = None,
) -> Any:
    """Predict the test error of ridge regression from the eigenvalues of its kernel.

    The mean square error on new rows of kernel ridge regression on n rows [1]_, or of
    ridge regression on random features of the kernel, for any n and any ridge.

    Parameters
    ----------
    eigenvalues : array-like of shape (m,)
        Eigenvalues of the kernel: of its matrix of P rows, divided by P, or of the
        covariance of the features.
    target_power : array-like of shape (m,) or (m, n_outputs)
        Squared coefficients of the centred target on the unit eigenfunctions: of
        P rows, the squares of the coefficients on the unit eigenvectors, divided by P.
        Outputs are summed, as their errors are.
    n : array-like of float
        Numbers of training rows.
    alpha : array-like of float
        Ridges on the diagonal of the n x n kernel matrix, from 0 up. `n`, `alpha` and
        `n_features` broadcast.
    noise : float, default=0.0
        Variance of the noise of the targets, which is added to the error. Of a pool of
        rows it must be 0: there the noise is part of the target power.
    n_pool : int, default=None
        The number P of rows that the eigenvalues are of, at least `n`. The error is
        then that on the rows of the pool that are not among the n, and for n = P
        its generalised cross-validation. None takes infinitely many rows.
    n_features : array-like of float, default=None
        Numbers of random features of the kernel; None is the kernel itself. With
        `n_pool` it is not defined.

    Returns
    -------
    float or ndarray
        Of the shape that the arguments broadcast to. Infinite without a ridge where
        rows and features just suffice to interpolate.

    References
    ----------
    .. [1] J. Simon, D. Karkada, N. Ghosh and M. Belkin, "More is better: when infinite
       overparameterization is optimal and overfitting is obligatory", ICLR 2024.

    Examples
    --------
    Eigenvalues that fall as a power; half of the error is left after so many rows:

    >>> import numpy as np
    >>> from skrfm.inspection import ridge_risk
    >>> k = np.arange(1.0, 2001)
    >>> ridge_risk(k**-2, k**-1.5 / 2.57, [30, 300], 1e-3, noise=0.1).round(3)
    array([0.45 , 0.248])

    As many random features as rows, with a small ridge, are the worst of all:

    >>> counts = [30, 100, 1000]
    >>> ridge_risk(k**-2, k**-1.5, 100, 1e-4, noise=0.1, n_features=counts).round(2)
    array([0.8 , 2.87, 0.57])
    """
    spectrum = Spectrum.of(eigenvalues, target_power)
    n, alpha = _checked("n", n, positive=True), _checked("alpha", alpha)
    if noise < 0:
        raise ValueError(f"noise must be a variance, from 0 up; got {noise!r}.")
    if n_pool is not None:
        _check_pool(n, n_pool, noise, n_features)
    if n_features is None:

        def risk(n, alpha):
            return risk_of_rows(spectrum, n, alpha, noise=noise, n_pool=n_pool)

        found = np.vectorize(risk, otypes=[float])(n, alpha)
    else:

        def risk_of_features(n, alpha, m):
            return risk_of_random_features(spectrum, n, alpha, m, noise=noise)

        m = _checked("n_features", n_features, positive=True)
        found = np.vectorize(risk_of_features, otypes=[float])(n, alpha, m)
    return float(found) if found.ndim == 0 else found


def _checked(name, numbers, *, positive=False):
    """Return numbers as an array, or raise ValueError."""
    array = np.asarray(numbers, dtype=float)
    low = array > 0 if positive else array >= 0
    if not (low & np.isfinite(array)).all():
        raise ValueError(
            f"{name} must be {'positive' if positive else 'from 0 up'} and finite; got "
            f"{numbers!r}."
        )
    return array


def _check_pool(n, n_pool, noise, n_features):
    """Raise ValueError for what a pool of rows does not define."""
    if n.size and n.max() > n_pool:
        raise ValueError(
            f"n reaches {n.max():g}, but the eigenvalues are those of n_pool={n_pool} "
            "rows, which say nothing about more: lower n, or take more rows."
        )
    if noise:
        raise ValueError(
            "noise must be 0 with n_pool: the power of the pool's own targets has it."
        )
    if n_features is not None:
        raise ValueError("n_features needs n_pool=None: there is no formula of both.")
