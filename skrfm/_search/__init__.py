"""What is chosen on rows that a fit has not seen."""

from ._budget import Budget
from ._calibration import Calibration
from ._folds import hold_out, make_folds, split_sample
from ._judging import (
    MOST_CENTERS,
    ClassificationCriterion,
    Criterion,
    HoldOut,
    Judging,
    LastRound,
    LeaveOneOut,
    PartCriterion,
    RegressionCriterion,
    ValidationRows,
    ValidationSet,
    select,
    weighted_sum,
)
from ._race import (
    RESCALED,
    Choice,
    SearchRules,
    Trial,
    TrialResult,
    by_path,
    drop_worse,
    halve,
    mean_excess,
    standard_errors,
    unscored_history,
)
from ._search import (
    CLIMBS,
    Search,
    data_of_search,
    most_runs,
    warn_of_ridge,
)
from ._setup import Candidates, make_candidates, make_stages, statistics_to_try
from ._stages import Stage

__all__ = [
    "MOST_CENTERS",
    "CLIMBS",
    "RESCALED",
    "Budget",
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
    "Search",
    "SearchRules",
    "Stage",
    "Trial",
    "TrialResult",
    "ValidationRows",
    "ValidationSet",
    "by_path",
    "data_of_search",
    "drop_worse",
    "halve",
    "hold_out",
    "make_candidates",
    "make_folds",
    "make_stages",
    "mean_excess",
    "most_runs",
    "select",
    "split_sample",
    "standard_errors",
    "statistics_to_try",
    "unscored_history",
    "warn_of_ridge",
    "weighted_sum",
]
