"""skrfm: Recursive Feature Machines for scikit-learn."""

from . import kernels
from .completion import (
    CNTKInpainter,
    EntryRegressor,
    LinRFMCompleter,
    NTKMatrixCompleter,
)
from .lin_rfm import LinRFMRegressor
from .rfm import RFMClassifier, RFMRegressor
from .rfm_cv import RFMClassifierCV, RFMRegressorCV
from .transfer import TransferKernel
from .xrfm import XRFMClassifier, XRFMRegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "CNTKInpainter",
    "EntryRegressor",
    "LinRFMCompleter",
    "LinRFMRegressor",
    "NTKMatrixCompleter",
    "RFMClassifier",
    "RFMClassifierCV",
    "RFMRegressor",
    "RFMRegressorCV",
    "TransferKernel",
    "XRFMClassifier",
    "XRFMRegressor",
    "kernels",
]
