"""Diagnostics of models and their Displays, the progress and the costs of fits."""

from .._sklearn import set_public_module
from ._agop import agop, agop_alignment, feature_ansatz
from ._completion_displays import CompletionDisplay, CoverageDisplay
from ._cost import CostEstimate, estimate_cost
from ._displays import (
    FeatureImportancesDisplay,
    FeatureMetricDisplay,
    HistoryDisplay,
    MetricSpectrumDisplay,
)
from ._progress_bar import ProgressBar
from ._risk import (
    KernelRisk,
    KernelRiskDisplay,
    kernel_risk,
    label_noise_scores,
    ridge_risk,
)
from ._scaling_law import ScalingLaw, ScalingLawDisplay, scaling_law

__all__ = [
    "CompletionDisplay",
    "CostEstimate",
    "CoverageDisplay",
    "FeatureImportancesDisplay",
    "FeatureMetricDisplay",
    "HistoryDisplay",
    "KernelRisk",
    "KernelRiskDisplay",
    "MetricSpectrumDisplay",
    "ProgressBar",
    "ScalingLaw",
    "ScalingLawDisplay",
    "agop",
    "agop_alignment",
    "estimate_cost",
    "feature_ansatz",
    "kernel_risk",
    "label_noise_scores",
    "ridge_risk",
    "scaling_law",
]

set_public_module(
    __name__,
    CompletionDisplay,
    CostEstimate,
    CoverageDisplay,
    FeatureImportancesDisplay,
    FeatureMetricDisplay,
    HistoryDisplay,
    KernelRisk,
    KernelRiskDisplay,
    MetricSpectrumDisplay,
    ProgressBar,
    ScalingLaw,
    ScalingLawDisplay,
    agop,
    agop_alignment,
    estimate_cost,
    feature_ansatz,
    kernel_risk,
    label_noise_scores,
    ridge_risk,
    scaling_law,
)
