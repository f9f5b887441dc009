"""What `cv` may be, and the groups of rows that splitters take."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import clone, config_context
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from skrfm import (
    LinRFMRegressor,
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    TransferKernel,
)
from skrfm._search import make_folds

FIXED_SPLITS = {
    "row number 60": [(np.arange(30, 61), np.arange(30))],
    "row number -1": [([0, 1, 2, 3], [4, 5, -1])],
    "boolean mask of length 59": [(np.arange(3), np.ones(59, dtype=bool))],
    "dtype float64": [([0.0, 1.0, 2.0], [3.0, 4.0])],
    "dtype <U1": [(["a", "b"], ["c"])],
    r"array of shape \(1, 2\)": [([[0, 1]], [2])],
    "is no pair": [0, 1, 2],
    "no row of positive weight": [([0, 1, 2], [])],
    "empty list": [],
    "80 entries": PredefinedSplit(np.arange(80) % 3),
    "50 entries": PredefinedSplit(np.arange(50) % 3),
    "greater than the number of samples": KFold(100),
    "needs the groups": GroupKFold(3),
    "needs the groups of the rows": LeaveOneGroupOut(),
}


@pytest.mark.parametrize("message", FIXED_SPLITS)
@pytest.mark.parametrize(
    "estimator",
    [
        RFMRegressor(),
        RFMRegressorCV(n_candidates=2),
        LinRFMRegressor(),
        TransferKernel(FrozenEstimator(Ridge()), Ridge()),
    ],
)
def test_splits_that_do_not_fit_are_named(estimator, message, rng):
    X = rng.normal(size=(60, 2))
    if isinstance(estimator, TransferKernel):
        estimator.set_params(source_estimator=Ridge().fit(X, X[:, 0]))
    estimator = clone(estimator).set_params(cv=FIXED_SPLITS[message])
    with pytest.raises(ValueError, match=message) as error:
        estimator.fit(X, X[:, 0])
    assert "cv" in str(error.value)


def test_fixed_splits_inside_a_grid_search(rng):
    X = rng.normal(size=(60, 2))
    model = RFMRegressor(cv=list(KFold(3).split(X)))
    search = GridSearchCV(model, {"max_iter": [1]}, cv=3, error_score="raise")
    with pytest.raises(ValueError, match="cv does not fit X, which has 40 rows"):
        search.fit(X, X[:, 0])


def test_masks_and_predefined_splits_are_of_all_rows():
    keep = np.array([True, False, True, True, True, True])
    strata, number = np.zeros(5), np.array([0, 0, 0, 1, 1, 1])
    pairs = [(number != k, number == k) for k in range(2)]
    for cv in (pairs, PredefinedSplit(number)):
        folds = make_folds(cv, strata, keep=keep, seed=0)
        assert [test.tolist() for _, test in folds] == [[0, 1], [2, 3, 4]]


@pytest.fixture
def grouped(rng):
    X = rng.normal(size=(40, 2))
    groups = rng.permutation(np.repeat(list("abcdefgh"), 5))
    return X, X[:, 0] > 0, groups


@pytest.mark.parametrize("splitter", [GroupKFold(3), LeaveOneGroupOut()], ids=repr)
@pytest.mark.parametrize(
    "estimator",
    [
        RFMRegressor(max_iter=1),
        RFMClassifier(max_iter=1),
        RFMRegressorCV(n_candidates=2, random_state=0),
        RFMClassifierCV(n_candidates=2, random_state=0),
    ],
)
def test_groups_reach_the_splitter(estimator, splitter, grouped, rng):
    X, y, groups = grouped
    y = y.astype(float)
    pairs = list(splitter.split(X, y, groups))
    expected = clone(estimator).set_params(cv=pairs).fit(X, y).history_["score"]
    model = clone(estimator).set_params(cv=splitter)
    assert_array_equal(model.fit(X, y, groups=groups).history_["score"], expected)
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(groups=True)
        assert_array_equal(model.fit(X, y, groups=groups).history_["score"], expected)


def test_groups_of_rows_without_weight_are_left_out(grouped):
    X, y, groups = grouped
    weight = np.ones(40)
    weight[groups == "a"] = 0
    weight[3] = 0
    model = RFMClassifier(cv=LeaveOneGroupOut(), max_iter=1, kernel="laplace")
    scores = model.fit(X, y, weight, groups=groups).history_["score"]
    kept = weight > 0
    fewer = model.fit(X[kept], y[kept], groups=groups[kept]).history_["score"]
    assert_allclose(scores, fewer)


def test_groups_are_routed_by_meta_estimators(grouped):
    X, y, groups = grouped
    with config_context(enable_metadata_routing=True):
        of_splitter = RFMClassifier(cv=GroupKFold(2), max_iter=0, kernel="laplace")
        requested = clone(of_splitter).set_fit_request(groups=True)
        for model in (of_splitter, requested, make_pipeline(of_splitter)):
            options = {"params": {"groups": groups}, "error_score": "raise"}
            cross_validate(model, X, y, cv=GroupKFold(2), **options)
            cross_validate(model, X, y, cv=3, **options)
        search = GridSearchCV(of_splitter, {"max_iter": [0, 1]}, cv=GroupKFold(2))
        search.set_params(error_score="raise").fit(X, y, groups=groups)
        # folds by number have no use for the groups of the outer splitter
        cross_validate(RFMClassifier(), X, y, cv=GroupKFold(2), **options)


def test_groups_that_cannot_be_used(grouped):
    X, y, groups = grouped
    with pytest.raises(ValueError, match="cv=5 does not use them"):
        RFMClassifier().fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="validation='loo' does not use them"):
        RFMClassifier(validation="loo", cv=GroupKFold()).fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="one label for each of the 40 rows"):
        RFMClassifier(cv=GroupKFold()).fit(X, y, groups=groups[:7])
