"""Errors of kernel machines from the eigenvalues of labelled rows."""

from ._display import KernelRiskDisplay
from ._formulas import ridge_risk
from ._kernel_risk import KernelRisk, kernel_risk
from ._label_noise import label_noise_scores

__all__ = [
    "KernelRisk",
    "KernelRiskDisplay",
    "kernel_risk",
    "label_noise_scores",
    "ridge_risk",
]
