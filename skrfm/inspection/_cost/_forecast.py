"""The forecast of a fit of an RFM estimator."""

from dataclasses import dataclass

import numpy as np

from ..._backend import own_threads
from ..._tables import validate_or_stream
from ._memory import memory_of_fit, memory_of_rows
from ._rounds import clocks
from ._search import SearchCosts, SearchWork


@dataclass(frozen=True)
class Forecast:
    """What a fit takes.

    Attributes
    ----------
    seconds : ndarray of shape (2,)
        On the clock, and of the processors.
    memory : float
        Bytes that are held at most.
    """

    seconds: np.ndarray
    memory: float


class MachineForecast:
    """The costs of an RFM estimator on a table.

    Parameters
    ----------
    estimator : BaseRFM
        A clone, which gets the attributes that validation sets.
    X : array-like or data frame of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    """

    def __init__(self, estimator, X, y):
        began = clocks()
        estimator._validate_params()
        self.estimator = estimator
        self.training = validate_or_stream(
            estimator, X, y, None, fit_targets=estimator._fit_targets
        )
        if self.training.placement.on_gpu:
            raise ValueError(
                "estimate_cost measures the processors of this machine, but "
                f"{type(estimator).__name__} would compute on a GPU: pass "
                "device='cpu' to the estimator, and arrays of NumPy."
            )
        candidates, stages = estimator._plan(self.training)
        self.seconds_of_validation = clocks() - began
        self.n_rows = self.training.data.n_rows
        self.work = SearchWork(estimator, candidates, stages, self.n_rows)
        self.costs = SearchCosts(
            self.training, self.work.paths, estimator._criterion, stages
        )

    def forecast(self):
        """Return the Forecast of the fit."""
        works, costs = self.work.all(), self.costs
        with own_threads(self.n_rows):
            seconds = sum((costs.seconds(work) for work in works), np.zeros(2))
            if len(works) > 1:  # a search that holds rows out, then an average
                n_scored = sum(m for _, m in works[-2].parts)
                seconds = seconds + costs.seconds_of_average(n_scored)
        seconds = seconds + self.seconds_of_validation
        seconds = within(self.estimator.time_budget, seconds)
        n_held = self.training.data.X.shape[0]
        memory = memory_of_fit(works, costs) + memory_of_rows(n_held, costs)
        return Forecast(seconds, memory)


def within(budget, seconds):
    """Return elapsed and CPU seconds, which a budget limits."""
    if budget is None or seconds[0] <= budget:
        return seconds
    return seconds * (budget / seconds[0])
