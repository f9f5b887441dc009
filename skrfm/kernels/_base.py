"""The base classes of kernels: shape parameters, values and gradients."""

import numpy as np
from sklearn.base import BaseEstimator

from .._backend import Array, FloatArray, Namespace, NumpyBackend, Table
from .._sklearn import check_array


class Kernel(BaseEstimator):
    """Base class of the kernels, most of them k(t, z) = φ(‖t − z‖_p^p).

    A kernel holds the parameters of its shape only. The bandwidth is passed to its
    methods, and the rows have been mapped by the feature metric before.

    A new kernel of the Euclidean distance subclasses `RadialKernel` and defines
    `value` and `slope` in array code; that is all it needs. A kernel with
    φ(u) = exp(−(scale · u)^exponent) subclasses `PowerExponential` as well and defines
    `_profile` in their place, and is then computed in compiled code.

    Attributes
    ----------
    norm_order : float
        Order p of the norm ‖t − z‖_p that the kernel is a function of.
    coordinatewise : bool
        Whether gradients are computed coordinate by coordinate, as for the L1 and Lp
        distances; the metric is diagonal then.
    of_inner_products : bool
        Whether the kernel is a function of inner products and norms, not of distances.
    """

    norm_order: float = 2
    coordinatewise: bool = False
    of_inner_products: bool = False

    def validate(self):
        """Raise ValueError if a shape parameter is out of range."""

    def value(self, u: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return kernel values of distance powers; the value at u = 0 is 1.

        Parameters
        ----------
        u : array
            Powers of distances, u = ‖t − z‖_p^p.
        bandwidth : float
        xp : namespace
            The array namespace of u.

        Returns
        -------
        array of the shape of u
        """
        raise NotImplementedError

    def slope(self, u: Array, k: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return w with ∇_t k(t, z) = w |t − z|^(p−1) sign(t − z).

        Parameters
        ----------
        u : array
            Powers of distances, u = ‖t − z‖_p^p.
        k : array of the shape of u
            The kernel values of u.
        bandwidth : float
        xp : namespace
            The array namespace of u.

        Returns
        -------
        array of the shape of u
            0 where u is 0.
        """
        raise NotImplementedError

    def profile(self, bandwidth: float) -> tuple[float, float, float, float] | None:
        """Return the parameters of compiled code, None for array code.

        They are (scale, exponent, order, floor), as in `PowerExponential`.
        """
        return None

    def kernel_matrix(
        self, X: Table, Z: Table = None, *, bandwidth: float = 1.0
    ) -> FloatArray:
        """Return the kernel between the rows of X and of Z, or of X itself.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows.
        Z : array-like of shape (m, d), default=None
            Other rows; None compares `X` with itself.
        bandwidth : float, default=1.0
            The bandwidth L, which rows are divided by.

        Returns
        -------
        ndarray of shape (n, m)
            In float32 where `X` is, in float64 otherwise.
        """
        self.validate()
        X = check_array(X, dtype=[np.float64, np.float32])
        Z = X if Z is None else check_array(Z, dtype=X.dtype)
        if X.shape[1] != Z.shape[1]:
            raise ValueError(
                f"X and Z must have the same number of columns; they have "
                f"{X.shape[1]} and {Z.shape[1]}."
            )
        return NumpyBackend().cross(self, X, Z, bandwidth)


class RadialKernel(Kernel):
    """Base class of the kernels of the Euclidean distance, u = ‖t − z‖².

    Examples
    --------
    >>> from skrfm.kernels import RadialKernel
    >>> class Cauchy(RadialKernel):
    ...     def value(self, u, bandwidth, xp):
    ...         return 1 / (1 + u / bandwidth**2)
    ...
    ...     def slope(self, u, k, bandwidth, xp):
    ...         return -2 / bandwidth**2 * k**2
    >>> Cauchy().kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=5)
    array([[1. , 0.5]])
    """


class InnerProductKernel(Kernel):
    """Base class of the kernels of ⟨t, z⟩, ‖t‖² and ‖z‖².

    `augment` maps rows to those whose inner products the kernel is a function of. The
    other methods take 1 − cos and 1 + cos of the angle between two such rows, which
    keep the digits of rows that are nearly parallel, and their square norms.
    """

    of_inner_products = True

    def augment(self, X: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return the rows whose inner products the kernel is a function of.

        Parameters
        ----------
        X : array of shape (n, d)
        bandwidth : float
        xp : namespace

        Returns
        -------
        array of shape (n, d) or (n, d + 1)
        """
        return X / bandwidth

    def of_angles(self, om: Array, op: Array, a: Array, c: Array, xp: Namespace):
        """Return kernel values.

        Parameters
        ----------
        om, op : arrays that broadcast to (n, m)
            1 − cos and 1 + cos of the angles between rows t and z.
        a : array of shape (n, 1)
            Square norms of the rows t.
        c : array of shape (1, m)
            Square norms of the rows z.
        xp : namespace

        Returns
        -------
        array of shape (n, m)
        """
        raise NotImplementedError

    def gradient_of_angles(
        self, om: Array, op: Array, a: Array, c: Array, xp: Namespace
    ) -> tuple[Array, Array, Array]:
        """Return kernel values and their derivatives.

        Parameters
        ----------
        om, op, a, c, xp
            As for `of_angles`.

        Returns
        -------
        value : array of shape (n, m)
        by_product : array of shape (n, m)
            Derivative with respect to the inner product ⟨t, z⟩.
        by_square : array of shape (n, m)
            Derivative with respect to the square norm ‖t‖².
        """
        raise NotImplementedError

    def network(self) -> tuple | None:
        """Return the parameters of compiled code, None for array code.

        `skrfm._jit._networks` describes them.
        """
        return None


def check_range(kernel, name, low, high, *, closed_low=True):
    """Raise ValueError unless low <= kernel.name <= high (or low < kernel.name)."""
    value = getattr(kernel, name)
    try:
        above = low <= value if closed_low else low < value
        inside = above and value <= high
    except TypeError:
        inside = False
    if not inside:
        interval = f"{'[' if closed_low else '('}{low}, {high}]"
        raise ValueError(
            f"{name} of {type(kernel).__name__} must be a number in {interval}, "
            f"got {value!r}."
        )
