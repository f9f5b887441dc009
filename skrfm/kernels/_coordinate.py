"""Kernels of the L1 and Lp distances, whose gradient works coordinate by coordinate."""

from ._base import Kernel, PowerExponential, check_range


class L1Laplace(PowerExponential, Kernel):
    """The kernel exp(−‖t − z‖₁ / L).

    scikit-learn's ``laplacian`` with ``gamma = 1 / L``.

    Examples
    --------
    >>> from skrfm.kernels import L1Laplace
    >>> L1Laplace()
    L1Laplace()
    """

    norm_order = 1
    coordinatewise = True

    def _profile(self, bandwidth):
        return 1 / bandwidth, 1.0, 1.0


class LpqLaplace(PowerExponential, Kernel):
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
    >>> LpqLaplace(p=1.2)
    LpqLaplace(p=1.2)
    """

    coordinatewise = True

    def __init__(self, p=1.5, q=1.0):
        self.p = p
        self.q = q

    @property
    def norm_order(self):
        """Order p of the norm."""
        return self.p

    def validate(self):
        """Raise ValueError unless 1 <= p <= 2 and 0 < q <= p."""
        check_range(self, "p", 1, 2)
        check_range(self, "q", 0, self.p, closed_low=False)

    def _profile(self, bandwidth):
        return bandwidth**-self.p, self.q / self.p, self.q
