"""Solvers of (K + diag(ridge)) α = Y: functions from a Gram to coefficients."""

from .._sklearn import set_public_module
from ._centers import (
    CenterPreconditioner,
    SamplePreconditioner,
    expected_steps,
    sample_size,
    solve_centers,
)
from ._choice import DIRECT, ITERATIVE, SOLVERS, choose_solver, solve
from ._direct import cholesky, eigendecomposition, leave_one_out_residuals
from ._eigenpro import EigenPro, eigenpro
from ._iterative import conjugate_gradients
from ._preconditioner import MOST_LANDMARKS, ROWS_OF_MOST_LANDMARKS
from ._solution import Solution, Solver
from ._variance import predictive_variance, variance_of_centers

__all__ = [
    "DIRECT",
    "ITERATIVE",
    "MOST_LANDMARKS",
    "ROWS_OF_MOST_LANDMARKS",
    "SOLVERS",
    "CenterPreconditioner",
    "EigenPro",
    "SamplePreconditioner",
    "Solution",
    "Solver",
    "cholesky",
    "choose_solver",
    "conjugate_gradients",
    "eigendecomposition",
    "eigenpro",
    "expected_steps",
    "leave_one_out_residuals",
    "predictive_variance",
    "sample_size",
    "solve",
    "solve_centers",
    "variance_of_centers",
]

set_public_module(__name__, EigenPro)
