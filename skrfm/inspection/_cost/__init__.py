"""A forecast of the seconds and the memory of a fit."""

from ._estimate import CostEstimate, estimate_cost

__all__ = ["CostEstimate", "estimate_cost"]
