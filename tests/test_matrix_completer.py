"""MatrixCompleter: its methods, its comparison and its choice, against naive results."""

import numpy as np
import pandas as pd
import pytest
from _completion import low_rank, triplets_of
from _completion import entries_of as observed
from _estimator_checks import EXTRA_CHECKS
from _progress import Recorder
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import coo_array
from sklearn.metrics import r2_score
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrfm import EntryRegressor, LinRFMCompleter, MatrixCompleter, NTKMatrixCompleter
from skrfm.completion._choice._comparison import Comparison, folds_of, simplex_weights
from skrfm.completion._choice._means import ShrunkMeans
from skrfm.exceptions import NumericalWarning

# -- scikit-learn's checks ------------------------------------------------------------

FAST = {"max_iter": 20, "alpha": 0.1, "tol": 1e-3, "solver": "alternating"}


def fast(**parameters):
    """A completer whose fits take little time."""
    low = LinRFMCompleter(**FAST)
    kernel = NTKMatrixCompleter(alphas=[0.1, 1.0, 10.0])
    defaults = {"low_rank": low, "kernel": kernel, "cv": 2, "random_state": 0}
    return MatrixCompleter(**defaults | parameters)


ESTIMATORS = [fast()]


# the checks of sparse input store next to nothing
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)


# the set_output checks themselves pass arrays to estimators fitted on data frames
@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
def test_extra_checks(name):
    getattr(estimator_checks, name)("MatrixCompleter", ESTIMATORS[0])
