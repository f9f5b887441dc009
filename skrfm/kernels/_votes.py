"""Votes of training rows with the weights distance^−exponent, in blocks of rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._backend import FloatArray, NumpyBackend
from ._base import RadialKernel

# Pairs whose distances are held at a time: 32 MB in double precision, a few times over.
_BLOCK_PAIRS = 1 << 22
# Rows are equal up to so many rounding errors of their entries, and two distances up to
# this share, by the bytes of a number: what rounding in the distances may make of them.
_EQUAL_ROWS, _EQUAL_DISTANCES = 30, {4: 1e-4, 8: 1e-10}


class _SquaredDistance(RadialKernel):
    """‖t − z‖² itself, which tiles compute without cancellation of near rows."""

    def value(self, u, bandwidth, xp):
        """Return u."""
        return u


def vote_blocks(
    T: FloatArray, Z: FloatArray, z_norms: FloatArray, votes: FloatArray
) -> Iterator[tuple[int, "VoteBlock"]]:
    """Yield the first row of each block of rows, and its VoteBlock.

    Parameters
    ----------
    T : ndarray of shape (m, k)
        Rows.
    Z : ndarray of shape (n, k)
        Training rows.
    z_norms : ndarray of shape (n,)
        Square norms of the training rows.
    votes : ndarray of shape (n, n_classes)
        One-hot labels times weights.
    """
    backend, kernel = NumpyBackend(), _SquaredDistance()
    size = max(1, _BLOCK_PAIRS // len(Z))
    for start in range(0, len(T), size):
        rows = T[start : start + size]
        squares = backend.cross(kernel, rows, Z, 1.0)
        yield start, VoteBlock(rows, squares, z_norms, votes)


class VoteBlock:
    """Votes of all training rows on a block of rows.

    Parameters
    ----------
    T : ndarray of shape (b, k)
        The rows.
    squares : ndarray of shape (b, n)
        Their squared distances from the training rows.
    z_norms : ndarray of shape (n,)
        Square norms of the training rows.
    votes : ndarray of shape (n, n_classes)
        One-hot labels times weights.
    """

    def __init__(self, T, squares, z_norms, votes):
        eps = np.finfo(T.dtype).eps
        norms = np.einsum("ij,ij->i", T, T)[:, None] + z_norms
        self.squares = squares.astype(np.float64)
        self.squares[squares <= (_EQUAL_ROWS * eps) ** 2 * norms] = 0
        self._votes, self._totals = votes, votes.sum(axis=0)
        self._tie = _EQUAL_DISTANCES[T.dtype.itemsize]
        # shares of the own votes of the rows that are cast, None where all are
        self._own: Any = None
        self._logs: Any = None

    def leave_out(self, rows, votes, shares):
        """Leave the rows, which are training rows, out of their own votes.

        `shares` (n,) of the weights are not left out.
        """
        self._own = rows, shares[rows], votes[rows]
        position = np.arange(len(rows))
        self.squares[position, rows] = np.where(shares[rows] > 0, 0, np.inf)

    def probabilities(self, exponent):
        """Return the class shares (b, n_classes) of the votes at an exponent."""
        if exponent == 0:
            counts = np.broadcast_to(
                self._totals, (len(self.squares), *self._totals.shape)
            )
            if self._own is not None:
                _, shares, votes = self._own
                counts = counts - (1 - shares)[:, None] * votes
        else:
            counts = self._counts(exponent)
        total = counts.sum(axis=1, keepdims=True)
        # a single training row that is left out leaves none
        none = total <= 0
        return np.where(none, 1 / counts.shape[1], counts / np.where(none, 1, total))

    def _counts(self, exponent):
        """Return the votes by class at a positive exponent."""
        if self._logs is None:
            self._logs = self._log_ratios()
        if exponent == np.inf:
            weights = (self._logs <= self._tie / 2).astype(float)
        else:
            weights = np.exp(-exponent * self._logs)
        counts = weights @ self._votes
        if self._own is not None:
            rows, shares, votes = self._own
            own = weights[np.arange(len(rows)), rows] * (1 - shares)
            counts -= own[:, None] * votes
        return counts

    def _log_ratios(self):
        """Return log(distance / least distance); inf where only equal rows vote."""
        least = self.squares.min(axis=1, keepdims=True)
        equal = least[:, 0] == 0
        safe = np.where((least > 0) & np.isfinite(least), least, 1)
        logs = np.full_like(self.squares, np.inf)
        with np.errstate(divide="ignore"):
            np.log(self.squares / safe, out=logs)
        logs[equal] = np.where(self.squares[equal] == 0, 0, np.inf)
        return logs / 2
