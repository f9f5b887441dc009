"""The only file with private imports from scikit-learn.

Public functions are here as well, typed as Any, where type checkers infer wrong types
from their code: of arguments from their defaults, of clones from clones of containers.
"""

from typing import Any

from sklearn import base, utils
from sklearn.base import _clone_parametrized as clone_parametrized
from sklearn.externals.array_api_compat import is_cupy_array as is_gpu_array
from sklearn.neighbors._base import KNeighborsMixin, RadiusNeighborsMixin
from sklearn.utils import validation
from sklearn.utils._array_api import (
    check_same_namespace,
    get_namespace_and_device,
    move_to,
)
from sklearn.utils._metadata_requests import _routing_enabled as routing_enabled
from sklearn.utils._missing import is_pandas_na
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
)
from sklearn.utils._param_validation import validate_params as validated
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import (
    _check_categorical_features as check_categorical_features,
)
from sklearn.utils.validation import _check_feature_names as check_feature_names
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _get_feature_names as feature_names_of

check_array: Any = validation.check_array
clone: Any = base.clone
safe_indexing: Any = utils._safe_indexing
check_X_y: Any = validation.check_X_y
validate_data: Any = validation.validate_data

__all__ = [
    "check_X_y",
    "check_array",
    "validate_data",
    "HasMethods",
    "Interval",
    "KNeighborsMixin",
    "logistic_as_error_functions",
    "RadiusNeighborsMixin",
    "RealNotInt",
    "StrOptions",
    "check_categorical_features",
    "check_feature_names",
    "check_feature_names_in",
    "check_method_params",
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
    "routing_enabled",
    "safe_indexing",
    "validated",
]


def is_missing(value):
    """Return whether a value is missing: None, NaN, NaT or ``pandas.NA``."""
    if value is None or is_pandas_na(value):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # an array, whose comparison is an array
        return False


def cupy_namespace():
    """Return CuPy as the array API has it."""
    from sklearn.externals.array_api_compat import cupy

    return cupy


def output_container(transformer):
    """Return what `set_output` asks a transformer for: "default", "pandas" or so."""
    return _get_output_config("transform", transformer)["dense"]


def logistic_as_error_functions():
    """Return (c, s) of Σ c_k (1 + erf(s_k x)) / 2, which is near a logistic function.

    Gaussian process classifiers of scikit-learn take it; few programs need the module.
    """
    from sklearn.gaussian_process._gpc import COEFS, LAMBDAS

    return COEFS, LAMBDAS
