"""Prediction of the missing pixels of an image, by regression with a kernel of offsets.

With C the kernel of all pixels of a torus, plus a ridge, the prediction of missing
pixels is C_mo C_oo⁻¹ y_o. The same is −Λ_mm⁻¹ Λ_mo y_o with Λ = C⁻¹, and on a torus
both C and Λ are convolutions. The condition number of C_oo is that of the kernel, but
that of Λ_mm depends on the size of the missing regions, which are small: conjugate
gradients with Λ_mm need few iterations.
"""

from collections.abc import Callable

import numpy as np

from ..._backend import Array, Backend, BoolArray, FloatArray


def fill_by_cholesky(
    values: FloatArray,
    observed: BoolArray,
    kernel: FloatArray,
    *,
    alpha: float,
    backend: Backend,
) -> FloatArray:
    """Return predictions of the missing pixels by a dense factorisation.

    Parameters
    ----------
    values : ndarray of shape (n_observed, n_channels)
        Values of the observed pixels, in the order of `np.argwhere(observed)`.
    observed : ndarray of bool of shape (height, width)
    kernel : ndarray of shape (torus_height, torus_width)
        The kernel of two pixels by their offset.
    alpha : float
        The ridge, relative to the variance of a pixel.
    backend : Backend
        Solves the linear system.

    Returns
    -------
    ndarray of shape (n_missing, n_channels)
    """
    seen, missing = np.argwhere(observed), np.argwhere(~observed)
    K = backend.asarray(_kernel_of_pairs(kernel, seen, seen))
    solve = backend.positive_solver(K, float(alpha * kernel[0, 0]))
    coef = backend.to_numpy(solve(backend.asarray(values)))
    return _kernel_of_pairs(kernel, missing, seen) @ coef


def _kernel_of_pairs(kernel, first, second):
    """Return the kernel of all pairs of pixels, given by their coordinates."""
    rows, cols = (np.subtract.outer(first[:, k], second[:, k]) for k in (0, 1))
    return kernel[rows, cols]


def fill_by_iterations(
    values: FloatArray,
    observed: BoolArray,
    kernel: FloatArray,
    *,
    alpha: float,
    tol: float,
    max_iter: int,
    backend: Backend,
) -> tuple[FloatArray, bool]:
    """Return predictions of the missing pixels by conjugate gradients.

    Parameters
    ----------
    values, observed, kernel, alpha, backend
        As in `fill_by_cholesky`.
    tol : float
        The iterations end when the norms of the residuals are at most this share of
        their first values.
    max_iter : int

    Returns
    -------
    predicted : ndarray of shape (n_missing, n_channels)
    converged : bool
    """
    image = tuple(slice(size) for size in observed.shape)
    missing = np.ones(kernel.shape)  # the torus beyond the image is missing as well
    missing[image] = ~observed
    known = np.zeros((values.shape[1], *kernel.shape))
    known[:, missing == 0] = values.T
    missing, known = backend.asarray(missing), backend.asarray(known)
    spectrum = np.fft.rfft2(backend.asarray(kernel)).real
    # rounding leaves small negative numbers in place of small positive ones
    spectrum = np.maximum(spectrum, 0) + float(alpha * kernel[0, 0])
    precision = spectrum.min() / spectrum

    def apply(x):
        """Return Λ x on the missing pixels of the torus."""
        out = np.fft.irfft2(np.fft.rfft2(x) * precision, s=kernel.shape)
        out *= missing
        return out

    x, converged = _conjugate_gradients(
        apply, -apply(known), tol=tol, max_iter=max_iter
    )
    predicted = backend.to_numpy(x)[(slice(None), *image)]
    return predicted[:, ~observed].T, converged


def _conjugate_gradients(
    apply: Callable[[Array], Array], b: Array, *, tol: float, max_iter: int
) -> tuple[Array, bool]:
    """Solve apply(x) = b for each of the leading slices of b.

    Returns x, and whether all residuals have fallen to `tol` times their first norm.
    """
    x, residual = np.zeros_like(b), b.copy()
    direction, square = residual.copy(), _inner_products(residual, residual)
    goal = tol**2 * square
    for _ in range(max_iter):
        if (square <= goal).all():
            break
        image = apply(direction)
        step = _ratio(square, _inner_products(direction, image))
        x += step * direction
        residual -= step * image
        previous, square = square, _inner_products(residual, residual)
        direction *= _ratio(square, previous)
        direction += residual
    return x, bool((square <= goal).all())


def _inner_products(x, y):
    """Return the inner products of the leading slices."""
    return np.einsum("kij,kij->k", x, y)[:, None, None]


def _ratio(a, b):
    """Return a / b, and 0 for slices that are solved exactly."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0)
