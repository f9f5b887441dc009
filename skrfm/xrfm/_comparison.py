"""What the search at the root leaves open, compared by the errors of leaves."""

from typing import Any

import numpy as np
from joblib import delayed, effective_n_jobs

from .._search import standard_errors
from .._sklearn import Checkpoint, clone
from ._leaves import held_out_losses
from ._parallel import Deadline, saved_jobs
from ._rows import Cell, subsample

# Leaves that finalists are compared in: on the table of benchmarks/scale.py three of
# them took R² from .669 to .730 (10 000 rows), from .738 to .788 (20 000) and from .756
# to .810 (30 000), where two leaves left .756; on protein from .724 to .736.
COMPARED_LEAVES = 3
# Rows of a leaf that are compared at most.
COMPARED_ROWS = 4000
#: The same for leaves with fewer centres than rows: of one leaf, so many rows and
#: centres. By 4000 rows a kernel was chosen that loses .03.
COMPARED_WITH_CENTERS = 30_000, 1000
# Fewer rounds than these are not halved where finalists are compared.
_FEW_ROUNDS = 4


class Comparison:
    """Compares estimators in some leaves of a tree, on rows that are held out.

    Parameters
    ----------
    cells : list of Cell
        The rows of the leaves.
    seed : int
    has_centers : bool
        Whether leaves have fewer centres than rows.
    n_jobs : int or None
    deadline : Deadline
    checkpoint : Checkpoint
    """

    def __init__(
        self,
        cells: list[Cell],
        *,
        seed: int,
        has_centers: bool = False,
        n_jobs: Any = None,
        deadline: Deadline,
        checkpoint: Checkpoint,
    ):
        self._cells, self._seed, self._has_centers = cells, seed, has_centers
        self._n_jobs, self._deadline, self._checkpoint = n_jobs, deadline, checkpoint

    def best(self, finalists):
        """Return the finalist of the search at the root that is best in leaves.

        What is best for the whole table may be second for its parts. Finalists are
        compared after half of their rounds: the first one is the best, unless another
        is better by a standard error of the differences. Then with all of its rounds,
        which have to be better than half of them.
        """
        if self._has_centers:
            losses = self.losses(finalists, "centers")
            means = [np.average(loss, weights=weight) for loss, weight in losses]
            return finalists[int(np.argmin(means))]
        pairs = [(each, with_half_of_the_rounds(each)) for each in finalists]
        losses = self.losses([half for _, half in pairs], "half")
        differences = [excess(losses[0], others) for others in losses]
        best = int(np.argmax(differences))
        if differences[best] <= 1:
            best = 0
        full, half = pairs[best]
        if half is full:
            return full
        (of_full,) = self.losses([full], "full")
        return full if excess(losses[best], of_full) > 0 else half

    def losses(self, estimators, name=""):
        """Return the losses of estimators in some leaves, and weights: (2, m) each.

        `name` is that of the files of a checkpoint.
        """
        rng = np.random.default_rng(self._seed)
        n_compared, n_rows = COMPARED_LEAVES, COMPARED_ROWS
        if self._has_centers:
            n_compared, (n_rows, most) = 1, COMPARED_WITH_CENTERS
            estimators = [
                clone(each).set_params(n_centers=min(most, each.n_centers))
                for each in estimators
            ]
        compared = rng.permutation(len(self._cells))[:n_compared]
        pairs = [(each, self._cells[k]) for each in estimators for k in compared]
        share = effective_n_jobs(self._n_jobs) / (len(pairs) + len(self._cells))

        def make_job(k):
            estimator, cell = pairs[k]
            rows = subsample(len(cell), n_rows, seed=self._seed)
            return delayed(held_out_losses)(
                estimator,
                cell.subset(rows),
                seed=self._seed,
                deadline=self._deadline,
                share=min(1.0, share),
            )

        results = saved_jobs(
            make_job,
            len(pairs),
            self._n_jobs,
            self._checkpoint,
            name=f"losses-{name}",
        )
        losses: list[Any] = list(results)
        return [
            np.concatenate(losses[k : k + len(compared)], axis=1)
            for k in range(0, len(losses), len(compared))
        ]


def with_half_of_the_rounds(estimator):
    """Return an estimator with half of the rounds, or itself if they are few."""
    if estimator.max_iter < _FEW_ROUNDS:
        return estimator
    return clone(estimator).set_params(max_iter=estimator.max_iter // 2)


def excess(losses, others):
    """Return by how many standard errors losses exceed others, of the same rows.

    Each is given with the weights of the rows, as an array of shape (2, m).
    """
    return standard_errors(losses[0], others[0], losses[1])
