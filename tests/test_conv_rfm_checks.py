"""scikit-learn's estimator checks, the whole suite, for the convolutional RFMs."""

import pytest
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from sklearn.utils import estimator_checks

from skrfm import ConvRFMClassifier, ConvRFMRegressor

# one update of the metric, and pooled layers of random filters
ESTIMATORS = [
    estimator(**parameters)
    for parameters in (
        {"max_iter": 1},
        {"n_layers": 2, "n_filters": 4, "depth": 1, "max_iter": 1, "pool_size": 2},
    )
    for estimator in (ConvRFMRegressor, ConvRFMClassifier)
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", [n for n in EXTRA_CHECKS if "transform" not in n])
@pytest.mark.parametrize("estimator", ESTIMATORS[:2], ids=repr)
def test_extra_checks(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)
