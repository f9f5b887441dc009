"""The dense algorithm of the paper: for reference, and for small matrices.

A. Radhakrishnan, M. Belkin and D. Drusvyatskiy, "Linear recursive feature machines
provably recover low-rank matrices", PNAS 2025. One solve with the metric restricted to
its entries for each row, then a new metric from the AGOP WᵀW.
"""

import numpy as np

from ._iterates import Iterate, shrinkage
from ._loss import reweighted

# the least ridge, in rounding units of the largest diagonal entry
_LEAST_RIDGE = 16


def exact(entries, smoothing, max_rank, loss, random_state, graded=False):
    """Yield Iterates without end.

    They have the singular directions above ε, or `graded` ones all of them: data of no
    low rank are predicted best while ε is still within their spectrum, and what is
    below it then counts as well, as far as the metric (WᵀW + ε²I)^a says. The means of
    the columns are taken out of those.
    """
    n, mean = entries.shape[1], entries.column_means() if graded else None
    entries = entries.less(mean) if graded else entries
    dense = entries.dense()
    spectrum = np.linalg.svd(dense, compute_uv=False)
    eps = smoothing.start(spectrum[: max_rank + 1])
    weight, number = entries.weight, 0
    Vt = eye = entries.asarray(np.eye(n, dtype=dense.dtype))
    base, top = 0.0, float(spectrum[0])
    powers = np.full_like(Vt[0], top ** (2 * smoothing.exponent))
    P = powers * Vt
    while True:
        top = spectrum[0] if number else 0.0
        penalty = smoothing.penalty(eps, top)
        W = _solve_rows(entries, P, penalty, weight)
        metric = (Vt.T, shrinkage(powers, base, penalty)) if graded else None
        U, spectrum, Vt = np.linalg.svd(W, full_matrices=False)
        rank = max(1, int(np.count_nonzero(spectrum[:max_rank] > eps)))
        kept = len(spectrum) if graded else rank
        triplets = U[:, :kept], spectrum[:kept], Vt[:kept].T
        fitted = entries.products(triplets[0] * triplets[1], triplets[2])
        residuals = entries.values - fitted
        weight = reweighted(entries.weight, residuals, loss)
        yield Iterate(
            number, *triplets, eps, penalty, residuals, weight, metric=metric, mean=mean
        )
        number += 1
        eps = smoothing.follow(number, eps, spectrum[:max_rank], rank)
        base = eps ** (2 * smoothing.exponent)
        powers = (spectrum**2 + eps**2) ** smoothing.exponent
        P = _power(W.T @ W + eps**2 * eye, smoothing.exponent)


def _solve_rows(entries, P, penalty, weight):
    """Return W with the rows P_i (P_ii + λ / w)⁻¹ y_i."""
    diagonal = np.diagonal(P)[entries.cols]
    largest = entries.row_maxima(diagonal)
    least = _LEAST_RIDGE * np.finfo(P.dtype).eps * largest[entries.rows]
    noise = np.maximum(penalty / weight, least).astype(P.dtype)
    return entries.row_sums(entries.dual_solves(P, noise), P)


def _power(A, exponent):
    if exponent == 1:
        return A
    values, vectors = np.linalg.eigh(A)
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T
