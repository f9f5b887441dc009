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
