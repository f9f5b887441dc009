"""The kernel Recursive Feature Machine as a regressor and a classifier."""

from .._sklearn import set_public_module
from ._classifier import RFMClassifier
from ._regressor import RFMRegressor

__all__ = ["RFMClassifier", "RFMRegressor"]

set_public_module(__name__, RFMClassifier, RFMRegressor)
