"""skrfm: Recursive Feature Machines for scikit-learn.

Modules are imported when one of their names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        agop,
        completion,
        conv_rfm,
        exceptions,
        features,
        inspection,
        kernels,
        lin_rfm,
        rfm,
        solvers,
        transfer,
        xrfm,
    )
    from .completion import (
        CNTKInpainter,
        EntryRegressor,
        LinRFMCompleter,
        MatrixCompleter,
        NTKMatrixCompleter,
    )
    from .conv_rfm import ConvRFMClassifier, ConvRFMRegressor
    from .features import RecursiveFeatures
    from .kernels import SingularKernelClassifier
    from .lin_rfm import LinRFMRegressor
    from .rfm import RFMClassifier, RFMClassifierCV, RFMRegressor, RFMRegressorCV
    from .transfer import TransferKernel
    from .xrfm import XRFMClassifier, XRFMRegressor

__version__ = "0.1.0.dev0"

__all__ = [
    "CNTKInpainter",
    "ConvRFMClassifier",
    "ConvRFMRegressor",
    "EntryRegressor",
    "LinRFMCompleter",
    "LinRFMRegressor",
    "MatrixCompleter",
    "NTKMatrixCompleter",
    "RFMClassifier",
    "RFMClassifierCV",
    "RFMRegressor",
    "RFMRegressorCV",
    "RecursiveFeatures",
    "SingularKernelClassifier",
    "TransferKernel",
    "XRFMClassifier",
    "XRFMRegressor",
    "agop",
    "completion",
    "conv_rfm",
    "exceptions",
    "features",
    "inspection",
    "kernels",
    "lin_rfm",
    "rfm",
    "solvers",
    "transfer",
    "xrfm",
]

_MODULE_OF = {
    "CNTKInpainter": "completion",
    "ConvRFMClassifier": "conv_rfm",
    "ConvRFMRegressor": "conv_rfm",
    "EntryRegressor": "completion",
    "LinRFMCompleter": "completion",
    "LinRFMRegressor": "lin_rfm",
    "MatrixCompleter": "completion",
    "NTKMatrixCompleter": "completion",
    "RFMClassifier": "rfm",
    "RFMClassifierCV": "rfm",
    "RFMRegressor": "rfm",
    "RFMRegressorCV": "rfm",
    "RecursiveFeatures": "features",
    "SingularKernelClassifier": "kernels",
    "TransferKernel": "transfer",
    "XRFMClassifier": "xrfm",
    "XRFMRegressor": "xrfm",
}


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*__all__, "__version__"]
