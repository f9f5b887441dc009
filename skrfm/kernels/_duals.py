"""Dual activations: how a wide layer maps the covariance of its inputs.

For preactivations u, v of variances a and c and covariance K, a layer with activation f
has F = E[f(u) f(v)], and the derivative of F in K is E[f'(u) f'(v)]. Covariances are
passed on as gaps: with r = √(ac), om = 1 − K / r and op = 1 + K / r, each computed
without cancellation, keep the digits of rows that are nearly parallel.
"""

from dataclasses import dataclass

import numpy as np

from .._backend import Array, Namespace

# For smaller angles, differences of sines and cosines come from a series: they would
# lose their digits to cancellation.
_SMALL_ANGLE = 0.01


@dataclass(kw_only=True)
class Dual:
    """F and its derivatives, arrays that broadcast to one shape.

    Attributes
    ----------
    value : array
        F(K, a, c).
    slope : array
        ∂F/∂K.
    gap : array
        1 − F / √(F(a, a, a) F(c, c, c)).
    a, c : arrays
        The variances after the layer.
    in_a, second, mixed : arrays or None
        ∂F/∂a, ∂²F/∂K² and ∂²F/∂K∂a; None without gradients.
    growth : array or None
        The derivative of F(a, a, a) in a; None without gradients.
    """

    value: Array
    slope: Array
    gap: Array
    a: Array
    c: Array
    in_a: Array | None = None
    second: Array | None = None
    mixed: Array | None = None
    growth: Array | None = None


def covariance(om, op, r, xp):
    """Return K = r (1 − om) = r (op − 1), from the smaller gap."""
    return xp.where(om <= op, r - r * om, r * op - r)


class DualActivation:
    """Base class of custom activations.

    A subclass defines `value` and `slope` for arrays that broadcast, with functions of
    the array namespace xp, and for the average gradient outer product `gradients`. All
    take the covariance K and the variances a and c of the preactivations u and v.

    Examples
    --------
    The cube, E[u³ v³] = 6 K³ + 9 K a c:

    >>> import numpy as np
    >>> from skrfm.kernels import NNGP, DualActivation
    >>> class Cube(DualActivation):
    ...     def value(self, K, a, c, xp):
    ...         return 6 * K**3 + 9 * K * a * c
    ...
    ...     def slope(self, K, a, c, xp):
    ...         return 18 * K**2 + 9 * a * c
    >>> NNGP(activation=Cube()).kernel_matrix([[1.0, 0.0]], [[1.0, 0.0], [0.6, 0.8]])
    array([[15.   ,  6.696]])
    """

    def value(self, K: Array, a: Array, c: Array, xp: Namespace) -> Array:
        """Return F(K, a, c) = E[f(u) f(v)], u and v normal with these moments."""
        raise NotImplementedError

    def slope(self, K: Array, a: Array, c: Array, xp: Namespace) -> Array:
        """Return ∂F/∂K."""
        raise NotImplementedError

    def gradients(
        self, K: Array, a: Array, c: Array, xp: Namespace
    ) -> tuple[Array, Array, Array, Array]:
        """Return ∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a, a) in a."""
        raise NotImplementedError(
            f"{type(self).__name__} has no method `gradients`, which the average "
            "gradient outer product needs."
        )

    def dual(
        self,
        om: Array,
        op: Array,
        a: Array,
        c: Array,
        xp: Namespace,
        *,
        gradient: bool = False,
    ) -> Dual:
        """Return the Dual of a layer.

        Parameters
        ----------
        om, op : arrays
            The gaps 1 − K / √(ac) and 1 + K / √(ac).
        a, c : arrays
            The variances of the preactivations.
        xp : namespace
        gradient : bool, default=False
            Whether to compute `in_a`, `second`, `mixed` and `growth`.

        Returns
        -------
        Dual
        """
        r = xp.sqrt(a * c)
        K = covariance(om, op, r, xp)
        F, a1, c1 = (self.value(*m, xp) for m in ((K, a, c), (a, a, a), (c, c, c)))
        root = xp.sqrt(a1 * c1)
        gap = 1 - F / xp.where(root > 0, root, xp.ones_like(root))
        dual = Dual(value=F, slope=self.slope(K, a, c, xp), gap=gap, a=a1, c=c1)
        if gradient:
            derivatives = self.gradients(K, a, c, xp)
            dual.in_a, dual.second, dual.mixed, dual.growth = derivatives
        return dual


class Relu(DualActivation):
    """max(u, slope · u) times √(2 gain / (1 + slope²)), so that F(a, a, a) = gain a.

    Attributes
    ----------
    rectifier_share, identity_share : float
        F is gain times the sum of the F of a rectifier and of the identity, with these
        factors.
    gain : float
    """

    def __init__(self, slope=0.0, gain=1.0):
        share = 1 + slope**2
        self.rectifier_share = (1 - slope) ** 2 / share
        self.identity_share = 2 * slope / share
        self.gain = gain

    def dual(self, om, op, a, c, xp, *, gradient=False):
        """Return the Dual of a layer."""
        rectifier, identity = self.rectifier_share, self.identity_share
        smaller = 2 * xp.asin(xp.sqrt(xp.minimum(om, op) / 2))
        theta = xp.where(om <= op, smaller, np.pi - smaller)
        supplement = xp.where(om <= op, np.pi - smaller, smaller)
        cos, sin = covariance(om, op, xp.ones_like(om), xp), xp.sqrt(om * op)
        # θ cos θ − sin θ and (π − θ) cos θ + sin θ vanish as third powers of the angles
        theta_term = xp.where(theta < _SMALL_ANGLE, -_cubic(theta), theta * cos - sin)
        supplement_term = xp.where(
            supplement < _SMALL_ANGLE, _cubic(supplement), supplement * cos + sin
        )
        r, g = xp.sqrt(a * c), self.gain
        dual = Dual(
            value=g * r * (rectifier / np.pi * supplement_term + identity * cos),
            slope=g * (rectifier / np.pi * supplement + identity),
            gap=rectifier * (om + theta_term / np.pi) + identity * om,
            a=g * a,
            c=g * c,
        )
        if gradient:
            # ∂²F/∂K² is unbounded at θ = 0 and π, where its factors vanish
            bounded = (sin > float(xp.finfo(sin.dtype).eps) ** 0.5) & (r > 0)
            r_sin = xp.where(bounded, r * sin, xp.ones_like(r))
            factor = g * rectifier / np.pi
            twice_a = 2 * xp.where(a > 0, a, xp.ones_like(a))
            dual.second = xp.where(bounded, factor / r_sin, xp.zeros_like(r_sin))
            dual.in_a = factor * r * sin / twice_a
            dual.mixed = -r * cos * dual.second / twice_a
            dual.growth = self.gain * xp.ones_like(a)
        return dual


def _cubic(angle):
    """Return sin θ − θ cos θ for a small θ."""
    square = angle * angle
    return angle * square * (1 / 3 - square * (1 / 30 - square / 840))


class Erf(DualActivation):
    """The error function erf(u)."""

    def dual(self, om, op, a, c, xp, *, gradient=False):
        """Return the Dual of a layer."""
        r = xp.sqrt(a * c)
        K = covariance(om, op, r, xp)
        # (1 + 2a)(1 + 2c) − 4K² as a sum of positive terms
        determinant = 1 + 2 * (a + c) + 4 * r * r * om * op
        root = xp.sqrt(determinant)
        F = 2 / np.pi * xp.atan2(2 * K, root)
        a1, c1 = (2 / np.pi * xp.atan2(2 * v, xp.sqrt(1 + 4 * v)) for v in (a, c))
        norm = xp.sqrt(a1 * c1)
        gap = 1 - F / xp.where(norm > 0, norm, xp.ones_like(norm))
        dual = Dual(value=F, slope=4 / np.pi / root, gap=gap, a=a1, c=c1)
        if gradient:
            cube = determinant * root
            dual.in_a = -4 / np.pi * K / ((1 + 2 * a) * root)
            dual.second = 16 / np.pi * K / cube
            dual.mixed = -4 / np.pi * (1 + 2 * c) / cube
            dual.growth = 4 / np.pi / ((1 + 2 * a) * xp.sqrt(1 + 4 * a))
        return dual


class Sine(DualActivation):
    """The sine of u."""

    def _exponentials(self, K, a, c, xp):
        """Return exp(K − m) / 2 and exp(−K − m) / 2 with m = (a + c) / 2."""
        mean = (a + c) / 2
        return xp.exp(K - mean) / 2, xp.exp(-K - mean) / 2

    def value(self, K, a, c, xp):
        """Return F = exp(−(a + c) / 2) sinh K."""
        positive, negative = self._exponentials(K, a, c, xp)
        return positive - negative

    def slope(self, K, a, c, xp):
        """Return ∂F/∂K = exp(−(a + c) / 2) cosh K."""
        positive, negative = self._exponentials(K, a, c, xp)
        return positive + negative

    def gradients(self, K, a, c, xp):
        """Return ∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a, a) in a."""
        F = self.value(K, a, c, xp)
        return -F / 2, F, -self.slope(K, a, c, xp) / 2, xp.exp(-2 * a)


class Hermite(DualActivation):
    """The Hermite polynomial of a degree, of inputs scaled to unit variance.

    With E[f²] = 1 it has F = cos^degree, cos = K / √(ac).
    """

    def __init__(self, degree=2):
        self.degree = degree

    def _cos(self, K, a, c, xp):
        """Return cos = K / r and r = √(ac), or 1 where that is 0."""
        r = xp.sqrt(a * c)
        r = xp.where(r > 0, r, xp.ones_like(r))
        return K / r, r

    def value(self, K, a, c, xp):
        """Return F = cos^degree."""
        return self._cos(K, a, c, xp)[0] ** self.degree

    def slope(self, K, a, c, xp):
        """Return ∂F/∂K."""
        cos, r = self._cos(K, a, c, xp)
        return self.degree * cos ** (self.degree - 1) / r

    def gradients(self, K, a, c, xp):
        """Return ∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a, a) in a."""
        k, (cos, r) = self.degree, self._cos(K, a, c, xp)
        twice_a = 2 * xp.where(a > 0, a, xp.ones_like(a))
        second = k * (k - 1) * cos ** max(k - 2, 0) / (r * r)
        mixed = -k * k * cos ** (k - 1) / (twice_a * r)
        return -k * cos**k / twice_a, second, mixed, xp.zeros_like(a)


_NAMED = {"relu": Relu, "erf": Erf, "sin": Sine}


def get_activation(activation: str | DualActivation) -> DualActivation:
    """Return the DualActivation of a name, or a DualActivation unchanged.

    Names are "relu", "leaky_relu" and "leaky_relu(slope)", "erf", "sin" and
    "hermite(degree)".
    """
    if isinstance(activation, DualActivation):
        return activation
    found = _named_activation(activation) if isinstance(activation, str) else None
    if found is None:
        raise ValueError(
            'activation must be "relu", "leaky_relu", "leaky_relu(0.2)", "erf", "sin", '
            f'"hermite(2)" or a DualActivation; got {activation!r}.'
        )
    return found


def _named_activation(text):
    """Return the activation of a name with its argument in brackets, or None."""
    name, _, argument = text.rstrip(")").partition("(")
    try:
        if name in _NAMED and argument == "":
            return _NAMED[name]()
        if name == "leaky_relu":
            slope = float(argument) if argument else 0.01
            return Relu(slope=slope) if 0 <= slope < np.inf else None
        if name == "hermite":
            degree = int(argument)
            return Hermite(degree) if degree >= 1 else None
    except ValueError:
        return None
    return None
