"""Kernels of a distance: Laplace, Gaussian, and their forms for L1 and Lp norms."""

from .._backend import Array, Namespace
from ._base import Kernel, RadialKernel, check_range

# For an exponent below 1 the gradient of the kernel grows without bound as two rows
# approach; within this multiple of the bandwidth it keeps the value it has there.
_SLOPE_FLOOR = 1e-3


class PowerExponential(Kernel):
    """Base class of the kernels exp(−v), v = (scale · u)^exponent, u = ‖t − z‖_p^p.

    A subclass defines `_profile`. With order = p · exponent the slope is
    −order · v · k / u, where u is not below the floor of the profile. NumPy and CUDA
    compute these kernels in compiled code, from `profile`.
    """

    def _profile(self, bandwidth):
        """Return (scale, exponent, order)."""
        raise NotImplementedError

    def profile(self, bandwidth: float) -> tuple[float, float, float, float]:
        """Return the parameters (scale, exponent, order, floor) of compiled code."""
        scale, exponent, order = self._profile(bandwidth)
        floor = (_SLOPE_FLOOR * bandwidth) ** self.norm_order if order < 1 else 0.0
        return scale, exponent, order, floor

    def value(self, u: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return kernel values of distance powers u = ‖t − z‖_p^p."""
        scale, exponent, _ = self._profile(bandwidth)
        return xp.exp(-((scale * u) ** exponent))

    def slope(self, u: Array, k: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return w with ∇_t k(t, z) = w |t − z|^(p−1) sign(t − z); 0 where u = 0."""
        scale, exponent, order, floor = self.profile(bandwidth)
        one = xp.ones_like(u)
        bounded = xp.where(u > floor, u, floor * one) if floor > 0 else u
        bounded = xp.where(u > 0, bounded, one)
        w = -order * (scale * bounded) ** exponent * k / bounded
        return xp.where(u > 0, w, 0 * one)


class Laplace(PowerExponential, RadialKernel):
    """The kernel exp(−‖t − z‖₂ / L).

    This is the kernel of the Euclidean distance. What scikit-learn calls
    ``laplacian`` is the kernel of the L1 distance, here `L1Laplace`.

    Examples
    --------
    >>> from skrfm.kernels import Laplace
    >>> Laplace().kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=5).round(3)
    array([[1.   , 0.368]])
    """

    def _profile(self, bandwidth):
        return bandwidth**-2, 0.5, 1.0


class GeneralizedLaplace(PowerExponential, RadialKernel):
    """The kernel exp(−(‖t − z‖₂ / L)^exponent).

    Parameters
    ----------
    exponent : float, default=1.0
        The exponent q, 0 < q <= 2. At q = 1 it is `Laplace`; at q = 2 it is
        exp(−r²/L²), a `Gaussian` of bandwidth L/√2. For q < 1 the gradient of two
        rows nearer than 0.001 L is taken at that distance, since it has no bound.

    Examples
    --------
    >>> from skrfm.kernels import GeneralizedLaplace
    >>> kernel = GeneralizedLaplace(exponent=0.7)
    >>> kernel.kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=10).round(3)
    array([[1.  , 0.54]])
    """

    def __init__(self, exponent=1.0):
        self.exponent = exponent

    def validate(self):
        """Raise ValueError unless 0 < exponent <= 2."""
        check_range(self, "exponent", 0, 2, closed_low=False)

    def _profile(self, bandwidth):
        return bandwidth**-2, self.exponent / 2, self.exponent


class Gaussian(PowerExponential, RadialKernel):
    """The kernel exp(−‖t − z‖₂² / (2 L²)).

    Examples
    --------
    >>> from skrfm.kernels import Gaussian
    >>> Gaussian().kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=5).round(3)
    array([[1.   , 0.607]])
    """

    def _profile(self, bandwidth):
        return 0.5 * bandwidth**-2, 1.0, 2.0


class L1Laplace(PowerExponential):
    """The kernel exp(−‖t − z‖₁ / L).

    scikit-learn's ``laplacian`` with ``gamma = 1 / L``.

    Examples
    --------
    >>> from skrfm.kernels import L1Laplace
    >>> L1Laplace().kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=7).round(3)
    array([[1.   , 0.368]])
    """

    norm_order = 1
    coordinatewise = True

    def _profile(self, bandwidth):
        return 1 / bandwidth, 1.0, 1.0


class LpqLaplace(PowerExponential):
    """The kernel exp(−(‖t − z‖_p / L)^q).

    Parameters
    ----------
    p : float, default=1.5
        Order of the norm, 1 <= p <= 2.
    q : float, default=1.0
        The exponent, 0 < q <= p. For q < 1 the gradient of two rows nearer than
        0.001 L is taken at that distance, since it has no bound.

    Examples
    --------
    >>> from skrfm.kernels import LpqLaplace
    >>> kernel = LpqLaplace(p=1.2)
    >>> kernel.kernel_matrix([[0, 0]], [[0, 0], [3, 4]], bandwidth=5).round(3)
    array([[1.   , 0.287]])
    """

    coordinatewise = True

    def __init__(self, p=1.5, q=1.0):
        self.p = p
        self.q = q

    @property
    def norm_order(self) -> float:
        """Order p of the norm."""
        return self.p

    def validate(self):
        """Raise ValueError unless 1 <= p <= 2 and 0 < q <= p."""
        check_range(self, "p", 1, 2)
        check_range(self, "q", 0, self.p, closed_low=False)

    def _profile(self, bandwidth):
        return bandwidth**-self.p, self.q / self.p, self.q
