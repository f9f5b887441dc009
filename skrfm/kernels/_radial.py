"""Kernels of the Euclidean distance."""

from ._base import PowerExponential, RadialKernel, check_range


class Laplace(PowerExponential, RadialKernel):
    """The kernel exp(−‖t − z‖₂ / L).

    This is the kernel of the Euclidean distance. What scikit-learn calls
    ``laplacian`` is the kernel of the L1 distance, here `L1Laplace`.

    Examples
    --------
    >>> from skrfm.kernels import Laplace
    >>> Laplace()
    Laplace()
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
    >>> GeneralizedLaplace(exponent=0.7)
    GeneralizedLaplace(exponent=0.7)
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
    >>> Gaussian()
    Gaussian()
    """

    def _profile(self, bandwidth):
        return 0.5 * bandwidth**-2, 1.0, 2.0
