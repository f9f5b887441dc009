"""The kernel Recursive Feature Machine: regressor, classifier, and their search."""

from .._sklearn import set_public_module
from ._classifier import RFMClassifier
from ._cv._estimators import RFMClassifierCV, RFMRegressorCV
from ._regressor import RFMRegressor

__all__ = ["RFMClassifier", "RFMClassifierCV", "RFMRegressor", "RFMRegressorCV"]

set_public_module(
    __name__, RFMClassifier, RFMClassifierCV, RFMRegressor, RFMRegressorCV
)
