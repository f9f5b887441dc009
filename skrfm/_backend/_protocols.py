"""The interfaces of kernels, kernel matrices and backends."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from ._types import Array, IntArray, Namespace


class Kernel(Protocol):
    """A kernel as backends and solvers see it; it never sees the feature metric.

    Attributes
    ----------
    norm_order : float
        Order p of the norm that the kernel is a function of.
    coordinatewise : bool
        Whether gradients are sums over single coordinates, not over differences.
    of_inner_products : bool
        Whether it is an `InnerProductKernel`, and not a function of a distance.
    """

    @property
    def norm_order(self) -> float: ...  # noqa: D102

    @property
    def coordinatewise(self) -> bool: ...  # noqa: D102

    @property
    def of_inner_products(self) -> bool: ...  # noqa: D102

    def value(self, u: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return kernel values of distance powers u = ‖t − z‖_p^p."""
        ...

    def slope(self, u: Array, k: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return w with ∇_t k(t, z) = w |t − z|^(p−1) sign(t − z)."""
        ...

    def profile(self, bandwidth: float) -> tuple[float, ...] | None:
        """Return (scale, exponent, order, floor) for compiled code, or None."""
        ...


class InnerProductKernel(Kernel, Protocol):
    """A kernel of ⟨t, z⟩, ‖t‖² and ‖z‖²."""

    def augment(self, X: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return the rows whose inner products the kernel is a function of."""
        ...

    def of_angles(
        self, om: Array, op: Array, a: Array, c: Array, xp: Namespace
    ) -> Array:
        """Return kernel values from 1 − cos, 1 + cos and the squared norms."""
        ...

    def gradient_of_angles(
        self, om: Array, op: Array, a: Array, c: Array, xp: Namespace
    ) -> tuple[Array, Array, Array]:
        """Return the value and its derivatives by the inner product and by a."""
        ...

    def network(self) -> tuple[Any, ...] | None:
        """Return the parameters for compiled code, or None."""
        ...


class Gram(Protocol):
    """The kernel matrix K of training rows, and the matrix W of its slopes.

    Attributes
    ----------
    T : array of shape (n, k)
        The rows, mapped by the metric.
    kernel : Kernel
    diagonal : array of shape (n,)
        The diagonal of K.
    n_dense : int
        Number of columns of T before those of categories that are looked up.
    """

    T: Array
    kernel: Any
    diagonal: Array
    n_dense: int

    def product(self, V: Array) -> Array:
        """Return K @ V."""
        ...

    def columns(self, rows: IntArray) -> Array:
        """Return K[:, rows]."""
        ...

    def square(self, rows: IntArray) -> Array:
        """Return K[rows][:, rows], of few rows."""
        ...

    def slope_product(self, V: Array) -> Array:
        """Return W @ V."""
        ...

    def slope_rows_product(self, rows: IntArray, V: Array) -> Array:
        """Return W[rows] @ V."""
        ...

    def level_gradients(self, rows: IntArray, coef: Array) -> Array:
        """Return the gradients along the columns that are looked up.

        Parameters
        ----------
        rows : ndarray of shape (b,)
            Indices of rows of T.
        coef : array of shape (n, c)

        Returns
        -------
        array of shape (b, c, k - n_dense)
        """
        ...

    def coordinate_gradients(
        self, rows: IntArray, coef: Array
    ) -> Iterator[tuple[slice, Array]]:
        """Yield (positions, gradients) of blocks of `rows`, of coordinatewise kernels.

        Parameters
        ----------
        rows : ndarray of shape (b,)
            Indices of rows of T.
        coef : array of shape (n, c)

        Yields
        ------
        positions : slice
            The positions in `rows`.
        gradients : array of shape (n_positions, c, k)
        """
        ...


class ProductGram(Gram, Protocol):
    """A Gram whose matrix is in memory."""

    @property
    def nbytes(self) -> int:
        """The bytes of its buffer."""
        ...

    def free(self) -> None:
        """Free the memory of the matrix, which is of no use then."""
        ...


class HeldGram(ProductGram, Protocol):
    """A Gram whose matrix is in memory, and can be factorised in place."""

    def refill(self) -> None:
        """Compute K and W again, after `factorize`."""
        ...

    def factorize(self, ridge: Array) -> None:
        """Overwrite K by the Cholesky factor of K + diag(ridge)."""
        ...

    def solve(self, B: Array) -> Array:
        """Return (K + diag(ridge))⁻¹ B, after `factorize`."""
        ...

    def inverse_diagonal(self) -> Array:
        """Return the diagonal of the inverse, after `factorize`."""
        ...

    def eigh(self, ridge: Array) -> tuple[Array, Array]:
        """Return eigenvalues and eigenvectors of K + diag(ridge)."""
        ...

    def radial_product(self, rows: IntArray, V: Array) -> Array:
        """Return D[rows] @ V, for gradients D t − W z of inner product kernels."""
        ...


class StreamedGram(Gram, Protocol):
    """A Gram whose matrix is computed again for each product."""

    def take(self, rows: IntArray) -> "StreamedGram":
        """Return the kernel matrix of the rows at NumPy indices."""
        ...

    def rows_product(
        self, rows: slice, V: Array, n_kept: int = 0, start: int = 0
    ) -> tuple[Array, Array]:
        """Return a product with some rows of K, and the first columns of these rows.

        Parameters
        ----------
        rows : slice
        V : array of shape (m, c)
            Coefficients of the columns from `start` to `start` + m.
        n_kept : int, default=0
            Number of columns of K[rows, start:] that are returned.
        start : int, default=0

        Returns
        -------
        product : array of shape (n_rows, c)
            K[rows, start : start + m] @ V.
        columns : array of shape (n_rows, n_kept)
        """
        ...


class PositiveFactor(Protocol):
    """The Cholesky factor of a symmetric matrix.

    Attributes
    ----------
    smallest_pivot : float
        The smallest square of a diagonal entry of the factor.
    """

    smallest_pivot: float

    def solve(self, B: Array) -> Array:
        """Return the inverse of the matrix times B."""
        ...


class CrossGram(Protocol):
    """The kernel matrix K between rows and centres, computed for each product."""

    def normal_product(self, weight: Array, V: Array) -> Array:
        """Return Kᵀ diag(weight) K V, of shape (p, c), in float64, by one pass."""
        ...

    def adjoint_product(self, weight: Array, Y: Array) -> Array:
        """Return Kᵀ diag(weight) Y, of shape (p, c), in float64, by one pass."""
        ...

    def normal_matrix(self, weight: Array) -> Array:
        """Return Kᵀ diag(weight) K in float64, of shape (p, p)."""
        ...


class Backend(Protocol):
    """Arrays of one library, and what is computed from them.

    Attributes
    ----------
    xp : namespace
    device : device of the namespace
    threads : bool
        Whether it computes in threads of this package.
    """

    xp: Namespace
    device: Any
    threads: bool

    def asarray(self, a: Array, dtype: Any = None) -> Array:
        """Return an array of this backend."""
        ...

    def to_numpy(self, a: Array) -> np.ndarray:
        """Return a NumPy array."""
        ...

    def take(self, a: Array, rows: IntArray) -> Array:
        """Return the rows at NumPy indices."""
        ...

    def empty(self, shape: int | tuple[int, ...], like: Array) -> Array:
        """Return an uninitialised array with the dtype of another one."""
        ...

    def rows(self, a: Array) -> Array:
        """Return an array in the layout that is read fastest."""
        ...

    def map_rows(self, X: Array, A: Array) -> Array:
        """Return X @ A; if possible, no row depends on the others of X."""
        ...

    def fits_in_memory(self, T: Array, reusable_bytes: int = 0) -> bool:
        """Return whether the kernel matrix of the rows of T fits in memory."""
        ...

    def direct_rows(self, T: Array, reusable_bytes: int = 0) -> int:
        """Return the largest number of rows like those of T to factorise."""
        ...

    def release(self) -> None:
        """Free unused memory."""
        ...

    def diagonal_matrix(self, values: Array) -> Array:
        """Return a diagonal matrix."""
        ...

    def cholesky(self, block: Array, row: int) -> Array:
        """Return the lower Cholesky factor of a block that starts at some row."""
        ...

    def positive_solver(self, A: Array, ridge: float) -> Callable[[Array], Array]:
        """Return the function B → (A + ridge I)⁻¹ B."""
        ...

    def invert_lower(self, factor: Array) -> Array:
        """Return the inverse of a lower triangular matrix."""
        ...

    def factorize(self, A: Array, shift: float) -> PositiveFactor:
        """Overwrite A, which is symmetric, by the Cholesky factor of A + shift I.

        Above the diagonal, A is neither read nor changed.
        """
        ...

    def leading_eigenvectors(self, A: Array, count: int) -> tuple[Array, Array]:
        """Return the largest eigenvalues, in falling order, and their vectors."""
        ...

    def gram(
        self,
        kernel: Any,
        T: Array,
        bandwidth: float,
        *,
        reusable: Any = None,
        category_sizes: tuple[int, ...] = (),
        powers: Array | None = None,
    ) -> HeldGram:
        """Return the kernel matrix of the rows of T, to solve with.

        Parameters
        ----------
        kernel : Kernel
        T : array of shape (n, k)
        bandwidth : float
        reusable : HeldGram, default=None
            An earlier one, whose memory may be taken; it is of no use afterwards.
        category_sizes : tuple of int, default=()
            Numbers of levels of the categories in the last columns.
        powers : array of shape (n, n), default=None
            What `distance_powers` returns, if it is computed already.
        """
        ...

    def product_gram(
        self,
        kernel: Any,
        T: Array,
        bandwidth: float,
        *,
        reusable: Any = None,
        category_sizes: tuple[int, ...] = (),
    ) -> ProductGram:
        """Return the kernel matrix of the rows of T, held to be multiplied by.

        Parameters are those of `gram`. Slopes may be computed when they are asked for.
        """
        ...

    def streamed_gram(
        self,
        kernel: Any,
        T: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> StreamedGram:
        """Return a Gram that is computed again for each product."""
        ...

    def distance_powers(
        self, kernel: Any, T: Array, *, category_sizes: tuple[int, ...] = ()
    ) -> Array:
        """Return ‖t_i − t_j‖_p^p of the pairs i >= j of rows."""
        ...

    def cross(
        self,
        kernel: Any,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> Array:
        """Return the kernel matrix between the rows of T and of Z."""
        ...

    def cross_dot(
        self,
        kernel: Any,
        T: Array,
        Z: Array,
        bandwidth: float,
        A: Array,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> Array:
        """Return cross(T, Z) @ A, computed in blocks."""
        ...

    def cross_gram(
        self,
        kernel: Any,
        T: Array,
        Z: Array,
        bandwidth: float,
        *,
        category_sizes: tuple[int, ...] = (),
    ) -> CrossGram:
        """Return the kernel matrix between the rows of T and centres Z."""
        ...

    def self_values(self, kernel: Any, T: Array, bandwidth: float) -> Array:
        """Return the kernel of each row of T with itself."""
        ...
