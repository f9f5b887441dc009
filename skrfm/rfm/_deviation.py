"""Standard deviations of the outputs of a kernel machine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .._backend import Array
from ..solvers import predictive_variance, variance_of_centers

# rows whose variance is computed together, as a block of the kernel matrix
_VARIANCE_ROWS = 1024
# A machine of few centres keeps so many rows for each centre, and at least so many. The
# uncertainty that is computed from them is a share of the variance no larger than that
# of centres among all rows: four rows for each centre leave it within a few per cent.
_ROWS_OF_CENTER, _LEAST_ROWS = 4, 10_000
# The scale is estimated from so many of them, to a relative error of 1 / √8000.
_SCALE_ROWS = 4000


@dataclass(frozen=True)
class ResidualRows:
    """Random training rows of a machine of few centres, with their residuals.

    Attributes
    ----------
    T : array of shape (m, k)
        The rows, mapped by the metric.
    residuals : array of shape (m, c)
        Coded targets less outputs.
    weight : array of shape (m,)
    share : float
        How many rows each of them stands for.
    """

    T: Array
    residuals: Array
    weight: Array
    share: float

    @classmethod
    def of(cls, fitted, data, backend):
        """Return rows of a Data that a Round was fitted to, or to more such rows.

        Parameters
        ----------
        fitted : Round
            A machine of few centres.
        data : Data
        backend : Backend
        """
        n, p = data.X.shape[0], fitted.T.shape[0]
        rng = np.random.default_rng((fitted.candidate.seed, 2))
        rows = rng.permutation(n)[: max(_ROWS_OF_CENTER * p, _LEAST_ROWS)]
        X, Y, weight = (backend.take(a, rows) for a in (data.X, data.Y, data.weight))
        residuals = Y - fitted.predict(X, backend)
        T = backend.rows(fitted.metric.transform(X - fitted.center, backend))
        return cls(T, residuals, weight, data.n_rows / len(rows))

    def map_arrays(self, function: Callable[[Array], Array]):
        """Return the same with a function applied to its arrays."""
        names = "T", "residuals", "weight"
        arrays = {name: function(getattr(self, name)) for name in names}
        return replace(self, **arrays)


def variance_of_machine(machine, T, placement):
    """Return the variances (m, c) of the coded outputs at mapped rows, with noise.

    Parameters
    ----------
    machine : KernelMachine
    T : array of shape (m, k)
        As the kernel takes them.
    placement : Placement
    """
    backend, candidate = placement.backend, machine.candidate
    kernel, L, sizes = candidate.kernel, machine.bandwidth, candidate.lookup_sizes
    Z = placement.to_backend(machine.mapped_fit)

    def blocks(T):
        edges = [*range(0, T.shape[0], _VARIANCE_ROWS), T.shape[0]]
        for start, stop in pairwise(edges):
            part = T[start:stop, :]
            values = backend.cross(kernel, part, Z, L, category_sizes=sizes)
            yield values, backend.self_values(kernel, part, L)

    if machine.residual_rows is None:
        return predictive_variance(
            backend.gram(kernel, Z, L, category_sizes=sizes),
            placement.to_backend(machine.coef),
            blocks(T),
            weight=placement.to_backend(machine.weight),
            alpha=candidate.ridge,
            xp=backend.xp,
        )
    rows = machine.residual_rows.map_arrays(placement.to_backend)
    return variance_of_centers(
        backend.cross(kernel, Z, Z, L, category_sizes=sizes),
        backend.cross_gram(kernel, rows.T, Z, L, category_sizes=sizes),
        rows.residuals,
        blocks(rows.T[:_SCALE_ROWS, :]),
        blocks(T),
        weight=rows.weight,
        share=rows.share,
        alpha=candidate.ridge,
        backend=backend,
    )
