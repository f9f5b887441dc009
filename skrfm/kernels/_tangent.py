"""Kernels of infinitely wide networks: the NTK and the NNGP kernel."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from ._base import InnerProductKernel
from ._duals import Relu, get_activation


@dataclass
class _Moments:
    """The covariance K of a layer, the sum T of the tangent kernel, and the variances.

    The derivatives are by the first covariance (`_K`) and by the first variance of the
    first argument (`_a`); they are None where no gradient was asked for.
    """

    om: object
    op: object
    a: object
    c: object
    K: object
    T: object
    K_K: object = None
    K_a: object = None
    T_K: object = None
    T_a: object = None
    a_a: object = None


class _WideNetwork(InnerProductKernel):
    """What the kernels of a fully connected network share."""

    def __init__(self, depth=1, activation="relu", bias=0.0):
        self.depth = depth
        self.activation = activation
        self.bias = bias

    def validate(self):
        """Raise ValueError if a parameter is out of range."""
        if not isinstance(self.depth, Integral) or self.depth < 1:
            raise ValueError(
                f"depth of {type(self).__name__} must be an integer of at least 1, "
                f"got {self.depth!r}."
            )
        if not isinstance(self.bias, Real) or not 0 <= self.bias < np.inf:
            raise ValueError(
                f"bias of {type(self).__name__} must be a number from 0 up, "
                f"got {self.bias!r}."
            )
        get_activation(self.activation)

    def _first(self, om, op, a, c, xp, gradient):
        r = xp.sqrt(a * c)
        K = xp.where(om <= op, r - r * om, r * op - r)
        moments = _Moments(om, op, a, c, K, K)
        if gradient:
            zero, one = xp.zeros_like(K), xp.ones_like(K)
            moments.K_K, moments.T_K, moments.a_a = one, one, xp.ones_like(a)
            moments.K_a = moments.T_a = zero
        return moments

    def _layers(self, om, op, a, c, xp, gradient=False):
        """Return the _Moments after all layers."""
        m, square = self._first(om, op, a, c, xp, gradient), self.bias**2
        activation = get_activation(self.activation)
        for _ in range(self.depth):
            dual = activation.dual(m.om, m.op, m.a, m.c, xp, gradient)
            if gradient:
                _chain(m, dual)
            m.K = dual.value + square
            m.T = m.K + m.T * dual.slope
            m.om = _gap_with_bias(dual, square, xp) if square else dual.gap
            m.op = 2 - m.om
            m.a, m.c = dual.a + square, dual.c + square
        return m

    def augment(self, X, bandwidth, xp):
        """Return rows whose inner products are the covariances of the first layer."""
        X = X / bandwidth
        if self.bias == 0:
            return X
        return xp.concat([X, self.bias * xp.ones_like(X[:, :1])], axis=1)

    #: whether all layers are trained, or only the last one
    _tangent = False

    def _result(self, moments):
        """Return (value, its derivatives by covariance and by variance)."""
        m = moments
        return (m.T, m.T_K, m.T_a) if self._tangent else (m.K, m.K_K, m.K_a)

    def network(self):
        """Return what compiled code knows a network of rectifiers by, or None."""
        activation = get_activation(self.activation)
        if type(activation) is not Relu:
            return None
        bent, straight = activation.shares
        rest = float(activation.gain), float(self.bias) ** 2, self._tangent
        return int(self.depth), bent, straight, *rest

    def of_angles(self, om, op, a, c, xp):
        """Return the kernel of rows of square norms a, c, with om, op = 1 ∓ cos."""
        return self._result(self._layers(om, op, a, c, xp))[0]

    def gradient_of_angles(self, om, op, a, c, xp):
        """Return (value, by_covariance, by_variance), the derivatives of the kernel."""
        return self._result(self._layers(om, op, a, c, xp, gradient=True))

    def of_cosines(self, cosines):
        """Return the kernel of unit vectors with these inner products.

        Parameters
        ----------
        cosines : ndarray of any shape

        Returns
        -------
        ndarray of that shape
        """
        cosines = np.clip(cosines, -1, 1)
        square = self.bias**2
        one = np.ones_like(cosines) * (1 + square)
        om = (1 - cosines) / (1 + square)
        return self.of_angles(om, 2 - om if square else 1 + cosines, one, one, np)


def _gap_with_bias(dual, square, xp):
    """Return 1 − (F + b²) / √((a + b²)(c + b²)) without cancellation."""
    inner = xp.sqrt(dual.a * dual.c)
    outer = xp.sqrt((dual.a + square) * (dual.c + square))
    uneven = square * (xp.sqrt(dual.a) - xp.sqrt(dual.c)) ** 2
    return (uneven / (outer + inner + square) + inner * dual.gap) / outer


def _chain(m, dual):
    """Take the derivatives of the moments through a layer, all from the old values."""
    slope_K = dual.second * m.K_K
    slope_a = dual.second * m.K_a + dual.mixed * m.a_a
    K_K, K_a = dual.slope * m.K_K, dual.slope * m.K_a + dual.in_a * m.a_a
    m.T_K = K_K + m.T_K * dual.slope + m.T * slope_K
    m.T_a = K_a + m.T_a * dual.slope + m.T * slope_a
    m.K_K, m.K_a = K_K, K_a
    m.a_a = m.a_a * dual.growth


class NTK(_WideNetwork):
    """The neural tangent kernel of an infinitely wide, fully connected network.

    It is the kernel of gradient descent on all layers. Rows are divided by the
    bandwidth first; without a bias the kernel of x and z is ‖x‖ ‖z‖ times a function
    of their angle, and depth + 1 for equal unit vectors. It is not a function of their
    difference: an RFM takes it of rows from which the mean was subtracted.

    Parameters
    ----------
    depth : int, default=1
        Number of hidden layers, each with its activation.
    activation : str or DualActivation, default="relu"
        ``"relu"``, ``"leaky_relu(0.2)"``, ``"erf"``, ``"sin"``, ``"hermite(2)"`` with
        the slope or the degree in brackets, or an object. Rectifiers are scaled to
        keep the variance; a Hermite polynomial is taken of inputs at unit variance.
    bias : float, default=0.0
        Standard deviation of the biases.

    References
    ----------
    A. Jacot, F. Gabriel and C. Hongler, "Neural tangent kernel: convergence and
    generalization in neural networks", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.kernels import NTK
    >>> NTK(depth=2).kernel_matrix(np.eye(2)).round(3)
    array([[3.   , 0.686],
           [0.686, 3.   ]])
    """

    _tangent = True


class NNGP(_WideNetwork):
    """The kernel of an infinitely wide network of which the last layer is trained.

    It is the covariance of the outputs of the random network, a Gaussian process.

    Parameters
    ----------
    depth : int, default=1
        Number of hidden layers, each with its activation.
    activation : str or DualActivation, default="relu"
        As in `NTK`.
    bias : float, default=0.0
        Standard deviation of the biases.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.kernels import NNGP
    >>> NNGP(depth=2).kernel_matrix(np.eye(2)).round(3)
    array([[1.   , 0.494],
           [0.494, 1.   ]])
    """
