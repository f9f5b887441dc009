"""scikit-learn's estimator checks with device="cuda", simulated or on a real GPU.

Read-only input is left out: tables are read on the host, whatever the device, and
test_sklearn.py has these checks.
"""

import pytest
from _estimator_checks import name_of
from _gpu import has_gpu, needs_compiler, use_runtime
from sklearn.utils.estimator_checks import estimator_checks_generator

from skrfm import LinRFMRegressor, RFMClassifier, RFMRegressor

# one ridge: test_device.py compares the choice of ridges
MACHINE = {"kernel": "laplace", "max_iter": 1, "alpha": 0.1, "device": "cuda"}
ESTIMATORS = [
    RFMRegressor(**MACHINE, cv=2),
    RFMClassifier(**MACHINE, cv=2),
    LinRFMRegressor(alpha=0.1, device="cuda"),
]
# with device="cuda" arrays of any other library give arrays of NumPy
NAMESPACES = {"numpy", "cupy"} if has_gpu() else {"numpy"}


def namespace_of(check):
    """Return the array library of a check."""
    options = check.keywords
    mixed = options.get("X_ns_and_device")
    return options.get("array_namespace", "numpy") if mixed is None else mixed.xp


def checks():
    """Return all pairs (estimator, check) for this machine."""
    return [
        pytest.param(
            estimator, check, id=f"{type(estimator).__name__}-{name_of(check)}"
        )
        for instance in ESTIMATORS
        for estimator, check in estimator_checks_generator(instance, mark=None)
        if namespace_of(check) in NAMESPACES
        and not check.keywords.get("readonly_memmap")
    ]


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Estimators find a simulated GPU where there is no other."""
    if not has_gpu():
        use_runtime("simulated", monkeypatch)


@needs_compiler
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_estimator_checks(estimator, check):
    check(estimator)
