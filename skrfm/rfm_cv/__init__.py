"""RFM estimators that search their parameters at random, with rounds and folds."""

from .._sklearn import set_public_module
from ._estimators import RFMClassifierCV, RFMRegressorCV

__all__ = ["RFMClassifierCV", "RFMRegressorCV"]

set_public_module(__name__, RFMClassifierCV, RFMRegressorCV)
