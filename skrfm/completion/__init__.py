"""Matrix completion."""

from .._sklearn import set_public_module
from ._choice._matrix_completer import MatrixCompleter
from ._entry_regressor import EntryRegressor
from ._images._inpainting import CNTKInpainter
from ._low_rank._lin_rfm import LinRFMCompleter
from ._ranking import rank_untested
from ._side_features._drug_screen import (
    profile_scores,
    screen_priors,
    within_cell_splits,
)
from ._side_features._ntk import NTKMatrixCompleter

__all__ = [
    "CNTKInpainter",
    "EntryRegressor",
    "LinRFMCompleter",
    "MatrixCompleter",
    "NTKMatrixCompleter",
    "profile_scores",
    "rank_untested",
    "screen_priors",
    "within_cell_splits",
]

set_public_module(
    __name__,
    CNTKInpainter,
    EntryRegressor,
    LinRFMCompleter,
    MatrixCompleter,
    NTKMatrixCompleter,
    profile_scores,
    rank_untested,
    screen_priors,
    within_cell_splits,
)
