"""Reweighted least squares on the tangent space of the low-rank matrices.

Both sides of W are weighted, by (σ_i σ_j)^a with a = 2 power; with U, V and σ from the
iterate before, the least squares problem is solved exactly by a low-rank matrix of the
tangent space, U M Vᵀ + B Vᵀ + U Cᵀ, plus a sparse one. The tangent part comes from
conjugate gradients, each step of which costs two passes over the entries.

C. Kümmerle and C. M. Verdun, "A scalable second order method for ill-conditioned
matrix completion from few samples", ICML 2021, solve the case power = 1/2, λ = 0.
"""

import numpy as np

from ._iterates import Iterate, entry_weights, first_spectrum, shrinkage
from ._loss import reweighted

# conjugate gradients end at this share of the first residual, or after so many steps
_REDUCTION = 0.1
_MAX_STEPS = 50


def two_sided(entries, smoothing, max_rank, loss, random_state):
    """Yield Iterates without end."""
    m, n = entries.shape
    spectrum = first_spectrum(entries, max_rank, random_state)
    eps = smoothing.start(spectrum.s[: max_rank + 1])
    spectrum.s = spectrum.s * (m * n / len(entries))
    values_by_column = entries.by_column(entries.values)
    weight, number = entries.weight, 0
    while True:
        rank = spectrum.above(eps, max_rank)
        penalty = smoothing.penalty(eps, spectrum.s[0])
        step = _Step(entries, spectrum, rank, eps, penalty, smoothing.exponent, weight)
        tangent = step.solve(values_by_column)
        residuals = entries.values - step.products(tangent)
        spectrum.update(entries, step.remainder * residuals, *step.factors(tangent))
        weight = reweighted(entries.weight, residuals, loss)
        triplets = spectrum.U[:, :rank], spectrum.s[:rank], spectrum.V[:, :rank]
        yield Iterate(number, *triplets, eps, penalty, residuals, weight)
        number += 1
        rank = spectrum.above(eps, max_rank)
        eps = smoothing.follow(number, eps, spectrum.s[:max_rank], rank)


class _Step:
    """One weighted least squares problem; vectors are triples (M, B, C).

    With e = ε^2a, D the weights on the tangent space less e, and A the map from it to
    the entries, the problem is ((e + λ) D⁻¹ + Aᵀ Q A) γ = Aᵀ Q y: the entries have
    weights Q = (e + λ) / (e + λ / w), and Q e / (e + λ) of their residuals remains as
    the sparse part of the solution.
    """

    def __init__(self, entries, spectrum, rank, eps, penalty, exponent, weight):
        self.entries = entries
        self.U, self.V = spectrum.U[:, :rank], spectrum.V[:, :rank]
        self.sigma = spectrum.s[:rank]
        base, penalty, eps = float(eps ** (2 * exponent)), float(penalty), float(eps)
        powers = self.sigma**exponent
        # what the tangent part of the iterate before was, if this one equals it
        self.start = self.sigma * (1 - base / np.maximum(powers**2, base))
        self.inner = shrinkage(powers[:, None] * powers, base, penalty)
        self.outer = shrinkage(powers * eps**exponent, base, penalty)
        self.weight, self.remainder = entry_weights(weight, base, penalty)
        uniform = self.weight.min() == self.weight.max()
        self.weight_by_column = (
            self.weight if uniform else entries.by_column(self.weight)
        )
        # [· | U] and [V | ·], to be filled up by a vector of the tangent space
        self._left = np.hstack([np.empty_like(self.U), self.U])
        self._right = np.hstack([self.V, np.empty_like(self.V)])
        m, n = entries.shape
        self.share = len(entries) / (m * n) * float(self.weight.mean())

    def factors(self, vector):
        """Return L and R with L Rᵀ = U M Vᵀ + B Vᵀ + U Cᵀ, until the next call."""
        M, B, C = vector
        k = len(self.sigma)
        np.add(self.U @ M, B, out=self._left[:, :k])
        self._right[:, k:] = C
        return self._left, self._right

    def products(self, vector):
        """Return the entries of a vector of the tangent space."""
        L, R = self.factors(vector)
        return self.entries.products(L, R)

    def _tangent(self, sums, column_sums):
        """Return Aᵀ of a sparse matrix S from S V and Sᵀ U."""
        M = self.U.T @ sums
        return M, sums - self.U @ M, column_sums - self.V @ (self.V.T @ column_sums)

    def _apply(self, vector):
        k = len(self.sigma)
        left, right = self.factors(vector)
        sums = self.entries.normal_row_sums(self.weight, left, right, slice(k))
        column_sums = self.entries.normal_column_sums(
            self.weight_by_column, left, right, slice(k, None)
        )
        image = self._tangent(sums, column_sums)
        shrink = self.inner, self.outer, self.outer
        return tuple(a + d * v for a, d, v in zip(image, shrink, vector, strict=True))

    def _precondition(self, vector):
        inner, outer = self.share + self.inner, self.share + self.outer
        return vector[0] / inner, vector[1] / outer, vector[2] / outer

    def solve(self, values_by_column):
        """Return the solution, by conjugate gradients from the iterate before."""
        dtype = self.U.dtype
        solution = np.diag(self.start), np.zeros_like(self.U), np.zeros_like(self.V)
        right = self._tangent(
            self.entries.row_sums(self.weight * self.entries.values, self.V),
            self.entries.sums_by_column(
                self.weight_by_column * values_by_column, self.U
            ),
        )
        residual = _combine(right, -1, self._apply(solution))
        direction = better = self._precondition(residual)
        size = first = _dot(residual, better)
        for _ in range(_MAX_STEPS):
            if size <= _REDUCTION**2 * first or size <= _rounding(right, dtype):
                break
            image = self._apply(direction)
            step = size / _dot(direction, image)
            solution = _combine(solution, step, direction)
            residual = _combine(residual, -step, image)
            better = self._precondition(residual)
            before, size = size, _dot(residual, better)
            direction = _combine(better, size / before, direction)
        return solution


def _dot(a, b):
    return sum(float(np.vdot(x, y)) for x, y in zip(a, b, strict=True))


def _combine(a, factor, b):
    return tuple(x + factor * y for x, y in zip(a, b, strict=True))


def _rounding(vector, dtype):
    return (10 * np.finfo(dtype).eps) ** 2 * _dot(vector, vector)
