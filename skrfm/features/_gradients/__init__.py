"""Gradients of fitted estimators, in closed form or by differences."""

from ._agop import METHODS, GradientOptions, average_outer_product
from ._differences import has_part, is_tree
from ._families import network_of
from ._response import RESPONSE_METHODS

__all__ = [
    "METHODS",
    "RESPONSE_METHODS",
    "GradientOptions",
    "average_outer_product",
    "has_part",
    "is_tree",
    "network_of",
]
