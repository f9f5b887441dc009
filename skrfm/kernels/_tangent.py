"""Kernels of infinitely wide, fully connected networks: NTK and NNGP."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from .. import _jit
from .._backend import Array, Namespace
from ._base import InnerProductKernel
from ._duals import Relu, covariance, get_activation


@dataclass(kw_only=True)
class _LayerState:
    """Covariances and kernels after some layers of a network.

    Attributes
    ----------
    om, op : arrays
        The gaps 1 − K / √(ac) and 1 + K / √(ac).
    a, c : arrays
        Variances of the first and the second argument.
    K : array
        Covariance, which is the NNGP kernel.
    T : array
        The tangent kernel.
    K_K, T_K : arrays or None
        Derivatives of K and T with respect to the covariance of the inputs; None
        without gradients, as the next ones.
    K_a, T_a, a_a : arrays or None
        Derivatives of K, T and a with respect to the variance of the first input.
    """

    om: Array
    op: Array
    a: Array
    c: Array
    K: Array
    T: Array
    K_K: Array | None = None
    K_a: Array | None = None
    T_K: Array | None = None
    T_a: Array | None = None
    a_a: Array | None = None


class _WideNetwork(InnerProductKernel):
    """Base class of the kernels of fully connected networks."""

    #: whether all layers are trained, or the last one only
    _tangent = False

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

    def _first(self, om, op, a, c, xp, *, gradient):
        """Return the _LayerState of the inputs."""
        K = covariance(om, op, xp.sqrt(a * c), xp)
        state = _LayerState(om=om, op=op, a=a, c=c, K=K, T=K)
        if gradient:
            zero, one = xp.zeros_like(K), xp.ones_like(K)
            state.K_K, state.T_K, state.a_a = one, one, xp.ones_like(a)
            state.K_a = state.T_a = zero
        return state

    def _layers(self, om, op, a, c, xp, *, gradient=False):
        """Return the _LayerState after all layers."""
        s = self._first(om, op, a, c, xp, gradient=gradient)
        activation, square = get_activation(self.activation), self.bias**2
        for _ in range(self.depth):
            dual = activation.dual(s.om, s.op, s.a, s.c, xp, gradient=gradient)
            if gradient:
                _apply_chain_rule(s, dual)
            s.K = dual.value + square
            s.T = s.K + s.T * dual.slope
            s.om = _gap_with_bias(dual, square, xp) if square > 0 else dual.gap
            s.op = 2 - s.om
            s.a, s.c = dual.a + square, dual.c + square
        return s

    def augment(self, X: Array, bandwidth: float, xp: Namespace) -> Array:
        """Return rows whose inner products are the covariances of the first layer."""
        X = X / bandwidth
        if self.bias == 0:
            return X
        return xp.concat([X, self.bias * xp.ones_like(X[:, :1])], axis=1)

    def _result(self, state):
        """Return the value and its derivatives by covariance and by variance."""
        if self._tangent:
            return state.T, state.T_K, state.T_a
        return state.K, state.K_K, state.K_a

    def network(self) -> tuple | None:
        """Return the parameters of compiled code, None for other than rectifiers.

        They are (depth, share of the rectifier, share of the identity, gain, square of
        the bias, whether it is a tangent kernel).
        """
        activation = get_activation(self.activation)
        # not a subclass, which may have a dual of its own
        if type(activation) is not Relu:
            return None
        return (
            int(self.depth),
            activation.rectifier_share,
            activation.identity_share,
            float(activation.gain),
            float(self.bias) ** 2,
            self._tangent,
        )

    def of_angles(
        self, om: Array, op: Array, a: Array, c: Array, xp: Namespace
    ) -> Array:
        """Return the kernel of rows of square norms a, c, with om, op = 1 ∓ cos."""
        return self._result(self._layers(om, op, a, c, xp))[0]

    def gradient_of_angles(
        self, om: Array, op: Array, a: Array, c: Array, xp: Namespace
    ) -> tuple[Array, Array, Array]:
        """Return the kernel and its derivatives by covariance and by variance."""
        return self._result(self._layers(om, op, a, c, xp, gradient=True))

    def of_cosines(self, cosines: np.ndarray) -> np.ndarray:
        """Return the kernel of pairs of unit vectors, at bandwidth 1.

        Parameters
        ----------
        cosines : ndarray of any shape
            Inner products of the vectors, clipped to [−1, 1].

        Returns
        -------
        ndarray of the same shape
        """
        network = self.network()
        if network is not None:
            values = np.array(cosines, ndmin=2)  # overwritten by the compiled loops
            _jit.cosine_values(values, network)
            return values.reshape(np.shape(cosines))
        cosines = np.clip(cosines, -1, 1)
        square = self.bias**2
        one = np.ones_like(cosines) * (1 + square)
        om = (1 - cosines) / (1 + square)
        op = 2 - om if square > 0 else 1 + cosines
        return self.of_angles(om, op, one, one, np)


def _gap_with_bias(dual, square, xp):
    """Return 1 − (F + b²) / √((a + b²)(c + b²)) without cancellation."""
    inner = xp.sqrt(dual.a * dual.c)
    outer = xp.sqrt((dual.a + square) * (dual.c + square))
    imbalance = square * (xp.sqrt(dual.a) - xp.sqrt(dual.c)) ** 2
    return (imbalance / (outer + inner + square) + inner * dual.gap) / outer


def _apply_chain_rule(s, dual):
    """Update the derivatives of a _LayerState; its values are still those before."""
    slope_K = dual.second * s.K_K
    slope_a = dual.second * s.K_a + dual.mixed * s.a_a
    K_K, K_a = dual.slope * s.K_K, dual.slope * s.K_a + dual.in_a * s.a_a
    s.T_K = K_K + s.T_K * dual.slope + s.T * slope_K
    s.T_a = K_a + s.T_a * dual.slope + s.T * slope_a
    s.K_K, s.K_a = K_K, K_a
    s.a_a = s.a_a * dual.growth


class NTK(_WideNetwork):
    """The neural tangent kernel of an infinitely wide, fully connected network.

    It is the kernel of gradient descent on all layers. Rows are divided by the
    bandwidth first. Without a bias, the kernel of x and z is ‖x‖ ‖z‖ times a function
    of their angle, and depth + 1 for equal unit vectors. It is not a function of their
    difference, so estimators subtract the mean from the rows first.

    Parameters
    ----------
    depth : int, default=1
        Number of hidden layers, each with its activation.
    activation : str or DualActivation, default="relu"
        ``"relu"``, ``"leaky_relu(0.2)"``, ``"erf"``, ``"sin"``, ``"hermite(2)"`` with
        the slope or the degree in brackets, or an object. Rectifiers are scaled to
        keep the variance; a Hermite polynomial scales its inputs to unit variance.
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
    """The kernel of an infinitely wide network whose last layer alone is trained.

    It is the covariance of the outputs of a random network, a Gaussian process.

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
