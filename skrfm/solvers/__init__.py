"""Solvers: functions (gram, targets, ridge) → coefficients, by name."""

from ._choice import DIRECT, ITERATIVE, SOLVERS, choose_solver, solve
from ._direct import leave_one_out_residuals, predictive_variance
from ._solution import Solution

__all__ = [
    "DIRECT",
    "ITERATIVE",
    "SOLVERS",
    "Solution",
    "choose_solver",
    "leave_one_out_residuals",
    "predictive_variance",
    "solve",
]
