"""Dual activations: what a wide layer does to the covariance of its inputs.

For preactivations of variances a and c and covariance K a layer with activation f has
F = E[f f'], and the derivative of F in K is E[f' f']. Covariances come and go as gaps:
with r = √(ac), om = 1 − K / r and op = 1 + K / r, each without cancellation, keep the
digits of rows that are nearly parallel.
"""

from dataclasses import dataclass

import numpy as np

# angles below this are put into the series of what would cancel
_SMALL_ANGLE = 0.01


@dataclass
class Dual:
    """F and its derivatives; `gap` is 1 − F / √(F(a, a) F(c, c)).

    `in_a` is ∂F/∂a, `second` ∂²F/∂K², `mixed` ∂²F/∂K∂a and `growth` the derivative of
    F(a, a) in a; they are None where no gradient was asked for.
    """

    value: object
    slope: object
    gap: object
    a: object
    c: object
    in_a: object = None
    second: object = None
    mixed: object = None
    growth: object = None


def covariance(om, op, r, xp):
    """Return K = r (1 − om) = r (op − 1), from the smaller gap."""
    return xp.where(om <= op, r - r * om, r * op - r)


class DualActivation:
    """Base class of activations of one's own.

    A subclass defines `value` and `slope` for arrays that broadcast, in functions of
    the namespace xp; for gradients also `gradients`.
    """

    def value(self, K, a, c, xp):
        """Return F(K, a, c) = E[f(u) f(v)], u and v normal with these moments."""
        raise NotImplementedError

    def slope(self, K, a, c, xp):
        """Return ∂F/∂K."""
        raise NotImplementedError

    def gradients(self, K, a, c, xp):
        """Return ∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a, a) in a."""
        raise NotImplementedError(
            f"{type(self).__name__} has no method `gradients`, which the average "
            "gradient outer product needs."
        )

    def dual(self, om, op, a, c, xp, gradient=False):
        """Return the Dual of a layer."""
        r = xp.sqrt(a * c)
        K = covariance(om, op, r, xp)
        F, a1, c1 = (self.value(*m, xp) for m in ((K, a, c), (a, a, a), (c, c, c)))
        root = xp.sqrt(a1 * c1)
        gap = 1 - F / xp.where(root > 0, root, xp.ones_like(root))
        more = self.gradients(K, a, c, xp) if gradient else ()
        return Dual(F, self.slope(K, a, c, xp), gap, a1, c1, *more)


class Relu(DualActivation):
    """max(u, slope · u), scaled by √(2 gain / (1 + slope²)): F(a, a) = gain · a.

    `shares` are those of the rectifier and of the identity in F.
    """

    def __init__(self, slope=0.0, gain=1.0):
        share = 1 + slope**2
        self.shares = (1 - slope) ** 2 / share, 2 * slope / share
        self.gain = gain

    def dual(self, om, op, a, c, xp, gradient=False):
        """Return the Dual of a layer."""
        bent, straight = self.shares
        near = 2 * xp.asin(xp.sqrt(xp.minimum(om, op) / 2))
        theta = xp.where(om <= op, near, np.pi - near)
        rest = xp.where(om <= op, np.pi - near, near)
        cos, sin = covariance(om, op, xp.ones_like(om), xp), xp.sqrt(om * op)
        # θ cos θ − sin θ and (π − θ) cos θ + sin θ, which vanish like third powers
        short = xp.where(theta < _SMALL_ANGLE, -_cubic(theta), theta * cos - sin)
        long = xp.where(rest < _SMALL_ANGLE, _cubic(rest), rest * cos + sin)
        r, g = xp.sqrt(a * c), self.gain
        dual = Dual(
            value=g * r * (bent / np.pi * long + straight * cos),
            slope=g * (bent / np.pi * rest + straight),
            gap=bent * (om + short / np.pi) + straight * om,
            a=g * a,
            c=g * c,
        )
        if gradient:
            self._add_gradients(dual, g * bent / np.pi, cos, sin, r, a, xp)
        return dual

    def _add_gradients(self, dual, factor, cos, sin, r, a, xp):
        some = xp.where(a > 0, a, xp.ones_like(a))
        # without bound at θ = 0 and π, where it meets factors that vanish
        bounded = sin > float(xp.finfo(sin.dtype).eps) ** 0.5
        bounded = bounded & (r > 0)
        turn = xp.where(bounded, r * sin, xp.ones_like(r))
        dual.second = xp.where(bounded, factor / turn, xp.zeros_like(turn))
        dual.in_a = factor * r * sin / (2 * some)
        dual.mixed = -r * cos * dual.second / (2 * some)
        dual.growth = self.gain * xp.ones_like(a)


def _cubic(angle):
    """Return sin θ − θ cos θ for a small θ."""
    square = angle * angle
    return angle * square * (1 / 3 - square * (1 / 30 - square / 840))


class Erf(DualActivation):
    """The error function erf(u)."""

    def dual(self, om, op, a, c, xp, gradient=False):
        """Return the Dual of a layer."""
        r = xp.sqrt(a * c)
        K = covariance(om, op, r, xp)
        # (1 + 2a)(1 + 2c) − 4K², in terms that are all positive
        spread = 1 + 2 * (a + c) + 4 * r * r * om * op
        root = xp.sqrt(spread)
        F = 2 / np.pi * xp.atan2(2 * K, root)
        a1, c1 = (2 / np.pi * xp.atan2(2 * v, xp.sqrt(1 + 4 * v)) for v in (a, c))
        size = xp.sqrt(a1 * c1)
        gap = 1 - F / xp.where(size > 0, size, xp.ones_like(size))
        dual = Dual(F, 4 / np.pi / root, gap, a1, c1)
        if gradient:
            cube = spread * root
            dual.in_a = -4 / np.pi * K / ((1 + 2 * a) * root)
            dual.second = 16 / np.pi * K / cube
            dual.mixed = -4 / np.pi * (1 + 2 * c) / cube
            dual.growth = 4 / np.pi / ((1 + 2 * a) * xp.sqrt(1 + 4 * a))
        return dual


class Sine(DualActivation):
    """The sine of u."""

    def _exponentials(self, K, a, c, xp):
        middle = (a + c) / 2
        return xp.exp(K - middle) / 2, xp.exp(-K - middle) / 2

    def value(self, K, a, c, xp):
        """exp(−(a + c) / 2) sinh K."""
        one, other = self._exponentials(K, a, c, xp)
        return one - other

    def slope(self, K, a, c, xp):
        """exp(−(a + c) / 2) cosh K."""
        one, other = self._exponentials(K, a, c, xp)
        return one + other

    def gradients(self, K, a, c, xp):
        """∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a) in a."""
        F = self.value(K, a, c, xp)
        return -F / 2, F, -self.slope(K, a, c, xp) / 2, xp.exp(-2 * a)


class Hermite(DualActivation):
    """The Hermite polynomial of a degree, of the inputs at unit variance.

    With cos = K / √(ac) and E[f²] = 1, F = cos^degree.
    """

    def __init__(self, degree=2):
        self.degree = degree

    def _cos(self, K, a, c, xp):
        r = xp.sqrt(a * c)
        r = xp.where(r > 0, r, xp.ones_like(r))
        return K / r, r

    def value(self, K, a, c, xp):
        """cos^degree."""
        return self._cos(K, a, c, xp)[0] ** self.degree

    def slope(self, K, a, c, xp):
        """∂F/∂K."""
        cos, r = self._cos(K, a, c, xp)
        return self.degree * cos ** (self.degree - 1) / r

    def gradients(self, K, a, c, xp):
        """∂F/∂a, ∂²F/∂K², ∂²F/∂K∂a and the derivative of F(a, a) in a."""
        k, (cos, r) = self.degree, self._cos(K, a, c, xp)
        twice = 2 * xp.where(a > 0, a, xp.ones_like(a))
        second = k * (k - 1) * cos ** max(k - 2, 0) / (r * r)
        mixed = -k * k * cos ** (k - 1) / (twice * r)
        return -k * cos**k / twice, second, mixed, xp.zeros_like(a)


_NAMED = {"relu": Relu, "erf": Erf, "sin": Sine}


def get_activation(activation):
    """Return a DualActivation, given one, or by its name.

    Names are "relu", "leaky_relu" and "leaky_relu(slope)", "erf", "sin" and
    "hermite(degree)".
    """
    if isinstance(activation, DualActivation):
        return activation
    if isinstance(activation, str):
        name, _, argument = activation.rstrip(")").partition("(")
        try:
            if name in _NAMED and not argument:
                return _NAMED[name]()
            if name == "leaky_relu" and 0 <= float(argument or 0.01) < np.inf:
                return Relu(slope=float(argument or 0.01))
            if name == "hermite" and int(argument) >= 1:
                return Hermite(int(argument))
        except ValueError:
            pass
    raise ValueError(
        'activation must be "relu", "leaky_relu", "leaky_relu(0.2)", "erf", "sin", '
        f'"hermite(2)" or a DualActivation; got {activation!r}.'
    )
