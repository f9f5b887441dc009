"""scikit-learn's estimator checks, the whole suite, for the RFM estimators."""

import os

import pytest
from _estimator_checks import (
    CHECKS_OF_RESULTS,
    EXTRA_CHECKS,
    parametrize_with_checks,
)
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_checks

from skrfm import RFMClassifier, RFMRegressor

# The defaults, which choose between a kernel of each distance by cross-validation, the
# same search with few folds and rounds, and one configuration for what else the checks
# can see: the kernels without a distance, a fixed kernel with each of the other ways of
# validation. Kernels of one distance differ in numbers only, which test_kernels.py
# checks.
SEARCH = {"cv": 2, "max_iter": 1}
CONFIGURATIONS = [
    {},
    SEARCH,
    {"kernel": "ntk", "validation": "loo", "max_iter": 2},
    {"kernel": "l1_laplace", "validation": "holdout", "max_iter": 2},
    {"kernel": "laplace", "validation": None, "max_iter": 2, "alphas": (0.01, 1.0)},
]
ESTIMATORS = [
    estimator(**parameters)
    for parameters in CONFIGURATIONS
    for estimator in (RFMRegressor, RFMClassifier)
]


def expected_failures(estimator):
    """The checks that an estimator cannot pass, each with the reason."""
    if estimator.validation == "holdout":
        reason = (
            "a random hold-out of weighted rows differs from one of repeated rows, "
            "and `cv`, by which the check fixes the split, has no part in it"
        )
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    return {}


def is_kept(estimator, check):
    """Return whether a check is run for an estimator.

    The long search of the defaults takes most of the time of these tests, so it gets
    the checks of results only, and the short one all but repetitions with read-only
    files, and with arrays of other libraries and devices. One check of such arrays
    remains, for the search.
    """
    name = check.func.__name__
    if estimator.kernel != "auto":
        return True
    if check.keywords:
        return estimator.max_iter == 1 and name == "check_array_api_same_namespace"
    return estimator.max_iter == 1 or name in CHECKS_OF_RESULTS


@parametrize_with_checks(
    ESTIMATORS, expected_failed_checks=expected_failures, keep=is_kept
)
def test_estimator_checks(estimator, check, monkeypatch):
    if check.func.__name__ == "check_class_weight_classifiers":
        # it sets max_iter to 1000 rounds, all of which run without validation rows
        monkeypatch.setattr(type(estimator), "set_params", _few_rounds)
    check(estimator)


def _few_rounds(estimator, **params):
    """Set parameters, but no more than five rounds."""
    if "max_iter" in params:
        params["max_iter"] = min(params["max_iter"], 5)
    return BaseEstimator.set_params(estimator, **params)


# What they check does not depend on the search, so estimators without one are enough.
# The set_output checks themselves pass arrays to estimators fitted on data frames
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
@pytest.mark.parametrize("estimator", ESTIMATORS[-2:], ids=repr)
def test_extra_checks(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)


@pytest.mark.skipif(not os.environ.get("CI"), reason="only CI has to have it all")
def test_ci_does_not_skip_the_array_api_checks():
    """Without the variable or the package, scikit-learn skips them silently."""
    assert os.environ.get("SCIPY_ARRAY_API") == "1"
    import array_api_strict

    assert array_api_strict.__array_api_version__
