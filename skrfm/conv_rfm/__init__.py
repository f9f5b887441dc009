"""The convolutional Recursive Feature Machine, as a regressor and a classifier."""

from .._sklearn import set_public_module
from ._estimators import ConvRFMClassifier, ConvRFMRegressor

__all__ = ["ConvRFMClassifier", "ConvRFMRegressor"]

set_public_module(__name__, ConvRFMClassifier, ConvRFMRegressor)
