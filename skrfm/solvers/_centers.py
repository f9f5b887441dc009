"""Kernel least squares over few centres and many rows, by conjugate gradients.

The coefficients a of p centres minimise Σ w_i ‖f(x_i) − y_i‖² + ridge aᵀK_zz a, with
f(x) = Σ a_j k(x, z_j): kernel ridge regression where the centres are all of the rows.
"""

from collections.abc import Callable

from .._backend import Array, Backend
from ..exceptions import NotPositiveDefiniteError
from ._solution import Solution

# Steps at most.
_STEPS = 50
# What is added to the diagonal of the kernel matrix of the centres, for its Cholesky
# factor, and how often it is raised tenfold.
_JITTER, _TRIES = 1e-10, 8


class CenterWhitening:
    """The change of coefficients that makes the normal equations well conditioned.

    With K_zz = L Lᵀ and C Cᵀ = share Lᵀ L + ridge I, the coefficients are
    a = L⁻ᵀ C⁻ᵀ u: where the rows look like the centres, the equations for u are the
    identity.

    Parameters
    ----------
    K : array of shape (p, p)
        The kernel matrix of the centres, in float64.
    ridge : float
    share : float
        The weight of all rows divided by p.
    backend : Backend
    """

    def __init__(self, K, ridge, share, backend: Backend):
        self.ridge = ridge
        root, self.jitter = _cholesky(K, backend)
        self._solve_root = backend.lower_solver(root)
        inner = share * backend.lower_product(root)
        inner = inner + backend.diagonal_matrix(ridge * backend.xp.ones_like(K[0, :]))
        self._solve_inner = backend.lower_solver(backend.cholesky(inner, 0))

    def coef(self, u):
        """Return the coefficients of the centres."""
        return self._solve_root(self._solve_inner(u, transposed=True), transposed=True)

    def adjoint(self, h):
        """Return C⁻¹ L⁻¹ h."""
        return self._solve_inner(self._solve_root(h))

    def ridge_term(self, u):
        """Return the term of the ridge in the equations for u."""
        return self.ridge * self._solve_inner(self._solve_inner(u, transposed=True))


def _cholesky(K, backend):
    """Return the lower factor of K and what had to be added to its diagonal."""
    jitter = _JITTER
    ones = backend.xp.ones_like(K[0, :])
    for _ in range(_TRIES):
        try:
            return backend.cholesky(
                K + backend.diagonal_matrix(jitter * ones), 0
            ), jitter
        except NotPositiveDefiniteError:
            jitter *= 10
    return backend.cholesky(K + backend.diagonal_matrix(jitter * ones), 0), jitter


def solve_centers(
    normal_product: Callable[[Array], Array],
    right: Array,
    whitening: CenterWhitening,
    backend: Backend,
    *,
    dtype,
    tolerance: float,
    max_steps: int = _STEPS,
) -> Solution:
    """Return the coefficients of the centres, by preconditioned conjugate gradients.

    Parameters
    ----------
    normal_product : callable
        Maps V of shape (p, c) to K_zx diag(w) K_xz V; each call is one pass over the
        rows.
    right : array of shape (p, c)
        K_zx diag(w) Y.
    whitening : CenterWhitening
    backend : Backend
    dtype : dtype
        The precision of the coefficients, and of the rows.
    tolerance : float
        The relative residual that ends the steps.
    max_steps : int
    """
    xp = backend.xp

    def operator(u):
        h = normal_product(xp.astype(whitening.coef(u), dtype))
        return whitening.adjoint(h) + whitening.ridge_term(u)

    R = whitening.adjoint(right)
    U, P = xp.zeros_like(R), R
    gamma = xp.sum(R * R, axis=0)
    scale = xp.where(gamma > 0, gamma, xp.ones_like(gamma))
    for _ in range(max_steps):
        if float(xp.max(gamma / scale)) <= tolerance**2:
            break
        A = operator(P)
        curvature = xp.sum(P * A, axis=0)
        step = gamma / xp.where(curvature > 0, curvature, xp.ones_like(curvature))
        U, R = U + step * P, R - step * A
        last, gamma = gamma, xp.sum(R * R, axis=0)
        P = R + gamma / xp.where(last > 0, last, xp.ones_like(last)) * P
    residual = float(xp.max(gamma / scale)) ** 0.5
    return Solution(
        coef=xp.astype(whitening.coef(U), dtype),
        jitter=whitening.jitter if whitening.jitter > _JITTER else 0.0,
        residual=residual,
    )
