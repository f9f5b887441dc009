"""What is taken from scikit-learn, and what plugs into it."""

from ._compat import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    check_array,
    check_categorical_features,
    check_feature_names,
    check_same_namespace,
    check_sample_weight,
    check_X_y,
    clone,
    clone_parametrized,
    cupy_namespace,
    feature_names_of,
    get_namespace_and_device,
    is_gpu_array,
    is_missing,
    move_to,
    output_container,
    safe_indexing,
    validate_data,
)
from ._fitting import Progress, restored_on_error
from ._public import set_public_module
from ._routing import splitter_router
from ._warnings import warn, warn_of_edge

__all__ = [
    "check_X_y",
    "check_array",
    "validate_data",
    "HasMethods",
    "Interval",
    "Progress",
    "RealNotInt",
    "StrOptions",
    "check_categorical_features",
    "check_feature_names",
    "check_same_namespace",
    "check_sample_weight",
    "clone",
    "clone_parametrized",
    "cupy_namespace",
    "feature_names_of",
    "get_namespace_and_device",
    "is_gpu_array",
    "is_missing",
    "move_to",
    "output_container",
    "safe_indexing",
    "restored_on_error",
    "set_public_module",
    "splitter_router",
    "warn",
    "warn_of_edge",
]
