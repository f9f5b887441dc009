"""Kernels of pairs of rows with their gradients, by the formulas of scikit-learn.

The gradient of a kernel with respect to its first row x is a sum of slopes W, each
times one of a few vectors of the pair (x, z): their difference, z, x, or the signs of
the differences. Sums and products of kernels combine such sums.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gamma as gamma_function
from scipy.special import kv
from sklearn.gaussian_process import kernels

from ..._backend import Array, FloatArray


@dataclass(frozen=True)
class Slope:
    """Slopes W of pairs of rows, and the vectors that they multiply.

    Attributes
    ----------
    kind : {"difference", "other", "own", "sign"}
        x − z, z, x, or the signs of x − z.
    W : ndarray of shape (b, n)
    scale : float or ndarray of shape (d,)
        Factors of the vectors.
    """

    kind: str
    W: FloatArray
    scale: Any = 1.0

    def gradients(self, X, Z, coef):
        """Return Σ_j W_ij coef_jo v_ij, of shape (b, c, d)."""
        W = self.W
        if self.kind == "own":
            return (W @ coef)[:, :, None] * (X * self.scale)[:, None, :]
        if self.kind == "sign":
            signs = (np.sign(x[:, None] - z) for x, z in zip(X.T, Z.T, strict=True))
            return np.stack([(W * sign) @ coef for sign in signs], axis=2) * self.scale
        (n, d), c = Z.shape, coef.shape[1]
        weighted = (coef[:, :, None] * (Z * self.scale)[:, None, :]).reshape(n, c * d)
        found = (W @ weighted).reshape(len(X), c, d)
        if self.kind == "other":
            return found
        return (W @ coef)[:, :, None] * (X * self.scale)[:, None, :] - found


@dataclass(frozen=True)
class Pairs:
    """Kernel values of pairs of rows, with the slopes of their gradients.

    Attributes
    ----------
    value : ndarray of shape (b, n)
    slopes : tuple of Slope
    """

    value: FloatArray
    slopes: tuple[Slope, ...] = ()

    def gradients(self, X, Z, coef):
        """Return the gradients (b, c, d) of value @ coef."""
        total = np.zeros((len(X), coef.shape[1], X.shape[1]))
        for slope in self.slopes:
            total += slope.gradients(X, Z, coef)
        return total

    def times(self, factor):
        """Return the slopes times a matrix (b, n) of factors."""
        return tuple(Slope(s.kind, factor * s.W, s.scale) for s in self.slopes)

    def __add__(self, other):
        return Pairs(self.value + other.value, self.slopes + other.slopes)

    def __mul__(self, other):
        slopes = self.times(other.value) + other.times(self.value)
        return Pairs(self.value * other.value, slopes)


#: rows (b, d) and (n, d) to the Pairs of them
PairKernel = Callable[[FloatArray, FloatArray], Pairs]


# -- the kernels of sklearn.metrics.pairwise ------------------------------------------


def _gaussian(X, Z, *, gamma, degree, coef0):
    k = np.exp(-gamma * cdist(X, Z, "sqeuclidean"))
    return Pairs(k, (Slope("difference", -2 * gamma * k),))


def _laplacian(X, Z, *, gamma, degree, coef0):
    k = np.exp(-gamma * cdist(X, Z, "cityblock"))
    return Pairs(k, (Slope("sign", -gamma * k),))


def _linear(X, Z, *, gamma, degree, coef0):
    k = X @ Z.T
    return Pairs(k, (Slope("other", np.ones_like(k)),))


def _polynomial(X, Z, *, gamma, degree, coef0):
    base = gamma * (X @ Z.T) + coef0
    slope = gamma * degree * base ** (degree - 1)
    return Pairs(base**degree, (Slope("other", slope),))


def _sigmoid(X, Z, *, gamma, degree, coef0):
    k = np.tanh(gamma * (X @ Z.T) + coef0)
    return Pairs(k, (Slope("other", gamma * (1 - k**2)),))


def _cosine(X, Z, *, gamma, degree, coef0):
    x, z = (np.linalg.norm(rows, axis=1) for rows in (X, Z))
    x, z = (np.where(norm > 0, norm, 1.0) for norm in (x, z))
    k = (X @ Z.T) / (x[:, None] * z)
    others = Slope("other", np.broadcast_to(1 / (x[:, None] * z), k.shape))
    return Pairs(k, (others, Slope("own", -k / x[:, None] ** 2)))


_PAIRWISE = {
    "rbf": _gaussian,
    "laplacian": _laplacian,
    "linear": _linear,
    "poly": _polynomial,
    "polynomial": _polynomial,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
}


def pairwise_kernel(name, *, gamma, degree=3, coef0=1.0) -> PairKernel | None:
    """Return a kernel by its name in `sklearn.metrics.pairwise`, or None."""
    function = _PAIRWISE.get(name) if isinstance(name, str) else None
    if function is None:
        return None
    return partial(function, gamma=gamma, degree=degree, coef0=coef0)


# -- the kernels of sklearn.gaussian_process ------------------------------------------


def _distances(kernel, X, Z):
    """Return the distances of rows divided by the length scale of a kernel."""
    scale = np.asarray(kernel.length_scale)
    return cdist(X / scale, Z / scale), Slope("difference", np.empty(0), scale**-2.0)


def _radial(k, slope, W):
    return Pairs(k, (Slope("difference", W, slope.scale),))


def _rbf(kernel, X, Z):
    r, slope = _distances(kernel, X, Z)
    k = np.exp(-(r**2) / 2)
    return _radial(k, slope, -k)


def _matern(kernel, X, Z):
    nu = kernel.nu
    if nu == np.inf:
        return _rbf(kernel, X, Z)
    r, slope = _distances(kernel, X, Z)
    positive = r > 0
    t = np.sqrt(2 * nu) * np.where(positive, r, 1.0)
    if nu == 0.5:
        k = np.exp(-r)
        return _radial(k, slope, np.where(positive, -k / np.where(positive, r, 1), 0.0))
    if nu == 1.5:
        decay = np.exp(-np.sqrt(3) * r)
        return _radial((1 + np.sqrt(3) * r) * decay, slope, -3 * decay)
    if nu == 2.5:
        s = np.sqrt(5) * r
        k = (1 + s + s**2 / 3) * np.exp(-s)
        return _radial(k, slope, -5 / 3 * (1 + s) * np.exp(-s))
    # d/dt of t^ν K_ν(t) is −t^ν K_(ν−1)(t)
    front = 2 ** (1 - nu) / gamma_function(nu) * t**nu
    k = np.where(positive, front * kv(nu, t), 1.0)
    W = np.where(positive, -2 * nu * front * kv(nu - 1, t) / t, 0.0)
    return _radial(k, slope, W)


def _rational_quadratic(kernel, X, Z):
    r, slope = _distances(kernel, X, Z)
    base = 1 + r**2 / (2 * kernel.alpha)
    return _radial(base**-kernel.alpha, slope, -(base ** (-kernel.alpha - 1)))


def _exp_sine_squared(kernel, X, Z):
    r, turn = cdist(X, Z), np.pi / kernel.periodicity
    k = np.exp(-2 * (np.sin(turn * r) / kernel.length_scale) ** 2)
    # sin(a r) cos(a r) / r is a at r = 0
    share = turn * np.sinc(2 * r / kernel.periodicity)
    return Pairs(
        k, (Slope("difference", -4 * turn / kernel.length_scale**2 * share * k),)
    )


def _dot_product(kernel, X, Z):
    inner = X @ Z.T
    return Pairs(inner + kernel.sigma_0**2, (Slope("other", np.ones_like(inner)),))


def _constant(kernel, X, Z):
    return Pairs(np.full((len(X), len(Z)), float(kernel.constant_value)))


def _white(kernel, X, Z):
    return Pairs(np.zeros((len(X), len(Z))))


def _sum(kernel, X, Z):
    return evaluate(kernel.k1, X, Z) + evaluate(kernel.k2, X, Z)


def _product(kernel, X, Z):
    return evaluate(kernel.k1, X, Z) * evaluate(kernel.k2, X, Z)


def _power(kernel, X, Z):
    base, p = evaluate(kernel.kernel, X, Z), kernel.exponent
    return Pairs(base.value**p, base.times(p * base.value ** (p - 1)))


def _pairwise(kernel, X, Z):
    options = {"gamma": kernel.gamma, **(kernel.pairwise_kernels_kwargs or {})}
    found: Any = pairwise_kernel(kernel.metric, **options)
    return found(X, Z)


_OF_PROCESSES: dict[type, Callable[[Any, Array, Array], Pairs]] = {
    kernels.RBF: _rbf,
    kernels.Matern: _matern,
    kernels.RationalQuadratic: _rational_quadratic,
    kernels.ExpSineSquared: _exp_sine_squared,
    kernels.DotProduct: _dot_product,
    kernels.ConstantKernel: _constant,
    kernels.WhiteKernel: _white,
    kernels.Sum: _sum,
    kernels.Product: _product,
    kernels.Exponentiation: _power,
    kernels.PairwiseKernel: _pairwise,
}


def evaluate(kernel, X, Z):
    """Return the Pairs of a kernel of a Gaussian process, which must be known."""
    return _OF_PROCESSES[type(kernel)](kernel, X, Z)


def process_kernel(kernel) -> PairKernel | None:
    """Return a kernel of a Gaussian process, or None if a part of it is not known."""
    return partial(evaluate, kernel) if _is_known(kernel) else None


def _is_known(kernel):
    """Whether the gradients of a kernel and of all its parts are known."""
    if isinstance(kernel, kernels.PairwiseKernel):
        return kernel.metric in _PAIRWISE
    parts = [getattr(kernel, name, None) for name in ("k1", "k2", "kernel")]
    return type(kernel) in _OF_PROCESSES and all(
        _is_known(part) for part in parts if part is not None
    )
