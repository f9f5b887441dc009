"""The missing pixels of an image, by regression with a kernel of offsets.

With C the kernel of all pixels of a torus, plus a ridge, the prediction of missing
pixels is C_mo C_oo⁻¹ y_o. The same is −Λ_mm⁻¹ Λ_mo y_o with Λ = C⁻¹, and on a torus
both C and Λ are convolutions. C_oo has the condition of the kernel, but Λ_mm only that
of the holes, which are small: there conjugate gradients need few steps.
"""

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.linalg import cho_factor, cho_solve


def fill_by_cholesky(values, observed, kernel, alpha):
    """Return predictions at the missing pixels, by a dense factorisation.

    `values` has a column for each channel, and a row for each observed pixel.
    """
    seen, missing = np.argwhere(observed), np.argwhere(~observed)
    K = _gather(kernel, seen, seen)
    K[np.diag_indices_from(K)] += alpha * kernel[0, 0]
    factor = cho_factor(K, lower=True, overwrite_a=True, check_finite=False)
    return _gather(kernel, missing, seen) @ cho_solve(factor, values)


def _gather(kernel, first, second):
    """Return the kernel of pairs of pixels."""
    rows, cols = (np.subtract.outer(first[:, k], second[:, k]) for k in (0, 1))
    return kernel[rows, cols]


def fill_by_iterations(values, observed, kernel, alpha, tol, max_iter):
    """Return the same by conjugate gradients, and whether they converged."""
    known = np.zeros(kernel.shape, dtype=bool)
    inside = tuple(map(slice, observed.shape))
    known[inside] = observed
    spectrum = rfft2(kernel).real
    # rounding leaves small negative numbers in place of small positive ones
    spectrum = np.maximum(spectrum, 0) + alpha * kernel[0, 0]
    precision = spectrum.min() / spectrum

    def apply(x):
        """Return Λ x on the missing pixels of the torus."""
        out = irfft2(rfft2(x) * precision, s=kernel.shape)
        out[:, known] = 0
        return out

    start = np.zeros((values.shape[1], *kernel.shape))
    start[:, known] = values.T
    x, converged = _conjugate_gradients(apply, -apply(start), tol, max_iter)
    return x[(slice(None), *inside)][:, ~observed].T, converged


def _conjugate_gradients(apply, b, tol, max_iter):
    """Solve apply(x) = b for each of the leading slices of b."""
    x, r = np.zeros_like(b), b.copy()
    p, square = r.copy(), _dots(r, r)
    goal = tol**2 * square
    for _ in range(max_iter):
        if (square <= goal).all():
            break
        q = apply(p)
        step = _ratio(square, _dots(p, q))
        x += step * p
        r -= step * q
        before, square = square, _dots(r, r)
        p *= _ratio(square, before)
        p += r
    return x, bool((square <= goal).all())


def _dots(x, y):
    """Return the inner products of slices."""
    return np.einsum("kij,kij->k", x, y)[:, None, None]


def _ratio(a, b):
    """Return a / b, and 0 for slices that are solved exactly."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
