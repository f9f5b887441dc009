"""The dense algorithm of the paper: for reference, and for small matrices.

A. Radhakrishnan, M. Belkin and D. Drusvyatskiy, "Linear recursive feature machines
provably recover low-rank matrices", PNAS 2025. Each step solves one system per row,
with the metric between the columns observed in it, and takes the new metric from the
AGOP WᵀW.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import numpy as np

from ..._backend import Array
from .._entries import Entries
from ._iterates import Iterate, RowModel, Smoothing, shrinkage
from ._loss import reweighted

# The least ridge in rounding units of the largest diagonal entry: bounds the condition
# of the systems, since the metric tends to one of low rank.
_LEAST_RIDGE = 16


def exact(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState | None = None,
) -> Iterator[Iterate]:
    """Yield iterates without end, with the singular directions above ε; a Solver.

    `random_state` has no effect: the algorithm is deterministic.
    """
    return _dense_iterates(
        entries, smoothing, max_rank=max_rank, loss=loss, keep_all=False
    )


def full_spectrum(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState | None = None,
) -> Iterator[Iterate]:
    """Yield iterates without end, with all singular directions; a Solver.

    Each direction is shrunk by the metric (WᵀW + ε²I)^a, and the means of the columns
    are subtracted. A matrix whose spectrum only decays is predicted best while ε is
    within its spectrum, where directions below ε count as well.
    """
    mean = entries.column_means()
    iterates = _dense_iterates(
        entries.subtract(mean), smoothing, max_rank=max_rank, loss=loss, keep_all=True
    )
    for iterate in iterates:
        yield replace(iterate, entries=entries, mean=mean)


def _dense_iterates(
    entries: Entries, smoothing: Smoothing, *, max_rank: int, loss: str, keep_all: bool
) -> Iterator[Iterate]:
    """Yield iterates with the singular directions above ε, or with all of them."""
    spectrum = np.linalg.svd(entries.dense(), compute_uv=False)
    eps = smoothing.first_eps(spectrum[: max_rank + 1])
    metric = _Metric(entries, top=float(spectrum[0]), exponent=smoothing.exponent)
    weight, top = entries.weight, 0.0
    for number in count():
        penalty = smoothing.penalty(eps, top)
        W = _solve_rows(entries, metric.P, penalty=penalty, weight=weight)
        U, spectrum, Vt = np.linalg.svd(W, full_matrices=False)
        rank = max(1, int(np.count_nonzero(spectrum[:max_rank] > eps)))
        kept = slice(None if keep_all else rank)
        U, s, V = U[:, kept], spectrum[kept], Vt[kept].T
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
            exponent=smoothing.exponent,
            residuals=residuals,
            weight=weight,
            metric=metric.row_metric(penalty) if keep_all else None,
        )
        leading, top = spectrum[:max_rank], spectrum[0]
        eps = smoothing.next_eps(number + 1, eps=eps, spectrum=leading, rank=rank)
        metric.update(W, spectrum, Vt=Vt, eps=eps)


class _Metric:
    """The metric P = (WᵀW + ε²I)^a of the columns, with its eigenvectors.

    Before the first step P is a multiple of the identity.
    """

    def __init__(self, entries: Entries, *, top: float, exponent: float):
        self._exponent, self._base = exponent, 0.0
        dtype = entries.values.dtype
        self._Vt = entries.asarray(np.eye(entries.shape[1], dtype=dtype))
        self._identity = self._Vt
        self._powers = np.full_like(self._Vt[0], top ** (2 * exponent))
        self.P = self._powers * self._Vt

    def update(self, W: Array, spectrum: Array, *, Vt: Array, eps: float) -> None:
        """Set the metric to that of W, whose singular values and vectors are given."""
        self._base = eps ** (2 * self._exponent)
        self._powers = (spectrum**2 + eps**2) ** self._exponent
        self._Vt = Vt
        self.P = _power(W.T @ W + eps**2 * self._identity, self._exponent)

    def row_metric(self, penalty: float) -> RowModel:
        """Return the directions and penalties of the rows that are solved with P."""
        shrink = shrinkage(self._powers, base=self._base, penalty=penalty)
        return RowModel(self._Vt.T, shrink)


def _solve_rows(entries: Entries, P: Array, *, penalty: float, weight: Array) -> Array:
    """Return W with the rows P_i (P_ii + λ / w)⁻¹ y_i."""
    diagonal = np.diagonal(P)[entries.cols]
    largest = entries.row_maxima(diagonal)
    least = _LEAST_RIDGE * np.finfo(P.dtype).eps * largest[entries.rows]
    noise = np.maximum(penalty / weight, least).astype(P.dtype)
    return entries.row_sums(entries.dual_solves(P, noise), P)


def _power(A: Array, exponent: float) -> Array:
    """Return the power of a symmetric positive semidefinite matrix."""
    if exponent == 1:
        return A
    values, vectors = np.linalg.eigh(A)
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T
