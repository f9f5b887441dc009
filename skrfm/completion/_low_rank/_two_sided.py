"""Reweighted least squares on the tangent space of the low-rank matrices.

Both sides of W are weighted, by (σ_i σ_j)^a with a = 2 power. With U, V and σ of the
previous iterate, the least squares problem is solved exactly by a low-rank matrix of
the tangent space, U M Vᵀ + B Vᵀ + U Cᵀ, plus a sparse one. The tangent part comes from
conjugate gradients, each step of which takes two passes over the entries.

C. Kümmerle and C. M. Verdun, "A scalable second order method for ill-conditioned
matrix completion from few samples", ICML 2021, solve the case power = 1/2, λ = 0.
"""

from collections.abc import Iterator
from itertools import count
from typing import TypeAlias

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

# Conjugate gradients end at this share of the first residual: a smaller share makes an
# iterate more accurate and more expensive.
_REDUCTION = 0.1
# Bounds the cost of an iterate whose conjugate gradients converge slowly.
_MAX_STEPS = 50

#: a vector (M, B, C) of the tangent space, of shapes (k, k), (m, k) and (n, k)
_Tangent: TypeAlias = tuple[Array, Array, Array]


def two_sided(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState,
    start: tuple[Spectrum, float] | None = None,
) -> Iterator[Iterate]:
    """Yield iterates without end; a Solver.

    `start` holds the triplets and ε to begin with, None for those of the observed
    entries.
    """
    spectrum, eps = start or starting_point(
        entries, smoothing, max_rank=max_rank, random_state=random_state
    )
    values_by_column, weight = entries.by_column(entries.values), entries.weight
    for number in count():
        rank = spectrum.count_above(eps, max_rank)
        penalty = smoothing.penalty(eps, spectrum.s[0])
        step = TangentStep(
            entries,
            spectrum,
            weight,
            rank=rank,
            exponent=smoothing.exponent,
            eps=eps,
            penalty=penalty,
        )
        residuals = step.update(spectrum, values_by_column)
        weight = reweighted(entries.weight, residuals, loss)
        yield Iterate(
            number=number,
            entries=entries,
            U=spectrum.U[:, :rank],
            s=spectrum.s[:rank],
            V=spectrum.V[:, :rank],
            eps=eps,
            penalty=penalty,
            exponent=smoothing.exponent,
            residuals=residuals,
            weight=weight,
        )
        rank = spectrum.count_above(eps, max_rank)
        leading = spectrum.s[:max_rank]
        eps = smoothing.next_eps(number + 1, eps=eps, spectrum=leading, rank=rank)


class TangentStep:
    """One weighted least squares problem on the tangent space.

    With e = ε^2a, D the weights on the tangent space less e, and A the map from it to
    the entries, the problem is ((e + λ) D⁻¹ + Aᵀ Q A) γ = Aᵀ Q y. The entries have
    weights Q = (e + λ) / (e + λ / w), and Q e / (e + λ) of their residuals are the
    sparse part of the solution.

    Parameters
    ----------
    entries : Entries
    spectrum : Spectrum
        The triplets of the previous iterate.
    weight : array of shape (n_entries,)
    rank : int
        The number of singular directions that span the tangent space.
    exponent, eps, penalty : float
        Of the metric: its exponent a, ε, and λ.

    Attributes
    ----------
    remainder : array of shape (n_entries,)
        The factors of the residuals in the sparse part.
    """

    def __init__(
        self,
        entries: Entries,
        spectrum: Spectrum,
        weight: Array,
        *,
        rank: int,
        exponent: float,
        eps: float,
        penalty: float,
    ):
        self.entries = entries
        self.U, self.V = spectrum.U[:, :rank], spectrum.V[:, :rank]
        self._s = spectrum.s[:rank]
        base, penalty, eps = float(eps ** (2 * exponent)), float(penalty), float(eps)
        powers = self._s**exponent
        # the tangent part of the previous iterate, if this iterate equals it
        self._start = self._s * (1 - base / np.maximum(powers**2, base))
        self._inner = shrinkage(powers[:, None] * powers, base=base, penalty=penalty)
        self._outer = shrinkage(powers * eps**exponent, base=base, penalty=penalty)
        self.weight, self.remainder = entry_weights(weight, base=base, penalty=penalty)
        uniform = self.weight.min() == self.weight.max()
        self._weight_by_column = (
            self.weight if uniform else entries.by_column(self.weight)
        )
        # [· | U] and [V | ·]: a tangent vector fills the empty halves
        self._left = np.hstack([np.empty_like(self.U), self.U])
        self._right = np.hstack([self.V, np.empty_like(self.V)])
        m, n = entries.shape
        self._share = len(entries) / (m * n) * float(self.weight.mean())

    def update(self, spectrum: Spectrum, values_by_column: Array) -> Array:
        """Update a spectrum to that of the solution; return the residuals."""
        tangent = self.solve(values_by_column)
        residuals = self.entries.values - self.products(tangent)
        sparse = self.remainder * residuals
        spectrum.update(self.entries, sparse, self.factors(tangent))
        return residuals

    def factors(self, tangent: _Tangent) -> tuple[Array, Array]:
        """Return L and R with L Rᵀ = U M Vᵀ + B Vᵀ + U Cᵀ.

        The arrays are overwritten by the next call.
        """
        M, B, C = tangent
        k = len(self._s)
        np.add(self.U @ M, B, out=self._left[:, :k])
        self._right[:, k:] = C
        return self._left, self._right

    def products(self, tangent: _Tangent) -> Array:
        """Return the entries of a vector of the tangent space."""
        L, R = self.factors(tangent)
        return self.entries.products(L, R)

    def _project(self, sums: Array, column_sums: Array) -> _Tangent:
        """Return Aᵀ of a sparse matrix S, from S V and Sᵀ U."""
        M = self.U.T @ sums
        return M, sums - self.U @ M, column_sums - self.V @ (self.V.T @ column_sums)

    def _apply(self, tangent: _Tangent) -> _Tangent:
        """Return the operator of the least squares problem times a vector."""
        k = len(self._s)
        L, R = self.factors(tangent)
        sums = self.entries.normal_row_sums(self.weight, L, R, slice(k))
        column_sums = self.entries.normal_column_sums(
            self._weight_by_column, L, R, slice(k, None)
        )
        M, B, C = self._project(sums, column_sums)
        inner, outer = self._inner * tangent[0], self._outer
        return M + inner, B + outer * tangent[1], C + outer * tangent[2]

    def _precondition(self, tangent: _Tangent) -> _Tangent:
        """Return the diagonal preconditioner times a vector."""
        inner, outer = self._share + self._inner, self._share + self._outer
        return tangent[0] / inner, tangent[1] / outer, tangent[2] / outer

    def solve(self, values_by_column: Array) -> _Tangent:
        """Return the solution by conjugate gradients, from the previous iterate."""
        solution = np.diag(self._start), np.zeros_like(self.U), np.zeros_like(self.V)
        right = self._right_hand_side(values_by_column)
        residual = _combine(right, -1, self._apply(solution))
        direction = preconditioned = self._precondition(residual)
        size = first = _dot(residual, preconditioned)
        rounding = (10 * np.finfo(self.U.dtype).eps) ** 2 * _dot(right, right)
        for _ in range(_MAX_STEPS):
            if size <= _REDUCTION**2 * first or size <= rounding:
                break
            image = self._apply(direction)
            step = size / _dot(direction, image)
            solution = _combine(solution, step, direction)
            residual = _combine(residual, -step, image)
            preconditioned = self._precondition(residual)
            previous, size = size, _dot(residual, preconditioned)
            direction = _combine(preconditioned, size / previous, direction)
        return solution

    def _right_hand_side(self, values_by_column: Array) -> _Tangent:
        """Return Aᵀ Q y."""
        values = self.weight * self.entries.values
        column_values = self._weight_by_column * values_by_column
        return self._project(
            self.entries.row_sums(values, self.V),
            self.entries.sums_by_column(column_values, self.U),
        )


def _dot(a: _Tangent, b: _Tangent) -> float:
    """Return the inner product of two vectors."""
    return sum(float(np.vdot(x, y)) for x, y in zip(a, b, strict=True))


def _combine(a: _Tangent, factor: float, b: _Tangent) -> _Tangent:
    """Return a + factor · b."""
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]
