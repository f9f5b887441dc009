"""Kernel functions, by name or as objects that hold their shape parameters.

A name such as ``"laplace"`` stands for the object with default parameters. A search
over ``kernel__exponent`` needs the object, since a string has no parameters.
"""

from .._sklearn import set_public_module
from ._base import InnerProductKernel, Kernel, RadialKernel
from ._convolutional import CNTK
from ._distance import Gaussian, GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace
from ._duals import DualActivation
from ._infinite_depth import (
    InfiniteDepthLimit,
    infinite_depth_limit,
    singular_activation,
)
from ._singular_classifier import SingularKernelClassifier
from ._tangent import NNGP, NTK

__all__ = [
    "CNTK",
    "NNGP",
    "NTK",
    "DualActivation",
    "Gaussian",
    "GeneralizedLaplace",
    "InfiniteDepthLimit",
    "InnerProductKernel",
    "Kernel",
    "L1Laplace",
    "Laplace",
    "LpqLaplace",
    "RadialKernel",
    "SingularKernelClassifier",
    "get_kernel",
    "infinite_depth_limit",
    "singular_activation",
]

#: the kernels that have a name
KERNELS = {
    "laplace": Laplace,
    "generalized_laplace": GeneralizedLaplace,
    "gaussian": Gaussian,
    "l1_laplace": L1Laplace,
    "lpq_laplace": LpqLaplace,
    "nngp": NNGP,
    "ntk": NTK,
}

# what to do instead, for names of scikit-learn
_HINTS = {
    "laplacian": 'scikit-learn\'s "laplacian" is "l1_laplace" here (with bandwidth = '
    '1/gamma); "laplace" is the kernel of the Euclidean distance.',
    "rbf": 'scikit-learn\'s "rbf" is "gaussian" here.',
    "precomputed": "The AGOP needs the gradients of the kernel, which a precomputed "
    "matrix does not have.",
}


def get_kernel(kernel: str | Kernel) -> Kernel:
    """Return a validated kernel object.

    Parameters
    ----------
    kernel : str or Kernel
        One of ``"laplace"``, ``"generalized_laplace"``, ``"gaussian"``,
        ``"l1_laplace"``, ``"lpq_laplace"``, ``"ntk"``, ``"nngp"``, or a kernel object.

    Returns
    -------
    Kernel
        The object itself, or a new one with the default parameters.

    Examples
    --------
    >>> from skrfm.kernels import get_kernel
    >>> get_kernel("gaussian")
    Gaussian()
    """
    found = _named_kernel(kernel) if isinstance(kernel, str) else kernel
    if not isinstance(found, Kernel):
        raise ValueError(
            f"kernel must be a name or an object from skrfm.kernels, got {kernel!r}."
        )
    found.validate()
    return found


def _named_kernel(name):
    """Return the kernel of a name, with default parameters."""
    if name not in KERNELS:
        message = (
            f"Unknown kernel {name!r}: pass one of {sorted(KERNELS)} or an object "
            f"from skrfm.kernels. {_HINTS.get(name, '')}"
        )
        raise ValueError(message.rstrip())
    return KERNELS[name]()


set_public_module(
    __name__,
    CNTK,
    NNGP,
    NTK,
    DualActivation,
    Gaussian,
    GeneralizedLaplace,
    InfiniteDepthLimit,
    InnerProductKernel,
    Kernel,
    L1Laplace,
    Laplace,
    LpqLaplace,
    RadialKernel,
    SingularKernelClassifier,
    get_kernel,
    infinite_depth_limit,
    singular_activation,
)
