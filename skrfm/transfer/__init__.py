"""Transfer learning by projection and translation."""

from .._sklearn import set_public_module
from ._estimator import TransferKernel

__all__ = ["TransferKernel"]

set_public_module(__name__, TransferKernel)
