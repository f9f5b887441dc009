"""scikit-learn's estimator checks with device="cuda", on the stand-in or a GPU."""

import pytest
from _gpu import RUNTIMES, has_gpu, needs_compiler
from sklearn.utils.estimator_checks import estimator_checks_generator

from skrfm import LinRFMRegressor, RFMClassifier, RFMRegressor

MACHINE = {"kernel": "laplace", "max_iter": 1, "alpha": 0.1, "device": "cuda"}
ESTIMATORS = [
    RFMRegressor(**MACHINE),
    RFMClassifier(**MACHINE),
    LinRFMRegressor(alpha=0.1, device="cuda"),
]
# arrays of other libraries than these give arrays of NumPy, where device is "cuda"
NAMESPACES = {"numpy", "cupy"} if has_gpu() else {"numpy"}


def namespace_of(check):
    """Return the library of the arrays that a check passes."""
    options = check.keywords
    mixed = options.get("X_ns_and_device")
    return options.get("array_namespace", "numpy") if mixed is None else mixed.xp


def checks():
    """Return all pairs (estimator, check) of what there is on this machine."""
    return [
        pytest.param(estimator, check, id=f"{type(estimator).__name__}-{check}")
        for instance in ESTIMATORS
        for estimator, check in estimator_checks_generator(instance, mark=None)
        if namespace_of(check) in NAMESPACES
    ]


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """What is found when a GPU is looked for."""
    if not has_gpu():
        runtime = RUNTIMES["host"]()
        monkeypatch.setattr("skrfm._tables._device.find_runtime", lambda: runtime)
        monkeypatch.setattr("skrfm._tables._device.is_gpu_array", runtime.owns)


@needs_compiler
@pytest.mark.parametrize(("estimator", "check"), checks())
def test_estimator_checks(estimator, check):
    check(estimator)
