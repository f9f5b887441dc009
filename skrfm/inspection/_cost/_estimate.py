"""The cost of a fit, before it is run."""

from dataclasses import dataclass

from sklearn.base import BaseEstimator

from ..._backend import Table, Vector
from ..._sklearn import clone
from ...rfm import RFMClassifier, RFMClassifierCV, RFMRegressor, RFMRegressorCV
from ...xrfm import XRFMClassifier, XRFMRegressor
from ._forecast import MachineForecast
from ._tree import TreeForecast

_MACHINES = RFMRegressor, RFMClassifier, RFMRegressorCV, RFMClassifierCV
_TREES = XRFMRegressor, XRFMClassifier


@dataclass(frozen=True, kw_only=True, repr=False)
class CostEstimate:
    """What a fit is expected to take.

    Attributes
    ----------
    seconds : float
        Seconds on the clock.
    cpu_seconds : float
        Seconds of the processors: those of all threads together.
    memory : int
        Bytes that the fit holds at most, beside what the process holds before it.
    """

    seconds: float
    cpu_seconds: float
    memory: int

    def __repr__(self):
        return (
            f"CostEstimate(seconds={self.seconds:.3g}, "
            f"cpu_seconds={self.cpu_seconds:.3g}, "
            f"memory={self.memory:.3g})"
        )


def estimate_cost(estimator: BaseEstimator, X: Table, y: Vector) -> CostEstimate:
    """Forecast the seconds and the memory of a fit, mostly within a factor of two.

    The parts of a round are measured on this machine, on a sample of the rows, and
    scaled to the rows, rounds and candidates of each stage of the fit. That takes a
    second or a few, less than most fits. Which kernel a search prefers and how long it
    improves is not known before: their costs enter with what is usual.

    Parameters
    ----------
    estimator : RFMRegressor, RFMClassifier, RFMRegressorCV, RFMClassifierCV, \
XRFMRegressor or XRFMClassifier
        What would be fitted. It stays as it is.
    X : array-like of shape (n_samples, n_features)
        Training rows, as `fit` takes them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their targets.

    Returns
    -------
    CostEstimate

    Raises
    ------
    TypeError
        For other estimators.
    ValueError
        For parameters, rows or targets that `fit` does not take, and for fits on a GPU.

    Notes
    -----
    The forecast is for the processors and threads that are free now. It leaves out the
    compilation of code by the first fit in an environment, and the memory of libraries
    that the first fit of a process loads. With `time_budget`, the seconds are at most
    the budget.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import estimate_cost
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 5)).astype(np.float32)
    >>> y = X[:, 0] * X[:, 1]
    >>> model = RFMRegressor(kernel="laplace", alpha=0.1, validation=None)
    >>> cost = estimate_cost(model, X, y)
    >>> cost.seconds > 0
    True
    >>> cost.memory > 4 * 1000**2  # bytes of the kernel matrix
    True
    """
    if not isinstance(estimator, (*_MACHINES, *_TREES)):
        *names, last = (one.__name__ for one in (*_MACHINES, *_TREES))
        raise TypeError(
            f"estimate_cost supports {', '.join(names)} and {last}; got {estimator!r}."
        )
    forecast_class = TreeForecast if isinstance(estimator, _TREES) else MachineForecast
    found = forecast_class(clone(estimator), X, y).forecast()
    seconds, cpu_seconds = map(float, found.seconds)
    return CostEstimate(
        seconds=seconds, cpu_seconds=cpu_seconds, memory=int(found.memory)
    )
