"""Diagnostics of models and their Displays, and the costs of fits."""

from .._sklearn import set_public_module
from ._cost import CostEstimate, estimate_cost
from ._scaling_law import ScalingLaw, ScalingLawDisplay, scaling_law

__all__ = [
    "CostEstimate",
    "ScalingLaw",
    "ScalingLawDisplay",
    "estimate_cost",
    "scaling_law",
]

set_public_module(
    __name__, CostEstimate, ScalingLaw, ScalingLawDisplay, estimate_cost, scaling_law
)
