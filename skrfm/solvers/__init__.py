"""Solvers: functions (gram, targets, ridge) → coefficients, by name."""

from ._direct import (
    SOLVERS,
    Solution,
    leave_one_out_residuals,
    predictive_variance,
    solve,
)

__all__ = [
    "SOLVERS",
    "Solution",
    "leave_one_out_residuals",
    "predictive_variance",
    "solve",
]
