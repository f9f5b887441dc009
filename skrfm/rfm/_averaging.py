"""Averages of kernel machines: which ones of a search, and how they predict."""

from dataclasses import dataclass, replace

import numpy as np

from ._fitted import Fit

# An average consists of at most so many shares, which machines may have several of.
_SHARES = 12


def select(trials, score, max_count):
    """Return the trials of the best average on validation rows, and their weights.

    The average starts from the best trial. The trial that improves its score most is
    added to it, whether it is in the average already or not, until none improves it.

    Parameters
    ----------
    trials : list of TrialResult
        The best first.
    score : callable
        Maps outputs on the validation rows to a score; larger is better.
    max_count : int
        The largest number of different trials.

    Returns
    -------
    trials : list of TrialResult
        Those of the average, the best first.
    weights : list of float
        Their shares, which sum to 1.
    """
    counts = np.zeros(len(trials), dtype=int)
    counts[0] = 1
    total, best = trials[0].outputs, trials[0].score
    for number in range(2, _SHARES + 1):
        full = np.count_nonzero(counts) >= max_count
        allowed = np.flatnonzero(counts) if full else range(len(trials))
        scores = {k: score((total + trials[k].outputs) / number) for k in allowed}
        added = max(scores, key=lambda k: scores[k])
        if not scores[added] > best:
            break
        best, total = scores[added], total + trials[added].outputs
        counts[added] += 1
    chosen = np.flatnonzero(counts)
    return [trials[k] for k in chosen], (counts[chosen] / counts.sum()).tolist()


def weighted_sum(weights, arrays):
    """Return the sum of arrays times their weights."""
    return sum(weight * a for weight, a in zip(weights, arrays, strict=True))


@dataclass(frozen=True)
class MachineAverage:
    """Kernel machines whose outputs are averaged.

    Attributes
    ----------
    fits : tuple of Fit
        The machines, each with a fit of its own, the best first.
    weights : tuple of float
        Their shares, which sum to 1.
    """

    fits: tuple[Fit, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, fits, weights):
        """Return the average; the machine itself where there is only one."""
        if len(fits) == 1:
            return fits[0].predictor
        return cls(tuple(fits), tuple(weights))

    @property
    def first(self):
        """The best machine, whose attributes the estimator shows."""
        return self.fits[0].predictor.first

    def outputs(self, X, placement):
        """Return the outputs (m, c) at rows that were read, not yet encoded."""
        outputs = (fit.predictor.outputs(X, placement) for fit in self.fits)
        return weighted_sum(self.weights, outputs)

    def deviation(self, X, placement):
        """Return the standard deviation of a mixture of Gaussian processes."""
        means = [fit.predictor.outputs(X, placement) for fit in self.fits]
        mean = weighted_sum(self.weights, means)
        variances = (
            fit.predictor.deviation(X, placement) ** 2 + (own_mean - mean) ** 2
            for fit, own_mean in zip(self.fits, means, strict=True)
        )
        return weighted_sum(self.weights, variances) ** 0.5

    def map_arrays(self, function):
        """Return the same with a function applied to every fitted array."""
        return replace(self, fits=tuple(fit.map_arrays(function) for fit in self.fits))
