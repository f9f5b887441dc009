"""skrfm: Recursive Feature Machines for scikit-learn."""

from . import kernels
from .completion import EntryRegressor, LinRFMCompleter
from .rfm import RFMClassifier, RFMRegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "EntryRegressor",
    "LinRFMCompleter",
    "RFMClassifier",
    "RFMRegressor",
    "kernels",
]
