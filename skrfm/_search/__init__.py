"""What is chosen on rows that a fit has not seen."""

from ._calibration import Calibration
from ._criteria import (
    ClassificationCriterion,
    Criterion,
    PartCriterion,
    RegressionCriterion,
)
from ._folds import hold_out, make_folds
from ._judging import (
    HoldOut,
    Judging,
    LastRound,
    LeaveOneOut,
    ValidationRows,
    ValidationSet,
)
from ._race import (
    Candidates,
    Choice,
    SearchRules,
    TrialResult,
    choose,
    drop_ridges,
    halve,
    unscored_history,
)
from ._setup import make_candidates, make_judging

__all__ = [
    "Calibration",
    "Candidates",
    "Choice",
    "ClassificationCriterion",
    "Criterion",
    "HoldOut",
    "Judging",
    "LastRound",
    "LeaveOneOut",
    "PartCriterion",
    "RegressionCriterion",
    "SearchRules",
    "TrialResult",
    "ValidationRows",
    "ValidationSet",
    "choose",
    "drop_ridges",
    "halve",
    "hold_out",
    "make_candidates",
    "make_folds",
    "make_judging",
    "unscored_history",
]
