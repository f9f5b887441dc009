"""Reweighted least squares for the rows and the columns in turn.

With the k leading right singular vectors V of the previous iterate, the metric
(WᵀW + ε²I)^a is V diag(p − e) Vᵀ + e I. The least squares problem of a row has k
unknowns, and its residuals times a factor are the sparse part of W.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from ..._backend import Array
from .._entries import Entries
from ._iterates import (
    Iterate,
    Smoothing,
    Spectrum,
    entry_weights,
    shrinkage,
    starting_point,
)
from ._loss import reweighted


def alternating(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState,
) -> Iterator[Iterate]:
    """Yield iterates without end; a Solver."""
    spectrum, eps = starting_point(
        entries, smoothing, max_rank=max_rank, random_state=random_state
    )
    columns, weight, exponent = entries.transposed(), entries.weight, smoothing.exponent
    for number in count():
        rank = spectrum.count_above(eps, max_rank)
        penalty = smoothing.penalty(eps, spectrum.s[0])
        step = RowStep(rank=rank, exponent=exponent, eps=eps, penalty=penalty)
        step.solve(entries, spectrum, weight)
        spectrum.transpose()
        step.solve(columns, spectrum, entries.by_column(weight))
        spectrum.transpose()
        U, s, V = spectrum.U[:, :rank], spectrum.s[:rank], spectrum.V[:, :rank]
        residuals = entries.values - entries.products(U * s, V)
        weight = reweighted(entries.weight, residuals, loss)
        yield Iterate(
            number=number,
            entries=entries,
            U=U,
            s=s,
            V=V,
            eps=eps,
            penalty=penalty,
            exponent=exponent,
            residuals=residuals,
            weight=weight,
        )
        rank = spectrum.count_above(eps, max_rank)
        leading = spectrum.s[:max_rank]
        eps = smoothing.next_eps(number + 1, eps=eps, spectrum=leading, rank=rank)


@dataclass(frozen=True, kw_only=True)
class RowStep:
    """The least squares problems of all rows.

    Attributes
    ----------
    rank : int
        The number of singular directions that the rows are solved in.
    exponent, eps, penalty : float
        Of the metric: its exponent a, ε, and λ.
    """

    rank: int
    exponent: float
    eps: float
    penalty: float

    def solve(self, entries: Entries, spectrum: Spectrum, weight: Array) -> None:
        """Solve for all rows, and update a spectrum to that of the solution.

        Parameters
        ----------
        entries : Entries
        spectrum : Spectrum
            Before, the triplets of the previous iterate.
        weight : array of shape (n_entries,)
        """
        base = self.eps ** (2 * self.exponent)
        powers = spectrum.s[: self.rank] ** (2 * self.exponent)
        shrink = shrinkage(powers, base=base, penalty=self.penalty)
        weight, remainder = entry_weights(weight, base=base, penalty=self.penalty)
        V = spectrum.V[:, : self.rank]
        Z = entries.row_solves(V, shrink, weight)
        residuals = entries.values - entries.products(Z, V)
        spectrum.update(entries, remainder * residuals, (Z, V))
