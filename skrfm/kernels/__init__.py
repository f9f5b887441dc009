"""Kernel functions, by name or as objects that hold their shape parameters.

A string such as ``"laplace"`` stands for the object with default parameters; a
search over ``kernel__exponent`` needs the object, for a string has no parameters.
"""

from .._sklearn import set_public_module
from ._base import InnerProductKernel, Kernel, RadialKernel
from ._convolutional import CNTK
from ._coordinate import L1Laplace, LpqLaplace
from ._duals import DualActivation
from ._radial import Gaussian, GeneralizedLaplace, Laplace
from ._tangent import NNGP, NTK

__all__ = [
    "CNTK",
    "NNGP",
    "NTK",
    "DualActivation",
    "Gaussian",
    "GeneralizedLaplace",
    "InnerProductKernel",
    "Kernel",
    "L1Laplace",
    "Laplace",
    "LpqLaplace",
    "RadialKernel",
    "get_kernel",
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


def get_kernel(kernel):
    """Return a validated kernel object.

    Parameters
    ----------
    kernel : str or Kernel
        One of ``"laplace"``, ``"generalized_laplace"``, ``"gaussian"``,
        ``"l1_laplace"``, ``"lpq_laplace"``, ``"ntk"``, ``"nngp"``, or a kernel object.

    Returns
    -------
    Kernel

    Examples
    --------
    >>> from skrfm.kernels import get_kernel
    >>> get_kernel("gaussian")
    Gaussian()
    """
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            hint = ""
            if kernel == "laplacian":
                hint = (
                    ' scikit-learn\'s "laplacian" is "l1_laplace" here (with bandwidth '
                    '= 1/gamma); "laplace" is the kernel of the Euclidean distance.'
                )
            elif kernel in ("rbf", "precomputed"):
                hint = {
                    "rbf": ' scikit-learn\'s "rbf" is "gaussian" here.',
                    "precomputed": " The AGOP needs the gradients of the kernel, which "
                    "a precomputed matrix does not have.",
                }[kernel]
            raise ValueError(
                f"Unknown kernel {kernel!r}: pass one of {sorted(KERNELS)} or an "
                f"object from skrfm.kernels.{hint}"
            )
        kernel = KERNELS[kernel]()
    elif not isinstance(kernel, Kernel):
        raise ValueError(
            f"kernel must be a name or an object from skrfm.kernels, got {kernel!r}."
        )
    kernel.validate()
    return kernel


set_public_module(
    __name__,
    CNTK,
    NNGP,
    NTK,
    DualActivation,
    Gaussian,
    GeneralizedLaplace,
    InnerProductKernel,
    Kernel,
    L1Laplace,
    Laplace,
    LpqLaplace,
    RadialKernel,
    get_kernel,
)
