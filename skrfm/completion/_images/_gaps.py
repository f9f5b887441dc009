"""The missing pixels of an image, by regression with a kernel of offsets.

With C the kernel of all pixels of a torus, plus a ridge, the prediction of missing
pixels is C_mo C_oo⁻¹ y_o. The same is −Λ_mm⁻¹ Λ_mo y_o with Λ = C⁻¹, and on a torus
both C and Λ are convolutions. C_oo has the condition of the kernel, but Λ_mm only that
of the holes, which are small: there conjugate gradients need few steps.
"""

import numpy as np


def fill_by_cholesky(values, observed, kernel, alpha, backend):
    """Return predictions at the missing pixels, by a dense factorisation.

    `values` has a column for each channel, and a row for each observed pixel. All
    arrays are those of NumPy; the backend solves.
    """
    seen, missing = np.argwhere(observed), np.argwhere(~observed)
    K = backend.asarray(_gather(kernel, seen, seen))
    solve = backend.positive_solver(K, float(alpha * kernel[0, 0]))
    coef = backend.to_numpy(solve(backend.asarray(values)))
    return _gather(kernel, missing, seen) @ coef


def _gather(kernel, first, second):
    """Return the kernel of pairs of pixels."""
    rows, cols = (np.subtract.outer(first[:, k], second[:, k]) for k in (0, 1))
    return kernel[rows, cols]


def fill_by_iterations(values, observed, kernel, alpha, tol, max_iter, backend):
    """Return the same by conjugate gradients, and whether they converged."""
    inside = tuple(map(slice, observed.shape))
    unknown, start = np.ones(kernel.shape), np.zeros((values.shape[1], *kernel.shape))
    unknown[inside] = ~observed
    start[:, unknown == 0] = values.T
    unknown, start, there = map(backend.asarray, (unknown, start, kernel))
    spectrum = np.fft.rfft2(there).real
    # rounding leaves small negative numbers in place of small positive ones
    spectrum = np.maximum(spectrum, 0) + float(alpha * kernel[0, 0])
    precision = spectrum.min() / spectrum

    def apply(x):
        """Return Λ x on the missing pixels of the torus."""
        out = np.fft.irfft2(np.fft.rfft2(x) * precision, s=kernel.shape)
        out *= unknown
        return out

    x, converged = _conjugate_gradients(apply, -apply(start), tol, max_iter)
    found = backend.to_numpy(x)[(slice(None), *inside)]
    return found[:, ~observed].T, converged


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
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0)
