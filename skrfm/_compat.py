"""The only file with private imports from scikit-learn."""

from sklearn.base import _clone_parametrized as clone_parametrized
from sklearn.utils._array_api import (
    check_same_namespace,
    get_namespace_and_device,
    move_to,
)
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

__all__ = [
    "HasMethods",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "check_same_namespace",
    "check_sample_weight",
    "clone_parametrized",
    "get_namespace_and_device",
    "move_to",
]
