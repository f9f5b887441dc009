"""TransferKernel in the estimator checks of scikit-learn."""

import numpy as np
import pytest
from _estimator_checks import CHECKS_OF_RESULTS, parametrize_with_checks
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from skrfm import RFMClassifier, TransferKernel


class MeanOfColumns(Ridge):
    """A source for any table: the mean of its first two columns, or of its only one."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.asarray(X)[:, :2].mean(axis=1)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.filterwarnings("ignore:There is no source")
@parametrize_with_checks(
    [
        TransferKernel(),
        TransferKernel(
            target_estimator=RFMClassifier(
                kernel="laplace", max_iter=1, validation="loo", random_state=0
            )
        ),
        TransferKernel(target_estimator=LogisticRegression()),
        TransferKernel(FrozenEstimator(MeanOfColumns()), Ridge()),
        TransferKernel(FrozenEstimator(MeanOfColumns()), Ridge(), method="both"),
        TransferKernel(FrozenEstimator(MeanOfColumns()), LogisticRegression()),
    ],
    # the search of the default target takes most of the time of these tests
    keep=lambda estimator, check: (
        estimator.target_estimator is not None
        or (not check.keywords and check.func.__name__ in CHECKS_OF_RESULTS)
    ),
)
def test_estimator_checks(estimator, check):
    with threadpool_limits(1):  # many small fits, in which threads of BLAS only wait
        check(estimator)
