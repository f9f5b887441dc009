"""The public classes under their public names."""

import pickle

import pytest
from sklearn import clone
from sklearn.linear_model import Ridge

import skrfm
from skrfm import EntryRegressor, RecursiveFeatures, RFMRegressor

ESTIMATORS = [getattr(skrfm, name) for name in sorted(skrfm._MODULE_OF)]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_unknown_parameters_are_refused_in_the_name_of_the_class(cls):
    message = rf"^{cls.__name__}\.__init__\(\) got an unexpected keyword argument 'foo'"
    with pytest.raises(TypeError, match=message):
        cls(foo=1)


def test_too_many_arguments_are_refused_in_the_name_of_the_class():
    with pytest.raises(TypeError, match=r"^RFMRegressor\.__init__\(\) takes 1 posit"):
        RFMRegressor("laplace")


@pytest.mark.parametrize("cls", [c for c in ESTIMATORS if c is not EntryRegressor])
def test_parameters_are_those_of_the_constructor(cls):
    model = cls(Ridge()) if cls is RecursiveFeatures else cls()
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert repr(copy.get_params()) == repr(model.get_params())
