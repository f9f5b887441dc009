"""Sparse linear regression by a linear Recursive Feature Machine."""

from .._sklearn import set_public_module
from ._estimator import LinRFMRegressor

__all__ = ["LinRFMRegressor"]

set_public_module(__name__, LinRFMRegressor)
