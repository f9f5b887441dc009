"""Several machines of a search whose outputs are averaged, chosen one by one."""

import numpy as np

# so many shares the average consists of at most
_SHARES = 12


def select(pool, score, most):
    """Return how often contenders count in the best average on unseen rows.

    The average starts from the best one. The contender that betters its score most is
    added to it, be it there already or not, until none does.

    Parameters
    ----------
    pool : list of Contender
        The best first.
    score : callable
        Of outputs on the rows that judge; to be large.
    most : int
        How many different ones there may be.

    Returns
    -------
    ndarray of int of shape (len(pool),)
    """
    counts = np.zeros(len(pool), dtype=int)
    counts[0] = 1
    total, best = pool[0].outputs, pool[0].score
    for number in range(2, _SHARES + 1):
        full = np.count_nonzero(counts) >= most
        open_to = np.flatnonzero(counts) if full else range(len(pool))
        scores = {k: score((total + pool[k].outputs) / number) for k in open_to}
        added = max(scores, key=scores.get)
        if not scores[added] > best:
            break
        best, total = scores[added], total + pool[added].outputs
        counts[added] += 1
    return counts


class AveragingMixin:
    """Mixin of estimators whose outputs are those of `machines_`, averaged.

    `machine_weights_` has their shares, which sum to 1.
    """

    def _average(self, outputs):
        pairs = zip(self.machine_weights_, outputs, strict=True)
        return sum(share * out for share, out in pairs)

    def _kernel_outputs(self, X, place):
        return self._average(m._kernel_outputs(X, place) for m in self.machines_)

    def _variance(self, X, place):
        """Return the variance of a mixture of Gaussian processes."""
        means = [machine._kernel_outputs(X, place) for machine in self.machines_]
        mean = self._average(means)
        pairs = zip(self.machines_, means, strict=True)
        return self._average(m._variance(X, place) + (o - mean) ** 2 for m, o in pairs)

    def to_device(self, device):
        """Move a fitted model, and its machines, as that of an RFM estimator does.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            What the parameter `device` becomes.

        Returns
        -------
        self : object
            The estimator.
        """
        for machine in self.machines_:
            machine.to_device(device)
        return super().to_device(device)
