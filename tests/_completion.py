"""What the tests of the low-rank completers share: matrices, errors, parameters."""

from types import SimpleNamespace

import numpy as np
import pytest

from skrfm import LinRFMCompleter
from skrfm.completion._entries import ObservedEntries

SOLVERS = ["two-sided", "alternating"]
every_solver = pytest.mark.parametrize("solver", SOLVERS)
every_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def low_rank(m=60, n=40, rank=2, share=0.5, noise=0.0, seed=0):
    """(the matrix, and the same with noise and NaN where it is not observed)"""
    rng = np.random.default_rng(seed)
    full = rng.normal(size=(m, rank)) @ rng.normal(size=(rank, n))
    noisy = full + noise * rng.normal(size=full.shape)
    return full, np.where(rng.random(full.shape) < share, noisy, np.nan)


def completer_of(**parameters):
    return LinRFMCompleter(**{"random_state": 0} | parameters)


def predicted(completer):
    """The whole matrix that was fitted."""
    U, s, V = completer.factors_
    return (U * s) @ V.T + completer.mean_


def error(got, full):
    return np.linalg.norm(got - full) / np.linalg.norm(full)


def triplets_of(X):
    rows, cols = np.nonzero(~np.isnan(X))
    return rows, cols, X[rows, cols]


def entries_of(X):
    """The ObservedEntries of a matrix with NaN where it is not observed."""
    rows, cols, values = triplets_of(X)
    return ObservedEntries(rows, cols, values, shape=X.shape)


def orthonormal(rng, rows, k):
    return np.linalg.qr(rng.normal(size=(rows, k)))[0]


class NoisyMatrix:
    """A small noisy matrix of rank 2, partly observed, with weights."""

    def __init__(self, m=9, n=7, share=0.6, dtype=np.float64, seed=0):
        self.rng = rng = np.random.default_rng(seed)
        self.Y = rng.normal(size=(m, 2)) @ rng.normal(size=(2, n))
        self.Y += 0.3 * rng.normal(size=(m, n))
        self.mask = rng.random((m, n)) < share
        self.weight = rng.uniform(0.3, 3, size=(m, n))
        rows, cols = np.nonzero(self.mask)
        values, weight = self.Y[self.mask].astype(dtype), self.weight[self.mask]
        self.entries = ObservedEntries(rows, cols, values, shape=(m, n), weight=weight)

    def triplets(self, k=2):
        """Some singular triplets to start a step from."""
        (m, n), dtype = self.mask.shape, self.entries.values.dtype
        U, V = orthonormal(self.rng, m, k), orthonormal(self.rng, n, k)
        s = np.sort(self.rng.uniform(2, 6, size=k))[::-1]
        return SimpleNamespace(U=U.astype(dtype), s=s.astype(dtype), V=V.astype(dtype))

    def sparse(self, values):
        S = np.zeros(self.mask.shape)
        S[self.mask] = values
        return S


def variances_by_leaving_out(covariance, X):
    """The scale of each column's variances, and what errors of its mean add to them.

    Each entry is predicted from the others by the plain formulas of a Gaussian process
    on entries less the means of their columns. `covariance`, noise included, is of the
    observed entries of X in the order of `np.nonzero`.
    """
    rows, cols = np.nonzero(~np.isnan(X))
    y, counts = X[rows, cols], np.bincount(cols, minlength=X.shape[1])
    squares, factors = np.full((2, *X.shape), np.nan)
    for e in range(len(y)):
        rest = np.delete(np.arange(len(y)), e)
        same = cols[rest] == cols[e]
        k, C = covariance[e, rest], covariance[np.ix_(rest, rest)]
        means = np.array([y[rest][cols[rest] == j].mean() for j in range(X.shape[1])])
        weights = np.linalg.solve(C, k)
        factor = 1 - weights[same].sum()
        residual = y[e] - means[cols[e]] - weights @ (y[rest] - means[cols[rest]])
        variance = covariance[e, e] - weights @ k
        variance += (factor / same.sum()) ** 2 * C[np.ix_(same, same)].sum()
        squares[rows[e], cols[e]] = residual**2 / variance
        factors[rows[e], cols[e]] = factor
    # as if each column had ten more entries of average scale
    scales = (np.nansum(squares, axis=0) + 10 * np.nanmean(squares)) / (counts + 10)
    scales *= (np.nanquantile(np.sqrt(squares / scales), 0.9) / 1.6449) ** 2
    same = [cols == j for j in range(len(counts))]
    totals = [covariance[np.ix_(mask, mask)].sum() for mask in same]
    return scales, (np.nanmean(factors, axis=0) / counts) ** 2 * totals
