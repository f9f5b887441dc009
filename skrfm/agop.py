"""The feature metric M and the average gradient outer product that makes it.

This is the only module that knows M. All modules below work with rows that the metric
has mapped: with M = A Aᵀ, a row x becomes t = Aᵀ x, and the kernel of the metric's
distance is the plain kernel of t.
"""

from dataclasses import dataclass
from functools import partial
from numbers import Integral

import numpy as np
from scipy.linalg import block_diag, eigh

from ._backend import Array, Backend, FloatArray, Gram, IntArray

# Eigenvalues below this share of the largest are rounding error, not features.
_NEGLIGIBLE = 1e-10
# Columns of one product with the slopes, which bound its memory: outputs are taken
# together up to about so many columns, and features are split where they have more.
_PRODUCT_COLUMNS = 128


@dataclass(frozen=True, kw_only=True)
class FeatureMetric:
    """The metric M = AAᵀ, held as Aᵀ in float64.

    Attributes
    ----------
    components : ndarray of shape (k, d) or (d,), or None
        Aᵀ; the diagonal of a diagonal A; or None for the identity.
    weights : ndarray of shape (l,) or None
        The diagonal of A for the last l columns, which are not mixed with the others;
        `components` is Aᵀ of the first columns then.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.agop import FeatureMetric
    >>> metric = FeatureMetric.from_agop(np.diag([4.0, 1.0, 0.0]))
    >>> metric.components
    array([[1. , 0. , 0. ],
           [0. , 0.5, 0. ]])
    """

    components: FloatArray | None = None
    weights: FloatArray | None = None

    def transform(self, X: Array, backend: Backend) -> Array:
        """Map rows x to Aᵀx.

        Parameters
        ----------
        X : array of shape (n, d)
        backend : Backend

        Returns
        -------
        array of shape (n, k)
        """
        if self.components is None:
            return X
        if self.weights is not None:
            first = X.shape[1] - len(self.weights)
            weights = backend.asarray(self.weights, dtype=X.dtype)
            mixing = FeatureMetric(components=self.components)
            mixed = mixing.transform(X[:, :first], backend)
            return backend.xp.concat([mixed, X[:, first:] * weights], axis=1)
        components = backend.asarray(self.components, dtype=X.dtype)
        if components.ndim == 1:
            return X * components
        return backend.rows(X @ components.T)

    def dense_components(self, n_features: int) -> FloatArray:
        """Return Aᵀ of d = `n_features` columns as an array of shape (k, d)."""
        if self.components is None:
            return np.eye(n_features)
        if self.weights is not None:
            return block_diag(self.components, np.diag(self.weights))
        if self.components.ndim == 1:
            return np.diag(self.components)
        return self.components

    def pull_back(self, G: FloatArray) -> FloatArray:
        """Return the AGOP of the rows x, given the AGOP of the mapped rows t.

        Parameters
        ----------
        G : ndarray of shape (k, k) or (k,)
            The AGOP of the mapped rows, or its diagonal.

        Returns
        -------
        ndarray of shape (d, d), or (d,) for a diagonal
        """
        A = self.components
        if A is None:
            return G
        if self.weights is not None:
            k = A.shape[0]
            mixed = FeatureMetric(components=A).pull_back(G[:k, :k])
            return block_diag(mixed, np.diag(np.diagonal(G)[k:] * self.weights**2))
        if G.ndim == 1:
            return G * A**2 if A.ndim == 1 else G @ A**2
        return A[:, None] * G * A if A.ndim == 1 else A.T @ G @ A

    @classmethod
    def from_agop(
        cls,
        G: FloatArray,
        n_components: int | float | None = None,
        *,
        eps: float = 0.0,
        n_unmixed: int = 0,
    ) -> "FeatureMetric | None":
        """Return the metric of an AGOP, or None if the AGOP is zero or not finite.

        Parameters
        ----------
        G : ndarray of shape (d, d) or (d,)
            The AGOP of the rows x, or its diagonal. M is G divided by its largest
            diagonal entry.
        n_components : int or float, default=None
            How many leading eigenvectors to keep, or the share of the trace that they
            make up. None keeps all.
        eps : float, default=0.0
            The rounding unit of the precision that G was computed in.
        n_unmixed : int, default=0
            Of how many columns at the end only the diagonal is used.

        Returns
        -------
        FeatureMetric or None
        """
        # centred gradients may leave a diagonal entry just below zero
        G = np.maximum(G, 0) if G.ndim == 1 else G
        diagonal = G if G.ndim == 1 else np.diagonal(G)
        largest = diagonal.max()
        if not (largest > 0 and np.isfinite(largest)):
            return None
        if G.ndim == 1 and n_components is None:
            return cls(components=np.sqrt(G / largest))
        G = G / largest if G.ndim == 2 else np.diag(G / largest)
        if n_unmixed == 0:
            return cls(components=_components(G, n_components, eps))
        first = G.shape[0] - n_unmixed
        return cls(
            components=_components(G[:first, :first], n_components, eps),
            weights=np.sqrt(np.maximum(diagonal[first:] / largest, 0)),
        )


def _components(G, n_components, eps):
    """Return Aᵀ of shape (k, d), with AAᵀ = G up to the eigenvalues left out."""
    if not G.any():
        return np.zeros((0, len(G)))
    # G.T equals G, and its memory has the order that LAPACK can overwrite
    values, vectors = eigh(G.T, overwrite_a=True)
    values, components = values[::-1], vectors.T[::-1]
    k = _rank(values, n_components, max(_NEGLIGIBLE, 10 * eps))
    components = np.ascontiguousarray(components[:k])
    largest = np.abs(components).argmax(axis=1)
    # the sign of an eigenvector is arbitrary: its largest entry is made positive
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
    return min(k, int(n_components))


@dataclass(frozen=True, kw_only=True)
class AgopOptions:
    """Options of the average gradient outer product.

    Attributes
    ----------
    diagonal : bool
        Whether to keep the diagonal only.
    centered : bool
        Whether to subtract the mean gradient first.
    rows : ndarray of int or None
        Indices of the rows in the average; None takes all.
    n_unmixed : int
        Of how many columns at the end only the diagonal is kept; their products with
        other columns are zero in the result.
    """

    diagonal: bool = False
    centered: bool = False
    rows: IntArray | None = None
    n_unmixed: int = 0


def average_gradient_outer_product(
    gram: Gram,
    coef: Array,
    weight: Array,
    *,
    backend: Backend,
    options: AgopOptions,
) -> FloatArray:
    """Return the average gradient outer product of the predictor K @ coef.

    With the gradients J_i (c, k) of its c outputs at the mapped row t_i and weights ω_i
    it is Σ_i ω_i J_iᵀJ_i / Σ_i ω_i.

    Parameters
    ----------
    gram : Gram
        The kernel of the mapped training rows, with its slopes.
    coef : array of shape (n, c)
        Dual coefficients.
    weight : array of shape (n,)
        Weights ω of the average.
    backend : Backend
        The backend of the arrays.
    options : AgopOptions

    Returns
    -------
    ndarray of shape (k, k), or (k,) for a diagonal, float64
    """
    scale = float(backend.xp.max(backend.xp.abs(coef))) or 1.0
    # products of very large or very small coefficients would overflow or underflow
    coef = _compress(coef / scale, backend)
    rows = options.rows
    if rows is None:
        rows = np.arange(coef.shape[0])
    else:
        weight = backend.take(weight, rows)
    sums = _GradientSums(coef.shape[1], gram.T.shape[1], options, backend)
    blocks = _coordinate_blocks if gram.kernel.coordinatewise else _radial_blocks
    for positions, outputs, J in blocks(gram, coef, rows, backend):
        sums.add(J, weight[positions], outputs)
    G = sums.average(float(backend.xp.sum(weight)))
    G *= scale**2
    return G


class _GradientSums:
    """Sums of gradients and of their outer products, in float64.

    Parameters
    ----------
    n_outputs : int
    k : int
        Number of columns of the mapped rows.
    options : AgopOptions
    backend : Backend
    """

    def __init__(self, n_outputs, k, options, backend):
        self._options, self._backend = options, backend
        # columns from here on have squares only, no products with other columns
        self._n_mixed = 0 if options.diagonal else k - options.n_unmixed
        self._products = np.zeros((self._n_mixed, self._n_mixed))
        self._squares = np.zeros(k - self._n_mixed)
        self._gradients = np.zeros((n_outputs, k))

    def add(self, J, weight, outputs):
        """Add weighted gradients, which are overwritten.

        Parameters
        ----------
        J : array of shape (b, o, k)
            Gradients of o outputs at b rows.
        weight : array of shape (b,)
        outputs : slice
            Which outputs they are of.
        """
        xp, to_numpy = self._backend.xp, self._backend.to_numpy
        root = xp.sqrt(weight)[:, None, None]
        J *= root
        mixed, unmixed = J[:, :, : self._n_mixed], J[:, :, self._n_mixed :]
        if len(self._squares) > 0:
            self._squares += to_numpy(xp.sum(unmixed * unmixed, axis=(0, 1)))
        if self._n_mixed > 0:
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
        if len(squares) == 0:
            return products
        return block_diag(products, np.diag(squares))


def _compress(coef, backend):
    """Return coefficients with the same coef @ coef.T and as few columns as possible.

    The AGOP depends on them only through that product. Centred one-hot columns of c
    classes become c − 1 columns.
    """
    c = coef.shape[1]
    if c == 1:
        return coef
    host = backend.to_numpy(coef).astype(np.float64)
    values, vectors = eigh(host.T @ host)
    # eigenvalues are squares: those left out are below the squared rounding error
    rounding = float(backend.xp.finfo(coef.dtype).eps)
    cut = max((100 * rounding) ** 2, 100 * c * np.finfo(np.float64).eps)
    kept = max(1, int(np.count_nonzero(values > cut * values[-1])))
    if kept == c:
        return coef
    return backend.asarray(host @ vectors[:, c - kept :], dtype=coef.dtype)


def _radial_blocks(gram, coef, rows, backend):
    """Yield gradients of kernels of the Euclidean distance or of inner products.

    They are J_i = U_i t_i − Σ_j W_ij α_j t_j, with U = Wα for a distance and U = Dα for
    inner products. A block has all rows and some of the outputs.

    Yields
    ------
    positions : slice
        Positions in `rows`.
    outputs : slice
    J : array of shape (b, o, k)
    """
    all_rows = len(rows) == gram.T.shape[0]
    T_rows = gram.T if all_rows else backend.take(gram.T, rows)
    slope_product = gram.slope_product
    if not all_rows:
        slope_product = partial(gram.slope_rows_product, rows)
    step = max(1, _PRODUCT_COLUMNS // T_rows.shape[1])
    for start in range(0, coef.shape[1], step):
        outputs = slice(start, min(start + step, coef.shape[1]))
        alpha, U = coef[:, outputs], None
        if gram.kernel.of_inner_products:
            U = gram.radial_product(rows, alpha)
        J = _gradients(gram, alpha, T_rows, U, backend, slope_product=slope_product)
        if gram.n_dense < gram.T.shape[1]:
            J[:, :, gram.n_dense :] = gram.level_gradients(rows, alpha)
        yield slice(None), outputs, J


def _gradients(gram, alpha, T_rows, U, backend, *, slope_product):
    """Return the gradients of some outputs at some rows.

    Columns of levels that are looked up stay uninitialised.

    Parameters
    ----------
    gram : Gram
    alpha : array of shape (n, o)
        Coefficients of the outputs.
    T_rows : array of shape (m, k)
        The rows.
    U : array of shape (m, o) or None
        Factors of the rows themselves; None computes Wα.
    backend : Backend
    slope_product : callable
        Maps V of shape (n, v) to W[rows] @ V.

    Returns
    -------
    array of shape (m, o, k)
    """
    xp, T = backend.xp, gram.T
    (n, k), (m, c) = T.shape, (T_rows.shape[0], alpha.shape[1])
    J = xp.empty((m, c, k), dtype=T.dtype, device=backend.device)
    width = max(1, _PRODUCT_COLUMNS // c)
    for start in range(0, gram.n_dense, width):
        features = slice(start, min(start + width, gram.n_dense))
        V = xp.reshape(alpha[:, :, None] * T[:, None, features], (n, -1))
        if U is None:  # the first product gives Wα as well
            product = slope_product(xp.concat([alpha, V], axis=1))
            U, product = product[:, :c], product[:, c:]
        else:
            product = slope_product(V)
        J[:, :, features] = U[:, :, None] * T_rows[:, None, features]
        J[:, :, features] -= xp.reshape(product, (m, c, -1))
    return J


def _coordinate_blocks(gram, coef, rows, backend):
    """Yield the same for coordinatewise kernels; a block has some rows, all outputs."""
    for positions, J in gram.coordinate_gradients(rows, coef):
        yield positions, slice(None), J
