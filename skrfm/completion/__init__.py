"""Matrix completion."""

from ._drug_screen import profile_scores, screen_priors, within_cell_splits
from ._entry_regressor import EntryRegressor
from ._inpainting import CNTKInpainter
from ._lin_rfm import LinRFMCompleter
from ._ntk import NTKMatrixCompleter

__all__ = [
    "CNTKInpainter",
    "EntryRegressor",
    "LinRFMCompleter",
    "NTKMatrixCompleter",
    "profile_scores",
    "screen_priors",
    "within_cell_splits",
]
