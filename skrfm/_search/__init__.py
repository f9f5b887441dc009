"""What is chosen on rows that a fit has not seen."""

from ._calibration import Calibration
from ._choose import choose, most_runs
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
    unscored_history,
)
from ._setup import make_candidates, make_judging
from ._trials import TrialResult, by_path, drop_worse, halve

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
    "by_path",
    "choose",
    "drop_worse",
    "halve",
    "hold_out",
    "make_candidates",
    "make_folds",
    "make_judging",
    "most_runs",
    "unscored_history",
]
