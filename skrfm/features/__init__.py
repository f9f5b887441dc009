"""Features of any estimator, learned from its gradients."""

from .._sklearn import set_public_module
from ._estimator import RecursiveFeatures

__all__ = ["RecursiveFeatures"]

set_public_module(__name__, RecursiveFeatures)
