"""The public classes under their public names."""

import pickle
import re
from pathlib import Path

import pytest
from sklearn import clone
from sklearn.linear_model import Ridge

import skrfm
from skrfm import EntryRegressor, RecursiveFeatures, RFMRegressor, kernels

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


def reference():
    """Return the names of classes and functions that have a page in the reference."""
    text = (Path(__file__).parents[1] / "docs" / "api.rst").read_text("utf-8")
    module, names = "", set()
    for line in text.splitlines():
        if match := re.match(r".. currentmodule:: (\S+)", line):
            module = match[1]
        elif match := re.match(r" {3}([A-Za-z_]\w*)$", line):
            names.add(f"{module}.{match[1]}")
    return names


KERNELS = [kernels.CNTK, kernels.Laplace, kernels.LpqLaplace, kernels.NTK]


@pytest.mark.parametrize("cls", [*ESTIMATORS, *KERNELS])
def test_html_representations_link_to_the_reference(cls):
    needed = {RecursiveFeatures: (Ridge(),), EntryRegressor: (skrfm.LinRFMCompleter(),)}
    model = cls(*needed.get(cls, ()))
    link = model._get_doc_link()
    base, _, page = link.rpartition("/")
    assert base == "https://skrfm.readthedocs.io/en/latest/generated"
    assert page.removesuffix(".html") in reference()
    assert f'href="{link}"' in model._repr_html_()
    own = type("Own", (cls,), {"__module__": "own"})
    assert own(*needed.get(cls, ()))._get_doc_link() == ""  # no page of ours
