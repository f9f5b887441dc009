"""The feature metric M and the average gradient outer product that makes it.

This is the only module that knows M. All modules below work with rows that the metric
has mapped: with M = A Aᵀ, a row x becomes t = Aᵀ x, and the kernel of the metric's
distance is the plain kernel of t.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral

import numpy as np
from scipy.linalg import block_diag, eigh

from ._backend import Array, Backend, FloatArray, Gram, IntArray, agop_factor

# Eigenvalues below this share of the largest are rounding error, not features.
_NEGLIGIBLE = 1e-10
# A diagonal metric has no smaller entries but zeros. They do not change any distance,
# and denormal products with them took matrices of 300 columns ten times as long.
_LEAST_SQUARE = 1e-32
# Columns of one product with the slopes, which bound its memory: outputs are taken
# together up to about so many columns, and features are split where they have more. Of
# few rows there may be more columns, up to so many numbers: calls cost more than sums.
_PRODUCT_COLUMNS, _PRODUCT_SIZE = 128, 2**18


@dataclass(frozen=True, kw_only=True)
class Agop:
    """An average gradient outer product G: dense, by a factor, or its diagonal.

    Of the last l columns only the diagonal is kept; a diagonal AGOP has no others.

    Attributes
    ----------
    products : ndarray of shape (m, m) or None
        G of the first m = d − l columns.
    factor : ndarray of shape (r, m) or None
        F, where G of the first m columns is FᵀF: the weighted gradients of few rows.
    squares : ndarray of shape (l,)
        The diagonal of G of the last l columns.
    """

    products: FloatArray | None = None
    factor: FloatArray | None = None
    squares: FloatArray = field(default_factory=lambda: np.zeros(0))

    def diagonal(self) -> FloatArray:
        """Return the diagonal of G, of shape (d,)."""
        mixed = np.zeros(0)
        if self.factor is not None:
            mixed = (self.factor**2).sum(axis=0)
        elif self.products is not None:
            mixed = np.diagonal(self.products)
        return np.concatenate([mixed, self.squares])


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
    >>> from skrfm.agop import Agop, FeatureMetric
    >>> agop = Agop(products=np.diag([4.0, 1.0, 0.0]))
    >>> FeatureMetric.from_agop(agop).components
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
            mixed = replace(self, weights=None).transform(X[:, :first], backend)
            return backend.xp.concat([mixed, X[:, first:] * weights], axis=1)
        components = backend.asarray(self.components, dtype=X.dtype)
        if components.ndim == 1:
            return X * components
        return backend.map_rows(X, components.T)

    def to_array(self) -> FloatArray:
        """Return Aᵀ of shape (k, d), or the diagonal (d,) of a diagonal A."""
        components: Array = self.components
        if self.weights is not None:
            components = block_diag(components, np.diag(self.weights))
        return components

    def diagonal(self) -> FloatArray:
        """Return the diagonal of M, of shape (d,)."""
        components: Array = self.components
        squares, weights = components**2, self.weights
        squares = squares if squares.ndim == 1 else squares.sum(axis=0)
        return squares if weights is None else np.concatenate([squares, weights**2])

    def map_arrays(self, function: Callable[[Array], Array]) -> "FeatureMetric":
        """Return the metric with a function applied to its arrays."""
        parts = {"components": self.components, "weights": self.weights}
        given = {name: function(a) for name, a in parts.items() if a is not None}
        return replace(self, **given)

    def pull_back(self, agop: Agop) -> Agop:
        """Return the AGOP of the rows x, given the AGOP of the mapped rows t."""
        A, squares = self.components, agop.squares
        if A is None:
            return agop
        if self.weights is not None:
            squares = squares * self.weights**2
        if A.ndim == 1:
            first = len(A) - len(squares)
            A, squares = A[:first], squares * A[first:] ** 2
        products, factor = agop.products, agop.factor
        if products is not None and A.ndim == 2 and A.shape[0] < A.shape[1]:
            values, vectors = eigh(products)
            factor = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        if factor is not None:
            factor = factor * A if A.ndim == 1 else factor @ A
            return Agop(factor=factor, squares=squares)
        if products is not None:
            products = A[:, None] * products * A if A.ndim == 1 else A.T @ products @ A
        return Agop(products=products, squares=squares)

    @classmethod
    def from_agop(
        cls,
        agop: Agop,
        n_components: int | float | None = None,
        *,
        eps: float = 0.0,
    ) -> "FeatureMetric | None":
        """Return the metric of an AGOP, or None if the AGOP is zero or not finite.

        Parameters
        ----------
        agop : Agop
            The AGOP of the rows x. M is the AGOP divided by its largest diagonal entry.
        n_components : int or float, default=None
            How many leading eigenvectors to keep, or the share of the trace that they
            make up. None keeps all. Columns that a diagonal metric leaves out have
            zeros.
        eps : float, default=0.0
            The rounding unit of the precision that the AGOP was computed in.

        Returns
        -------
        FeatureMetric or None
        """
        largest = agop.diagonal().max()
        if not (largest > 0 and np.isfinite(largest)):
            return None
        # also those just below zero, which centred gradients may leave
        squares = agop.squares / largest
        squares[squares < _LEAST_SQUARE] = 0
        negligible = max(_NEGLIGIBLE, 10 * eps)
        if agop.products is None and agop.factor is None:
            if n_components is not None:
                order = np.argsort(-squares, kind="stable")
                squares[order[_rank(squares[order], n_components, negligible) :]] = 0
            return cls(components=np.sqrt(squares))
        components = _components(agop, largest, n_components, negligible)
        weights = np.sqrt(squares) if len(squares) > 0 else None
        return cls(components=components, weights=weights)


def _components(agop, unit, n_components, negligible):
    """Return Aᵀ of shape (k, m), with AAᵀ = G / unit but for small eigenvalues.

    G are the first m columns of an AGOP. The eigenvectors of FFᵀ give those of FᵀF.
    """
    factor = agop.factor
    S = agop.products if factor is None else factor @ factor.T
    if not S.any():
        return np.zeros((0, S.shape[0] if factor is None else factor.shape[1]))
    # S.T equals S, and its memory has the order that LAPACK can overwrite
    values, vectors = eigh((S / unit).T, overwrite_a=True)
    values, vectors = values[::-1], vectors.T[::-1]
    k = _rank(values, n_components, negligible)
    if factor is None:
        components = np.sqrt(values[:k])[:, None] * vectors[:k]
    else:
        components = vectors[:k] @ (factor / np.sqrt(unit))
    largest = np.abs(components).argmax(axis=1)
    # the sign of an eigenvector is arbitrary: its largest entry is made positive
    components *= np.sign(components[np.arange(k), largest])[:, None]
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
        Of how many columns at the end only the diagonal is kept.
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
) -> Agop:
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
    Agop
        In float64, by a factor where there are fewer gradients than columns.
    """
    scale = float(backend.xp.max(backend.xp.abs(coef))) or 1.0
    # products of very large or very small coefficients would overflow or underflow
    coef = compress_outputs(coef / scale, backend)
    rows = options.rows
    if rows is None:
        rows = np.arange(coef.shape[0])
    else:
        weight = backend.take(weight, rows)
    if _in_span_of_rows(gram, len(rows), coef.shape[1]):
        factor = scale * agop_factor(
            gram, coef, rows, weight, centered=options.centered, backend=backend
        )
        if options.diagonal:
            return Agop(squares=(factor**2).sum(axis=0))
        return Agop(factor=factor)
    sums = _GradientSums(len(rows), coef.shape[1], gram, options, backend)
    if gram.kernel.coordinatewise:
        all_outputs, found = slice(None), gram.coordinate_gradients(rows, coef)
        blocks = ((positions, all_outputs, J) for positions, J in found)
    else:
        blocks = _radial_blocks(gram, coef, rows, backend)
    for positions, outputs, J in blocks:
        sums.add(J, weight[positions], positions=positions, outputs=outputs)
    return sums.average(weight, scale)


class _GradientSums:
    """Sums of gradients and of their outer products, in float64.

    Where there are fewer gradients than columns, the gradients themselves are kept.

    Parameters
    ----------
    n_rows, n_outputs : int
    gram : Gram
    options : AgopOptions
    backend : Backend
    """

    def __init__(self, n_rows, n_outputs, gram, options, backend):
        self._options, self._backend, k = options, backend, gram.T.shape[1]
        # columns from here on have squares only, no products with other columns
        m = self._n_mixed = 0 if options.diagonal else k - options.n_unmixed
        self._products = self._factor = None
        if n_rows * n_outputs < m:
            self._factor = np.zeros((n_rows, n_outputs, m))
        elif not options.diagonal:
            self._products = np.zeros((m, m))
        self._squares = np.zeros(k - m)
        self._gradients = np.zeros((n_outputs, k))

    def add(self, J, weight, *, positions, outputs):
        """Add weighted gradients, which are overwritten.

        Parameters
        ----------
        J : array of shape (b, o, k)
            Gradients of o outputs at b rows.
        weight : array of shape (b,)
        positions : slice
            Which rows they are of.
        outputs : slice
            Which outputs they are of.
        """
        xp, to_numpy = self._backend.xp, self._backend.to_numpy
        root = xp.sqrt(weight)[:, None, None]
        J *= root
        mixed, unmixed = J[:, :, : self._n_mixed], J[:, :, self._n_mixed :]
        if len(self._squares) > 0:
            self._squares += to_numpy(xp.sum(unmixed * unmixed, axis=(0, 1)))
        if self._factor is not None:
            self._factor[positions, outputs] = to_numpy(mixed)
        elif self._n_mixed > 0:
            flat = xp.reshape(mixed, (-1, self._n_mixed))
            self._products += to_numpy(flat.T @ flat)
        if self._options.centered:
            self._gradients[outputs] += to_numpy(xp.sum(root * J, axis=0))

    def average(self, weight, scale):
        """Return the Agop of gradients times `scale`; overwrites the sums."""
        weight = self._backend.to_numpy(weight).astype(np.float64)
        total, m = weight.sum(), self._n_mixed
        mean = self._gradients / total  # zeros, unless they are centred
        squares = self._squares / total - (mean[:, m:] ** 2).sum(axis=0)
        squares *= scale**2
        if self._factor is not None:
            factor = self._factor
            if self._options.centered:
                factor -= np.sqrt(weight)[:, None, None] * mean[:, :m]
            factor *= scale / np.sqrt(total)
            return Agop(factor=factor.reshape(-1, m), squares=squares)
        products = self._products
        if products is not None:
            products /= total
            products -= mean[:, :m].T @ mean[:, :m]
            products *= scale**2
        return Agop(products=products, squares=squares)


def compress_outputs(coef, backend):
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


def _in_span_of_rows(gram, n_rows, n_outputs):
    """Whether an AGOP is a matrix of n by n rows, smaller than its gradients."""
    n, k = gram.T.shape
    of_sums = not gram.kernel.coordinatewise and gram.n_dense == k
    return of_sums and n < k and n_rows * n_outputs > n


def _radial_blocks(gram, coef, rows, backend):
    """Yield gradients of kernels of the Euclidean distance or of inner products.

    They are J_i = U_i t_i − Σ_j W_ij α_j t_j, with U = Wα for a distance and U = Dα for
    inner products. A block (positions in `rows`, outputs, J of shape (b, o, k)) has all
    rows and some of the outputs.
    """
    all_rows = len(rows) == gram.T.shape[0]
    T_rows = gram.T if all_rows else backend.take(gram.T, rows)
    slope_product = gram.slope_product
    if not all_rows:
        slope_product = partial(gram.slope_rows_product, rows)
    columns = max(_PRODUCT_COLUMNS, _PRODUCT_SIZE // gram.T.shape[0])
    step = max(1, columns // T_rows.shape[1])
    for start in range(0, coef.shape[1], step):
        outputs = slice(start, min(start + step, coef.shape[1]))
        alpha, U = coef[:, outputs], None
        if gram.kernel.of_inner_products:
            U = gram.radial_product(rows, alpha)
        width = max(1, columns // alpha.shape[1])
        J = _gradients(gram, alpha, T_rows, U, backend, slope_product, width=width)
        if gram.n_dense < gram.T.shape[1]:
            J[:, :, gram.n_dense :] = gram.level_gradients(rows, alpha)
        yield slice(None), outputs, J


def _gradients(gram, alpha, T_rows, U, backend, slope_product, *, width):
    """Return the gradients (m, o, k) of some outputs at some rows.

    Columns of levels that are looked up stay uninitialised. `alpha` has shape (n, o),
    `T_rows` (m, k), and `U` (m, o), the factors of the rows themselves; None computes
    Wα. `slope_product` maps V of shape (n, v) to W[rows] @ V, and `width` is the number
    of features that are computed at once.
    """
    xp, T = backend.xp, gram.T
    (n, k), (m, c) = T.shape, (T_rows.shape[0], alpha.shape[1])
    J = xp.empty((m, c, k), dtype=T.dtype, device=backend.device)
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
