"""scikit-learn's estimator checks with device="cuda", on the stand-in or a GPU."""

import pytest
from gpu import RUNTIMES, has_gpu, needs_compiler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skrfm import LinRFMRegressor, RFMClassifier, RFMRegressor

MACHINE = {"kernel": "laplace", "max_iter": 1, "device": "cuda"}
ESTIMATORS = [
    RFMRegressor(**MACHINE),
    RFMClassifier(**MACHINE),
    LinRFMRegressor(alpha=0.1, device="cuda"),
]


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """What is found when a GPU is looked for."""
    if not has_gpu():
        runtime = RUNTIMES["host"]()
        monkeypatch.setattr("skrfm._device.find_runtime", lambda: runtime)
        monkeypatch.setattr("skrfm._device.is_gpu_array", runtime.owns)


def expected_failures(estimator):
    """The checks that an estimator passes for arrays of NumPy and of the GPU only."""
    checks = ("check_array_api_input", "check_array_api_same_namespace")
    return dict.fromkeys(checks, 'device="cuda" returns arrays of NumPy or CuPy')


@needs_compiler
@parametrize_with_checks(
    ESTIMATORS, expected_failed_checks=expected_failures, xfail_strict=False
)
def test_estimator_checks(estimator, check):
    check(estimator)
