"""Kernel least squares over few centres and many rows, by conjugate gradients.

The coefficients a of p centres minimise Σ w_i ‖f(x_i) − y_i‖² + ridge aᵀK_zz a, with
f(x) = Σ a_j k(x, z_j): kernel ridge regression where the centres are all of the rows.
They solve (H + ridge K_zz) a = K_zx diag(w) Y, where H = K_zx diag(w) K_xz.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .._backend import Array, Backend
from ..exceptions import NotPositiveDefiniteError
from ._solution import Solution

# Steps at most.
_STEPS = 50
# What is added to the diagonal of K_zz, in units of its number of rows, of the
# precision and of its diagonal: with less, rounding errors of a smooth kernel make the
# equations indefinite in single precision. Without, the coefficients of 1000 centres
# and a Gaussian kernel were NaN on each of three tables, and with .03 steps did not
# converge; with .3 they end after 2 to 14. Fits with a Laplace kernel are the same.
_ROUNDING = 0.3
# A residual that has grown so many times from its least is not going to fall again.
_DIVERGED = 1e3
# What is added to the diagonal of a matrix, relative to it, where it has no Cholesky
# factor, and how often that is raised tenfold.
_JITTER, _TRIES = 1e-10, 8
# One factor of K_zz serves for two where its smallest pivot is so many times the shift:
# the steps are the same then, while a Gaussian kernel of small pivots needed 41 of them
# instead of 8. The shift itself makes the pivots larger, hence not a smaller number.
_PIVOT_SHIFTS = 10.0
# Single precision serves where the smallest pivot is this share of the diagonal: the
# steps are the same then, while with pivots of 1e-6 there is no factor in float32.
_SINGLE_PIVOT = 1e-3
# With p² / (this number times n) passes over n rows, p more rows can be added to H
# (float64 in BLAS; passes of 20 columns in float32; one thread).
_ROWS_OF_PASS = 100.0
# The steps to a residual of 1e-3, measured on 10 000 to 50 000 rows with 1000 and 2000
# centres: the first number times log(n / p) where H is approximated from the centres,
# the second one divided by log(1 + m / p) where m other rows are added.
_STEPS_OF_CENTERS, _STEPS_OF_SAMPLE, _MEASURED_TOLERANCE = 4.5, 9.2, 1e-3
# The largest m / p, a power of two.
_MOST_SAMPLES = 64


class Preconditioner(Protocol):
    """An approximate inverse of H + ridge K_zz, and the term of the ridge in it."""

    def solve(self, R: Array) -> Array:
        """Return the approximate inverse times R, in float64."""
        ...

    def ridge_term(self, V: Array) -> Array:
        """Return ridge K_zz V, in float64."""
        ...


class _RidgeTerm:
    """The kernel matrix of the centres and the ridge, for preconditioners.

    Attributes
    ----------
    rounding : float
        A bound of the rounding errors of K, which is added to its diagonal.
    """

    def __init__(self, K, ridge, backend: Backend):
        self.K, self.ridge, self._backend = K, ridge, backend
        xp, largest = backend.xp, float(backend.xp.max(backend.xp.linalg.diagonal(K)))
        eps = float(xp.finfo(K.dtype).eps)
        self.rounding = _ROUNDING * K.shape[0] * eps * largest

    def ridge_term(self, V):
        """Return ridge K_zz V, in float64."""
        xp = self._backend.xp
        product = self.K @ xp.astype(V, self.K.dtype)
        return self.ridge * (xp.astype(product, xp.float64) + self.rounding * V)


class CenterPreconditioner(_RidgeTerm):
    """The inverse of share K_zz² + ridge K_zz: as if all rows looked like the centres.

    It is the product of the inverses of K_zz and of K_zz + ridge / share, which takes
    two Cholesky factors. Where both shifts are small beside the eigenvalues, the
    squared inverse of K_zz + ridge / (2 share) is nearly the same, and takes one.

    Parameters
    ----------
    K : array of shape (p, p)
        The kernel matrix of the centres.
    ridge : float
    share : float
        The weight of all rows divided by p.
    backend : Backend
    """

    def __init__(self, K, ridge, share, backend: Backend):
        super().__init__(K, ridge, backend)
        self._share, self._dtype = share, K.dtype
        self._factors = self._choose_factors(ridge / share)

    def _choose_factors(self, shift):
        """Return two factors, which may be the same, in the precision that serves."""
        xp = self._backend.xp
        if self._dtype == xp.float64:
            return self._factors_of(shift, 0.0, _TRIES)
        least = _SINGLE_PIVOT * float(xp.max(xp.linalg.diagonal(self.K)))
        with suppress(NotPositiveDefiniteError):
            factors = self._factors_of(shift, least, 0)
            if factors[0].smallest_pivot >= least:
                return factors
            del factors  # frees their memory first
        self._dtype = xp.float64
        return self._factor(0.0, _TRIES), self._factor(shift, _TRIES)

    def _factors_of(self, shift, least, tries):
        """Return two factors; the second one is of no use where the first is unfit."""
        factor = self._factor(shift / 2, tries)
        if factor.smallest_pivot >= max(least, _PIVOT_SHIFTS * shift / 2):
            return factor, factor
        factor = self._factor(0.0, tries)
        unfit = factor.smallest_pivot < least
        return factor, factor if unfit else self._factor(shift, tries)

    def _factor(self, shift, tries):
        """Return the factor of K_zz + shift I."""
        copy = self._backend.xp.astype(self.K, self._dtype, copy=True)
        return factorize_positive(copy, self._backend, shift + self.rounding, tries)

    def solve(self, R):
        """Return the approximate inverse times R, in float64."""
        xp = self._backend.xp
        for factor in self._factors:
            R = factor.solve(xp.astype(R, self._dtype))
        return xp.astype(R, xp.float64) / self._share


class SamplePreconditioner(_RidgeTerm):
    """The inverse of H + ridge K_zz, with H computed from a sample of the rows.

    It is the solution itself where the sample is all rows.

    Parameters
    ----------
    K : array of shape (p, p)
        The kernel matrix of the centres.
    H : array of shape (p, p)
        The approximation of H, in float64: in float32 its small eigenvalues, which are
        those of the ridge, would be lost. It is overwritten.
    ridge : float
    backend : Backend
    """

    def __init__(self, K, H, ridge, backend: Backend):
        super().__init__(K, ridge, backend)
        H += ridge * backend.xp.astype(K, backend.xp.float64)
        self._factor = factorize_positive(H, backend, ridge * self.rounding)

    def solve(self, R):
        """Return the approximate inverse times R, in float64."""
        return self._factor.solve(R)


def factorize_positive(A, backend: Backend, shift=0.0, tries=_TRIES):
    """Return the PositiveFactor of A + shift I, which overwrites A.

    More is added to the diagonal where the matrix has no factor.
    """
    xp, jitter = backend.xp, shift
    diagonal = xp.asarray(xp.linalg.diagonal(A), copy=True)
    least = _JITTER * float(xp.max(diagonal))
    for number in range(tries):
        try:
            return backend.factorize(A, jitter)
        except NotPositiveDefiniteError:
            jitter = shift + least * 10**number
            upper = xp.triu(A, k=1)
            A = upper + upper.T + backend.diagonal_matrix(diagonal)
    return backend.factorize(A, jitter)


def sample_size(n_rows: int, n_centers: int, tolerance: float = 1e-3) -> int:
    """Return of how many rows, besides the centres, to compute the approximate H.

    More rows take fewer steps; 0 where that does not pay. A direct solve is the case of
    all rows.
    """
    n, p = n_rows, n_centers
    work = p**2 / (_ROWS_OF_PASS * n)

    def passes(ratio):
        # the products of all pairs of centres, the Cholesky factor, and the steps
        steps = expected_steps(n, p, ratio * p, tolerance)
        return (ratio + 4 / 3) * work + steps

    ratios = [2**k for k in range(_MOST_SAMPLES.bit_length())]
    best = min(ratios, key=passes)
    if passes(best) >= expected_steps(n, p, 0, tolerance):
        return 0
    return min(best * p, n - p)


def expected_steps(
    n_rows: int, n_centers: int, size: int, tolerance: float = 1e-3
) -> float:
    """Return how many steps to expect with `size` rows, besides the centres, in H."""
    digits = math.log(tolerance) / math.log(_MEASURED_TOLERANCE)
    if size == 0:
        return digits * _STEPS_OF_CENTERS * math.log(n_rows / n_centers)
    return digits * _STEPS_OF_SAMPLE / math.log1p(size / n_centers)


def solve_centers(
    normal_product: Callable[[Array], Array],
    right: Array,
    preconditioner: Preconditioner,
    backend: Backend,
    *,
    dtype,
    tolerance: float,
    max_steps: int = _STEPS,
) -> Solution:
    """Return the coefficients of the centres, by preconditioned conjugate gradients.

    They are those of the least residual, which rounding errors may let grow again.

    Parameters
    ----------
    normal_product : callable
        Maps V of shape (p, c) to K_zx diag(w) K_xz V; each call is one pass over the
        rows.
    right : array of shape (p, c)
        K_zx diag(w) Y, in float64.
    preconditioner : Preconditioner
    backend : Backend
    dtype : dtype
        The precision of the coefficients, and of the rows.
    tolerance : float
        The residual that ends the steps, in the norm of the preconditioner and
        relative to the right side.
    max_steps : int
    """
    xp = backend.xp
    R = right
    Z = preconditioner.solve(R)
    U, P = xp.zeros_like(R), Z
    gamma = xp.sum(R * Z, axis=0)
    scale = xp.where(gamma > 0, gamma, xp.ones_like(gamma))
    best, residual = U, float(xp.max(gamma / scale)) ** 0.5
    for _ in range(max_steps):
        if residual <= tolerance:
            break
        A = normal_product(xp.astype(P, dtype)) + preconditioner.ridge_term(P)
        curvature = xp.sum(P * A, axis=0)
        step = gamma / xp.where(curvature > 0, curvature, xp.ones_like(curvature))
        U, R = U + step * P, R - step * A
        Z = preconditioner.solve(R)
        last, gamma = gamma, xp.sum(R * Z, axis=0)
        found = max(float(xp.max(gamma / scale)), 0.0) ** 0.5
        if found < residual:
            best, residual = U, found
        elif not found <= _DIVERGED * residual:
            break
        P = Z + gamma / xp.where(last > 0, last, xp.ones_like(last)) * P
    return Solution(coef=xp.astype(best, dtype), residual=residual)
