"""The feature metric M and the average gradient outer product that makes it.

This is the only module that knows M. Everything below it works on rows that the
metric has mapped: with M = A Aᵀ, a row x becomes t = Aᵀ x, and the kernel of the
metric's distance is the plain kernel of t.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.linalg import block_diag, eigh

# eigenvalues below this share of the largest are rounding error, not features
_NEGLIGIBLE = 1e-10
# columns of a product with the slopes: outputs are taken together until they have
# about so many, features are parted where they have more
_PRODUCT_COLUMNS = 128


@dataclass(frozen=True)
class FeatureMetric:
    """The metric M = AAᵀ, held as Aᵀ in float64.

    `components` is Aᵀ: an array (k, d), or (d,) for a diagonal A, or None for the
    identity. With `weights` it is Aᵀ of the first columns only, and the last have
    these weights each.
    """

    components: np.ndarray | None = None
    weights: np.ndarray | None = None

    def transform(self, X, backend):
        """Map rows x to Aᵀx."""
        if self.components is None:
            return X
        if self.weights is not None:
            first = X.shape[1] - len(self.weights)
            weights = backend.asarray(self.weights, dtype=X.dtype)
            mixed = FeatureMetric(self.components).transform(X[:, :first], backend)
            return backend.xp.concat([mixed, X[:, first:] * weights], axis=1)
        components = backend.asarray(self.components, dtype=X.dtype)
        if components.ndim == 1:
            return X * components
        return backend.rows(X @ components.T)

    def dense_components(self, n_features):
        """Return Aᵀ as a (k, d) array."""
        if self.components is None:
            return np.eye(n_features)
        if self.weights is not None:
            return block_diag(self.components, np.diag(self.weights))
        if self.components.ndim == 1:
            return np.diag(self.components)
        return self.components

    def pull_back(self, G):
        """Return the AGOP in x from the AGOP in t; a diagonal (k,) gives one (d,)."""
        A = self.components
        if A is None:
            return G
        if self.weights is not None:
            k = A.shape[0]
            mixed = FeatureMetric(A).pull_back(G[:k, :k])
            return block_diag(mixed, np.diag(np.diagonal(G)[k:] * self.weights**2))
        if G.ndim == 1:
            return G * A**2 if A.ndim == 1 else G @ A**2
        return A[:, None] * G * A if A.ndim == 1 else A.T @ G @ A

    @classmethod
    def from_agop(cls, G, n_components=None, *, eps=0.0, n_unmixed=0):
        """Return the metric of an AGOP in x, or None if the AGOP is zero.

        G is divided by its largest diagonal entry. `n_components` keeps that many
        leading eigenvectors, or as many as make up that share of the trace. `eps` is
        the rounding unit that G was computed with. Of the last `n_unmixed` columns
        only the diagonal is used.
        """
        # centred gradients may leave a diagonal just below zero
        G = np.maximum(G, 0) if G.ndim == 1 else G
        diagonal = G if G.ndim == 1 else np.diagonal(G)
        top = diagonal.max()
        if not (top > 0 and np.isfinite(top)):
            return None
        if G.ndim == 1 and n_components is None:
            return cls(np.sqrt(G / top))
        G = G / top if G.ndim == 2 else np.diag(G / top)
        if n_unmixed:
            first = G.shape[0] - n_unmixed
            weights = np.sqrt(np.maximum(diagonal[first:] / top, 0))
            return cls(_components(G[:first, :first], n_components, eps), weights)
        return cls(_components(G, n_components, eps))


def _components(G, n_components, eps):
    """Return Aᵀ (k, d) with G = AAᵀ, but for what is left out of it."""
    if not G.any():
        return np.zeros((0, len(G)))
    # G.T is G, in the order that LAPACK can overwrite
    values, vectors = eigh(G.T, overwrite_a=True)
    values, components = values[::-1], vectors.T[::-1]
    k = _rank(values, n_components, max(_NEGLIGIBLE, 10 * eps))
    components = np.ascontiguousarray(components[:k])
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(k), largest])
    components *= (signs * np.sqrt(values[:k]))[:, None]
    return components


def _rank(values, n_components, negligible):
    """Return how many of the eigenvalues (in falling order) the metric keeps."""
    k = max(1, int(np.count_nonzero(values > negligible * values[0])))
    if n_components is None:
        return k
    if not isinstance(n_components, Integral):
        share = np.cumsum(values[:k]) / values[:k].sum()
        return int(np.searchsorted(share, n_components * (1 - 1e-6))) + 1
    return min(k, n_components)


@dataclass(frozen=True)
class AgopOptions:
    """How gradients are averaged.

    `diagonal` keeps the diagonal only, `centered` subtracts the mean gradient, and
    `rows` are the indices of the rows in the average (None: all). Of the last
    `n_unmixed` columns only the diagonal is kept.
    """

    diagonal: bool = False
    centered: bool = False
    rows: np.ndarray | None = None
    n_unmixed: int = 0


def average_gradient_outer_product(gram, coef, weight, backend, options):
    """Return Σ_i ω_i J_iᵀJ_i / Σ_i ω_i of the predictor K @ coef, in t.

    Parameters
    ----------
    gram : Gram
        The kernel of the training rows, with its slopes.
    coef : array of shape (n, c)
        Dual coefficients.
    weight : array of shape (n,)
        Weights ω of the average.
    backend : backend
        Where the arrays live.
    options : AgopOptions
        What is averaged.

    Returns
    -------
    ndarray of shape (k, k), or (k,) for a diagonal, float64
    """
    scale = float(backend.xp.max(backend.xp.abs(coef))) or 1.0
    # products of very large or very small coefficients would leave the number range
    coef = _compress(coef / scale, backend)
    rows = options.rows
    if rows is None:
        rows = np.arange(coef.shape[0])
    else:
        weight = backend.take(weight, rows)
    sums = _GradientSums(coef.shape[1], gram.T.shape[1], options, backend)
    make = _coordinate_blocks if gram.kernel.coordinatewise else _radial_blocks
    for position, outputs, J in make(gram, coef, rows, backend):
        sums.add(J, weight[position], outputs)
    G = sums.average(float(backend.xp.sum(weight)))
    G *= scale**2
    return G


class _GradientSums:
    """Sums of gradients and of their outer products, in float64."""

    def __init__(self, n_outputs, k, options, backend):
        self._options, self._backend = options, backend
        # the columns up to here have products with each other
        self._n_mixed = 0 if options.diagonal else k - options.n_unmixed
        self._products = np.zeros((self._n_mixed, self._n_mixed))
        self._squares = np.zeros(k - self._n_mixed)
        self._gradients = np.zeros((n_outputs, k))

    def add(self, J, weight, outputs):
        """Add the gradients J (b, c, k) of some outputs, which are overwritten."""
        xp, to_numpy = self._backend.xp, self._backend.to_numpy
        root = xp.sqrt(weight)[:, None, None]
        J *= root
        mixed, unmixed = J[:, :, : self._n_mixed], J[:, :, self._n_mixed :]
        if len(self._squares):
            self._squares += to_numpy(xp.sum(unmixed * unmixed, axis=(0, 1)))
        if self._n_mixed:
            flat = xp.reshape(mixed, (-1, self._n_mixed))
            self._products += to_numpy(flat.T @ flat)
        if self._options.centered:
            self._gradients[outputs] += to_numpy(xp.sum(root * J, axis=0))

    def average(self, total):
        """Return the average outer product for a total weight; overwrites the sums."""
        products, squares = self._products, self._squares
        products /= total
        squares /= total
        if self._options.centered:
            mean = self._gradients / total
            mixed, unmixed = mean[:, : self._n_mixed], mean[:, self._n_mixed :]
            products -= mixed.T @ mixed
            squares -= (unmixed**2).sum(0)
        if self._options.diagonal:
            return squares
        return block_diag(products, np.diag(squares)) if len(squares) else products


def _compress(coef, backend):
    """Return coefficients with the same coef @ coef.T and as few columns as it takes.

    The AGOP depends on them only through that product: of c centred one-hot columns,
    c − 1 are left.
    """
    c = coef.shape[1]
    if c == 1:
        return coef
    host = backend.to_numpy(coef).astype(np.float64)
    values, vectors = eigh(host.T @ host)
    # what is left out is below the rounding error of the coefficients, squared
    rounding = float(backend.xp.finfo(coef.dtype).eps)
    cut = max((100 * rounding) ** 2, 100 * c * np.finfo(np.float64).eps)
    kept = max(1, int(np.count_nonzero(values > cut * values[-1])))
    if kept == c:
        return coef
    return backend.asarray(host @ vectors[:, c - kept :], dtype=coef.dtype)


def _radial_blocks(gram, coef, rows, backend):
    """Yield (rows, outputs, J), J the gradients U_i t_i − Σ_j W_ij α_j t_j.

    Here U = Wα, or Dα for a kernel of inner products. A block holds all the rows and
    some of the outputs.
    """
    every = len(rows) == gram.T.shape[0]
    at = gram.T if every else backend.take(gram.T, rows)
    step = max(1, _PRODUCT_COLUMNS // at.shape[1])

    def slope_product(V):
        return gram.slope_product(V) if every else gram.slope_rows_product(rows, V)

    for start in range(0, coef.shape[1], step):
        outputs = slice(start, min(start + step, coef.shape[1]))
        alpha, U = coef[:, outputs], None
        if gram.kernel.of_inner_products:
            U = gram.radial_product(rows, alpha)
        J = _gradients(alpha, gram.T, at, slope_product, U, backend, gram.n_dense)
        if gram.n_dense < gram.T.shape[1]:
            J[:, :, gram.n_dense :] = gram.level_gradients(rows, alpha)
        yield slice(None), outputs, J


def _gradients(alpha, T, at, slope_product, U, backend, n_dense):
    """Return the gradients (m, c, k) of c outputs at the rows `at`; U None is Wα.

    Columns from `n_dense` on are left open.
    """
    xp = backend.xp
    (n, k), (m, c) = T.shape, (at.shape[0], alpha.shape[1])
    J = xp.empty((m, c, k), dtype=T.dtype, device=backend.device)
    width = max(1, _PRODUCT_COLUMNS // c)
    for start in range(0, n_dense, width):
        features = slice(start, min(start + width, n_dense))
        V = xp.reshape(alpha[:, :, None] * T[:, None, features], (n, -1))
        if U is None:  # Wα comes with the first product
            V = xp.concat([alpha, V], axis=1)
        P = slope_product(V)
        if U is None:
            U, P = P[:, :c], P[:, c:]
        J[:, :, features] = U[:, :, None] * at[:, None, features]
        J[:, :, features] -= xp.reshape(P, (m, c, -1))
    return J


def _coordinate_blocks(gram, coef, rows, backend):
    """Yield (rows, outputs, J): all outputs of a block of rows."""
    for position, J in gram.coordinate_gradients(rows, coef):
        yield position, slice(None), J
