"""The kernels that several test files share."""

from skrfm.kernels import (
    NNGP,
    NTK,
    Gaussian,
    GeneralizedLaplace,
    L1Laplace,
    Laplace,
    LpqLaplace,
    RadialKernel,
)


class Cauchy(RadialKernel):
    """A kernel as a user writes it: two methods in array code."""

    def value(self, u, bandwidth, xp):
        return 1 / (1 + u / bandwidth**2)

    def slope(self, u, k, bandwidth, xp):
        return -2 / bandwidth**2 * k**2


#: kernels of the Euclidean distance, with exponents below, at and above 1
RADIAL = [
    Laplace(),
    GeneralizedLaplace(exponent=0.7),
    GeneralizedLaplace(exponent=1.4),
    Gaussian(),
]
#: kernels of other distances; compiled code treats p = 1 and p = 1.5 separately
COORDINATEWISE = [L1Laplace(), LpqLaplace(p=1.3, q=0.9), LpqLaplace(p=1.5)]
DISTANCE = RADIAL + COORDINATEWISE
#: kernels of inner products, with and without biases
NETWORK = [NTK(depth=2), NTK(depth=2, bias=0.4), NNGP(depth=3, bias=0.2)]
KERNELS = DISTANCE + NETWORK

#: kernels of a distance at the limits of their parameters, for tests of the formulas
DISTANCE_SHAPES = [
    Laplace(),
    GeneralizedLaplace(exponent=0.5),
    GeneralizedLaplace(exponent=1.0),
    GeneralizedLaplace(exponent=1.4),
    GeneralizedLaplace(exponent=2.0),
    Gaussian(),
    L1Laplace(),
    LpqLaplace(p=1.0, q=0.5),
    LpqLaplace(p=1.0, q=1.0),
    LpqLaplace(p=1.3, q=0.65),
    LpqLaplace(p=1.3, q=1.0),
    LpqLaplace(p=1.5, q=1.0),
    LpqLaplace(p=1.3, q=1.3),
    LpqLaplace(p=2.0, q=0.7),
    LpqLaplace(p=2.0, q=1.0),
    LpqLaplace(p=2.0, q=2.0),
    Cauchy(),
]
