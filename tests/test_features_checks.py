"""RecursiveFeatures in the estimator checks of scikit-learn, the whole suite."""

import pytest
from _estimator_checks import EXTRA_CHECKS, parametrize_with_checks
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import estimator_checks
from threadpoolctl import threadpool_limits

from skrfm import RecursiveFeatures

# A regressor with closed forms is checked in every run; slow are a classifier with
# probabilities and one without, and a tree, with the other mode and differences.
FAST = [RecursiveFeatures(Ridge(), max_iter=1, cv=2, random_state=0)]
SLOW = [
    RecursiveFeatures(
        LogisticRegression(C=0.01, max_iter=1000), max_iter=1, cv=2, random_state=0
    ),
    RecursiveFeatures(RidgeClassifier(), validation=None, max_iter=1, random_state=0),
    RecursiveFeatures(
        DecisionTreeRegressor(max_depth=3, random_state=0), max_iter=1, random_state=0
    ),
]


@parametrize_with_checks(FAST)
def test_estimator_checks(estimator, check):
    with threadpool_limits(1):  # many small fits, in which threads of BLAS only wait
        check(estimator)


@pytest.mark.slow
@parametrize_with_checks(SLOW)
def test_estimator_checks_of_other_kinds(estimator, check):
    with threadpool_limits(1):
        check(estimator)


# the set_output checks pass arrays to estimators that were fitted to data frames
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
@pytest.mark.parametrize("estimator", FAST, ids=repr)
def test_extra_checks(estimator, name):
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)
