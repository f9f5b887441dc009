"""Matrix completion."""

from ._entry_regressor import EntryRegressor
from ._inpainting import CNTKInpainter
from ._lin_rfm import LinRFMCompleter
from ._ntk import NTKMatrixCompleter

__all__ = ["CNTKInpainter", "EntryRegressor", "LinRFMCompleter", "NTKMatrixCompleter"]
