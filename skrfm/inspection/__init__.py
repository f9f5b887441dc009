"""Diagnostics of models and their Displays."""

from .._sklearn import set_public_module
from ._scaling_law import ScalingLaw, ScalingLawDisplay, scaling_law

__all__ = ["ScalingLaw", "ScalingLawDisplay", "scaling_law"]

set_public_module(__name__, ScalingLaw, ScalingLawDisplay, scaling_law)
