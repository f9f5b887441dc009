"""Parameters that classes share are described in the same words."""

import inspect

import numpydoc.docscrape
import pytest
from sklearn.utils._testing import assert_docstring_consistency

import skrfm
from skrfm import (
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    XRFMClassifier,
    XRFMRegressor,
)

PUBLIC = [getattr(skrfm, name) for name in skrfm.__all__]
ESTIMATORS = [item for item in PUBLIC if inspect.isclass(item)]

# pairs of a regressor and its classifier, and what their tasks make different
PAIRS = {
    (RFMRegressor, RFMClassifier): ["cv", "class_weight"],
    (RFMRegressorCV, RFMClassifierCV): [
        "class_weight",
        "cv",
        "scoring",
        "categorical_features",
        "scaling",
        "n_centers",
        "centers",
        "solver",
        "device",
    ],
    (XRFMRegressor, XRFMClassifier): ["estimator"],
}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_a_regressor_and_its_classifier_share_their_parameters(pair):
    assert_docstring_consistency(
        list(pair),
        include_params=True,
        exclude_params=PAIRS[pair],
        # the default differs
        ignore_types=("scaling",),
    )


@pytest.mark.parametrize(
    "name", ["n_features_in_", "feature_names_in_", "is_categorical_"]
)
def test_attributes_of_the_table_are_the_same(name):
    having = [
        estimator
        for estimator in ESTIMATORS
        if name in {part.name for part in attributes_of(estimator)}
    ]
    assert len(having) > 1
    assert_docstring_consistency(having, include_attrs=[name])


def attributes_of(estimator):
    return numpydoc.docscrape.ClassDoc(estimator)["Attributes"]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda cls: cls.__name__)
def test_every_parameter_is_documented_once(estimator):
    documented = numpydoc.docscrape.ClassDoc(estimator)["Parameters"]
    names = [name for part in documented for name in part.name.split(", ")]
    assert names == list(inspect.signature(estimator).parameters)
