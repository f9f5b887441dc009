"""XRFM: a tree of Recursive Feature Machines for large tables."""

from .._sklearn import set_public_module
from ._estimators import XRFMClassifier, XRFMRegressor

__all__ = ["XRFMClassifier", "XRFMRegressor"]

set_public_module(__name__, XRFMClassifier, XRFMRegressor)
