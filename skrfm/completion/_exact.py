"""The dense algorithm of the paper: for reference, and for small matrices.

A. Radhakrishnan, M. Belkin and D. Drusvyatskiy, "Linear recursive feature machines
provably recover low-rank matrices", PNAS 2025. One solve with the metric restricted to
its entries for each row, then a new metric from the AGOP WᵀW.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, svd

from ._iterates import Iterate
from ._loss import reweighted

# the least ridge, in rounding units of the largest diagonal entry
_LEAST_RIDGE = 16


def exact(entries, smoothing, max_rank, loss, random_state):
    """Yield Iterates without end."""
    n = entries.shape[1]
    dense = np.zeros(entries.shape, dtype=entries.values.dtype)
    dense[entries.rows, entries.cols] = entries.values
    spectrum = svd(dense, compute_uv=False)
    eps = smoothing.start(spectrum[: max_rank + 1])
    weight, number = entries.weight, 0
    P = np.eye(n, dtype=dense.dtype) * spectrum[0] ** (2 * smoothing.exponent)
    while True:
        top = spectrum[0] if number else 0.0
        penalty = smoothing.penalty(eps, top)
        W = _solve_rows(entries, P, penalty, weight)
        U, spectrum, Vt = svd(W, full_matrices=False)
        rank = max(1, int(np.count_nonzero(spectrum[:max_rank] > eps)))
        triplets = U[:, :rank], spectrum[:rank], Vt[:rank].T
        fitted = entries.products(triplets[0] * triplets[1], triplets[2])
        residuals = entries.values - fitted
        weight = reweighted(entries.weight, residuals, loss)
        yield Iterate(number, *triplets, eps, penalty, residuals, weight)
        number += 1
        eps = smoothing.follow(number, eps, spectrum[:max_rank], rank)
        P = _power(W.T @ W + eps**2 * np.eye(n, dtype=W.dtype), smoothing.exponent)


def _solve_rows(entries, P, penalty, weight):
    W = np.zeros(entries.shape, dtype=P.dtype)
    for i, chosen in enumerate(entries.by_row()):
        seen = entries.cols[chosen]
        if len(seen):
            A = P[np.ix_(seen, seen)]
            least = _LEAST_RIDGE * np.finfo(A.dtype).eps * np.diagonal(A).max()
            A = A + np.diag(np.maximum(penalty / weight[chosen], least))
            a = cho_solve(cho_factor(A), entries.values[chosen])
            W[i] = P[:, seen] @ a
    return W


def _power(A, exponent):
    if exponent == 1:
        return A
    values, vectors = eigh(A)
    return (vectors * np.maximum(values, 0) ** exponent) @ vectors.T
