"""Reweighted least squares by rows and columns in turn: one small solve for each.

With the k leading right singular vectors V of the iterate before, the metric
(WᵀW + ε²I)^a is V diag(p − e) Vᵀ + e I, and the least squares problem of a row is one
of k unknowns; what they leave of the residuals is the sparse part of W.
"""

from ._iterates import Iterate, entry_weights, first_spectrum, shrinkage
from ._loss import reweighted


def alternating(entries, smoothing, max_rank, loss, random_state):
    """Yield Iterates without end."""
    m, n = entries.shape
    spectrum = first_spectrum(entries, max_rank, random_state)
    eps = smoothing.start(spectrum.s[: max_rank + 1])
    spectrum.s = spectrum.s * (m * n / len(entries))
    columns = entries.transposed()
    weight, number = entries.weight, 0
    while True:
        rank = spectrum.above(eps, max_rank)
        penalty = smoothing.penalty(eps, spectrum.s[0])
        base = eps ** (2 * smoothing.exponent)
        sides = (entries, weight), (columns, entries.by_column(weight))
        for side, side_weight in sides:
            powers = spectrum.s[:rank] ** (2 * smoothing.exponent)
            shrink = shrinkage(powers, base, penalty)
            solve_rows(
                side, spectrum, shrink, entry_weights(side_weight, base, penalty)
            )
            spectrum.transpose()
        triplets = spectrum.U[:, :rank], spectrum.s[:rank], spectrum.V[:, :rank]
        fitted = entries.products(triplets[0] * triplets[1], triplets[2])
        residuals = entries.values - fitted
        weight = reweighted(entries.weight, residuals, loss)
        yield Iterate(number, *triplets, eps, penalty, residuals, weight)
        number += 1
        rank = spectrum.above(eps, max_rank)
        eps = smoothing.follow(number, eps, spectrum.s[:max_rank], rank)


def solve_rows(entries, spectrum, shrink, weights):
    """Solve for all rows; the triplets become those of the solution."""
    weight, remainder = weights
    V = spectrum.V[:, : len(shrink)]
    Z = entries.row_solves(V, shrink, weight)
    residuals = entries.values - entries.products(Z, V)
    spectrum.update(entries, remainder * residuals, Z, V)
