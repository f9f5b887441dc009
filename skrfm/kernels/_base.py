"""What every kernel has: shape parameters, values, slopes and a profile."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from .._backend import NumpyBackend


class Kernel(BaseEstimator):
    """Base class of the kernels, most of them k(t, z) = φ(‖t − z‖_p^p).

    A kernel holds the parameters of its shape only. The bandwidth is passed to
    it, and the feature metric has been applied to the rows before it sees them.

    A new kernel of the Euclidean distance subclasses `RadialKernel` and defines
    `value` and `slope` in array code; that is all it needs. One whose φ is
    exp(−(scale · u)^exponent) subclasses `PowerExponential` as well and defines
    `_profile` in their place, and then runs in compiled code.
    """

    #: order p of the norm that the kernel is a function of
    norm_order = 2

    #: whether the gradient is a sum over single coordinates, not over differences
    coordinatewise = False

    #: whether it is a function of inner products and norms, not of distances
    of_inner_products = False

    def validate(self):
        """Raise ValueError if a shape parameter is out of range."""

    def value(self, u, bandwidth, xp):
        """Kernel values where u = ‖t − z‖_p^p; the value at u = 0 is 1."""
        raise NotImplementedError

    def slope(self, u, k, bandwidth, xp):
        """Return w with ∇_t k(t, z) = w |t − z|^(p−1) sign(t − z); 0 where u = 0."""
        raise NotImplementedError

    def profile(self, bandwidth):
        """Parameters (scale, exponent, order, floor) for compiled code, or None."""
        return None


class RadialKernel(Kernel):
    """Base class of the kernels of the Euclidean distance, u = ‖t − z‖²."""


class InnerProductKernel(Kernel):
    """Base class of the kernels of ⟨t, z⟩, ‖t‖² and ‖z‖².

    `augment` maps rows to those whose inner products count. The others take gaps
    om = 1 − cos and op = 1 + cos of the angle between two such rows, which keep the
    digits of rows that are nearly parallel, and their square norms a and c.
    """

    of_inner_products = True

    def augment(self, X, bandwidth, xp):
        """Return the rows whose inner products the kernel is a function of."""
        return X / bandwidth

    def of_angles(self, om, op, a, c, xp):
        """Return kernel values."""
        raise NotImplementedError

    def network(self):
        """Return what compiled code knows the kernel by, or None."""
        return None

    def gradient_of_angles(self, om, op, a, c, xp):
        """Return (value, its derivative by the inner product, its derivative by a)."""
        raise NotImplementedError

    def kernel_matrix(self, X, Z=None, *, bandwidth=1.0):
        """Return the kernel between the rows of X and of Z, or of X itself.

        Parameters
        ----------
        X : array-like of shape (n, d)
        Z : array-like of shape (m, d), default=None
        bandwidth : float, default=1.0
            What rows are divided by.

        Returns
        -------
        ndarray of shape (n, m)
        """
        self.validate()
        dtype = [np.float64, np.float32]
        X = check_array(X, dtype=dtype)
        Z = X if Z is None else check_array(Z, dtype=X.dtype)
        if X.shape[1] != Z.shape[1]:
            raise ValueError(
                f"X and Z must have as many columns as each other; they have "
                f"{X.shape[1]} and {Z.shape[1]}."
            )
        return NumpyBackend().cross(self, X, Z, bandwidth)


class PowerExponential:
    """Mixin of the kernels exp(−v), v = (scale · u)^exponent.

    With order = p · exponent their slope is −order · v · k / u, where u is not
    below `floor`.
    """

    def _profile(self, bandwidth):
        """Return (scale, exponent, order)."""
        raise NotImplementedError

    def profile(self, bandwidth):
        """Parameters (scale, exponent, order, floor) for compiled code."""
        scale, exponent, order = self._profile(bandwidth)
        floor = (_SLOPE_FLOOR * bandwidth) ** self.norm_order if order < 1 else 0.0
        return scale, exponent, order, floor

    def value(self, u, bandwidth, xp):
        """Kernel values where u = ‖t − z‖_p^p."""
        scale, exponent, _ = self._profile(bandwidth)
        return xp.exp(-((scale * u) ** exponent))

    def slope(self, u, k, bandwidth, xp):
        """Return w with ∇_t k(t, z) = w |t − z|^(p−1) sign(t − z); 0 where u = 0."""
        scale, exponent, order, floor = self.profile(bandwidth)
        one = xp.ones_like(u)
        above = xp.where(u > floor, u, floor * one) if floor else u
        above = xp.where(u > 0, above, one)
        w = -order * (scale * above) ** exponent * k / above
        return xp.where(u > 0, w, 0 * one)


# For an exponent below 1 the gradient of the kernel grows without bound as two rows
# approach; it is held at its value at this share of the bandwidth
_SLOPE_FLOOR = 1e-3


def check_range(kernel, name, low, high, *, closed_low=True):
    """Raise ValueError unless low <= kernel.name <= high (or low < kernel.name)."""
    value = getattr(kernel, name)
    try:
        inside = (low <= value if closed_low else low < value) and value <= high
    except TypeError:
        inside = False
    if not inside:
        interval = f"{'[' if closed_low else '('}{low}, {high}]"
        raise ValueError(
            f"{name} of {type(kernel).__name__} must be a number in {interval}, "
            f"got {value!r}."
        )
