"""What a classifier of a wide network becomes as its depth grows without bound."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq

from ._duals import DualActivation, Hermite, get_activation

# ψ(0) and ψ′(1) − 1 below this are rounding errors of a zero. Of ψ′(0) any positive
# number counts: an exponent of 128 makes it 1e-31.
_ZERO = 1e-10


@dataclass(frozen=True)
class InfiniteDepthLimit:
    """The limit of the classifiers of ever deeper networks.

    Attributes
    ----------
    kind : {"majority", "nearest_neighbor", "singular"}
        Majority vote, the nearest neighbour, or a vote of all training rows with the
        weights ‖x − z‖^−exponent.
    exponent : float
        0 for a majority vote, inf for the nearest neighbour.
    """

    kind: Literal["majority", "nearest_neighbor", "singular"]
    exponent: float


def infinite_depth_limit(activation: str | DualActivation) -> InfiniteDepthLimit:
    """Return the limit of the classifiers of infinitely wide networks in their depth.

    The kernel of a network of depth L is, for rows on the unit sphere, the L-fold
    iterate of the dual activation ψ(cos) = E[f(u) f(v)], scaled to ψ(1) = 1. The
    sign of its kernel machine without a ridge converges to one of three classifiers
    [1]_: with ψ(0) > 0 to a majority vote; with ψ(0) = ψ′(0) = 0 to the nearest
    neighbour; and otherwise to a vote with the singular kernel ‖x − z‖^−a,
    a = −2 log ψ′(0) / log ψ′(1). This is consistent where a is the dimension of the
    sphere. `SingularKernelClassifier` is that limit.

    Parameters
    ----------
    activation : str or DualActivation
        ``"relu"``, ``"leaky_relu"``, ``"leaky_relu(0.2)"``, ``"erf"``, ``"sin"``,
        ``"hermite(2)"``, or an object; as in `NNGP`. It is scaled to E[f²] = 1 at
        inputs of unit variance.

    Returns
    -------
    InfiniteDepthLimit

    Raises
    ------
    ValueError
        For a linear activation, whose networks are linear at any depth.

    References
    ----------
    .. [1] A. Radhakrishnan, M. Belkin and C. Uhler, "Wide and deep neural networks
       achieve consistency for classification", PNAS 120, 2023.

    Examples
    --------
    >>> from skrfm.kernels import infinite_depth_limit
    >>> infinite_depth_limit("relu")
    InfiniteDepthLimit(kind='majority', exponent=0.0)
    >>> infinite_depth_limit("hermite(3)")
    InfiniteDepthLimit(kind='nearest_neighbor', exponent=inf)
    >>> round(infinite_depth_limit("erf").exponent, 3)
    0.888
    """
    at_zero, slope_at_zero, slope_at_one = _normalized_dual(get_activation(activation))
    if not all(map(np.isfinite, (at_zero, slope_at_zero))) or at_zero < -_ZERO:
        raise ValueError(
            "activation must have a dual F(K, 1, 1) with F(1, 1, 1) > 0 and "
            f"F(0, 1, 1) >= 0, as every activation has; got {activation!r} with "
            f"F(0) / F(1) = {at_zero:g}."
        )
    if at_zero > _ZERO:
        return InfiniteDepthLimit("majority", 0.0)
    if slope_at_zero <= 0:
        return InfiniteDepthLimit("nearest_neighbor", np.inf)
    if slope_at_one <= 1 + _ZERO:
        raise ValueError(
            f"activation={activation!r} is linear, and a linear network is the same at "
            'any depth: pass a nonlinear one, such as "erf".'
        )
    exponent = -2 * np.log(slope_at_zero) / np.log(slope_at_one)
    return InfiniteDepthLimit("singular", float(exponent))


def _normalized_dual(activation):
    """Return ψ(0), ψ′(0) and ψ′(1) of the dual at unit variance, with ψ(1) = 1."""
    cos, one = np.array([0.0, 1.0]), np.ones(2)
    with np.errstate(divide="ignore", invalid="ignore"):
        dual = activation.dual(1 - cos, 1 + cos, one, one, np)
        scale = dual.value[1]
        return dual.value[0] / scale, dual.slope[0] / scale, dual.slope[1] / scale


class _LinearAndHermite(DualActivation):
    """√p u + √(1 − p) h(u), h a Hermite polynomial, of inputs of unit variance.

    Hermite polynomials of different degrees are uncorrelated, so the duals add up.
    """

    def __init__(self, share, degree):
        self.share, self.degree = share, degree

    def _sum(self, method, *args):
        linear, other = Hermite(1), Hermite(self.degree)
        first, second = (getattr(part, method)(*args) for part in (linear, other))
        p = self.share
        if isinstance(first, tuple):
            pairs = zip(first, second, strict=True)
            return tuple(p * a + (1 - p) * b for a, b in pairs)
        return p * first + (1 - p) * second

    def value(self, K, a, c, xp):
        """Return F = p cos + (1 − p) cos^degree."""
        return self._sum("value", K, a, c, xp)

    def slope(self, K, a, c, xp):
        """Return ∂F/∂K."""
        return self._sum("slope", K, a, c, xp)

    def gradients(self, K, a, c, xp):
        """Return ∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a, a) in a."""
        return self._sum("gradients", K, a, c, xp)


def singular_activation(exponent: float, degree: int = 3) -> DualActivation:
    """Return an activation whose deep networks become a singular kernel of an exponent.

    It is √p u + √(1 − p) h(u) with the normalised Hermite polynomial h of a degree;
    its dual is ψ(c) = p c + (1 − p) c^degree, and p is chosen so that the limit of
    `infinite_depth_limit` has the exponent. The exponent d is optimal for data on a
    sphere of dimension d.

    Parameters
    ----------
    exponent : float
        The exponent a, above 2 / (degree − 1).
    degree : int, default=3
        Degree of the polynomial, at least 2.

    Returns
    -------
    DualActivation
        For `NNGP` and `NTK`.

    Examples
    --------
    >>> from skrfm.kernels import infinite_depth_limit, singular_activation
    >>> limit = infinite_depth_limit(singular_activation(4))
    >>> limit.kind, round(limit.exponent, 6)
    ('singular', 4.0)
    """
    if not isinstance(degree, Integral) or degree < 2:
        raise ValueError(f"degree must be an integer of at least 2, got {degree!r}.")
    least = 2 / (degree - 1)
    if not isinstance(exponent, Real) or not least < exponent < np.inf:
        raise ValueError(
            f"exponent must be a number above 2 / (degree - 1) = {least:g}, got "
            f"{exponent!r}; a larger degree, here {degree}, allows smaller ones."
        )
    a, k = float(exponent), int(degree)

    # a = −2 log p / log(p + (1 − p) k) as an equation in u = −log p. The difference is
    # concave and 0 at u = 0, so its other root is beyond its maximum.
    def difference(u):
        return a * np.log(k - (k - 1) * np.exp(-u)) - 2 * u

    highest = np.log((k - 1) * (a + 2) / (2 * k))
    u: Any = brentq(difference, highest, a * np.log(k) / 2, xtol=1e-14)
    share = float(np.exp(-u))
    if share == 0:
        raise ValueError(
            f"exponent={exponent!r} is too large for degree={degree}: the linear part "
            "underflows, so the limit is the nearest neighbour. Pass a smaller "
            'exponent or degree, or use the activation "hermite(3)".'
        )
    return _LinearAndHermite(share, k)
