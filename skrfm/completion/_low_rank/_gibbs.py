"""The average of low-rank matrices that are drawn from their posterior.

The entries are mean + a_i + b_j + u_i · v_j plus normal errors. The rows (a_i, u_i) and
the columns (b_j, v_j) have normal priors, whose means and covariances have a
normal-Wishart prior and are drawn too, as is the variance of the errors. So a row of
few entries is near the mean of all rows: ridges, and what they mean for rows of
different counts, are learned. The average of the matrices predicts better than any one
of them: no rank is chosen, and overfitting directions average out.

R. Salakhutdinov and A. Mnih, "Bayesian probabilistic matrix factorization using Markov
chain Monte Carlo", ICML 2008; the biases a and b are added to their model.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Self

import numpy as np

from ..._backend import FloatArray
from .._entries import Entries, ObservedEntries
from ._iterates import Averages, Iterate, Smoothing

# Draws of the first iterate, which are not averaged in later ones, as they depend on
# the start: on ratings ten are enough. Each further iterate doubles the number of all
# draws, as the singular value decomposition of an average costs as much as many draws.
_FIRST_DRAWS = 10
# Drawn matrices that are held before they are added to the average.
_MOST_HELD = 20
# The standard deviation of the first factors, in units of the entries.
_FIRST_SIZE = 0.1
# Rows of average size that the prior of the means and covariances weighs as much as.
_PRIOR_ROWS = 2.0
# Every fourth draw is kept, of the last ones so many: their variance is that of the
# posterior. Neighbours are alike.
_KEPT_EVERY, _MOST_KEPT = 4, 10
# Singular directions of the average are dropped if the root mean square of all that is
# dropped is at most this share of the deviation of the errors.
_NEGLIGIBLE = 0.01
# Eigenvalues of a Gram matrix below this share of the largest are rounding.
_ROUNDING = 1e-13


def gibbs(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState,
) -> Iterator[Iterate]:
    """Yield averages of ever more draws without end; a Solver on the CPU.

    ε of an iterate is a singular value of so many errors. Of `smoothing` the exponent
    alone has an effect, and `loss` has none.
    """
    host = entries.on_host()
    chain = _Chain.start(host, max_rank, random_state)
    average = _Average.empty(host)
    for number in count():
        if number == 1:
            average = _Average.empty(host)
        for _ in range(_FIRST_DRAWS * 2 ** max(0, number - 1)):
            chain.draw()
            average.add(chain)
        noise = average.noise * chain.unit**2
        U, s, V, mean = average.triplets(chain)
        U, s, V, mean = (entries.asarray(a) for a in (U, s, V, mean))
        yield Iterate(
            number=number,
            entries=entries,
            U=U,
            s=s,
            V=V,
            eps=float(np.sqrt(noise * max(entries.shape))),
            penalty=0.0,
            exponent=smoothing.exponent,
            residuals=entries.values - entries.products(U * s, V) - mean[entries.cols],
            weight=entries.weight,
            mean=mean,
            averages=average.averages(chain),
        )


@dataclass
class _Side:
    """The factors of the rows or the columns.

    Attributes
    ----------
    entries : ObservedEntries
        The entries with this side as rows, in units of the chain.
    factors : ndarray of shape (m, 1 + k)
        The biases, and the factors.
    center : ndarray of shape (1 + k,)
        The mean of their prior.
    """

    entries: ObservedEntries
    factors: FloatArray
    center: FloatArray

    def draw(self, other: Self, precision: float, rng: np.random.Generator) -> float:
        """Draw the prior and the factors; return the sum of the squared errors."""
        prior, self.center = _draw_prior(self.factors.astype(np.float64), rng)
        design = other.factors.copy()
        design[:, 0] = 1
        self.factors, square = self.entries.drawn_rows(
            rng.standard_normal(self.factors.shape, self.factors.dtype),
            design,
            other.factors[:, 0],
            prior=prior,
            linear=prior @ self.center,
            precision=precision,
        )
        return square

    def at_center(self, other: Self) -> FloatArray:
        """Return the values of the rows in a column at the mean of its prior."""
        center = other.center
        return self.factors[:, 0] + center[0] + self.factors[:, 1:] @ center[1:]


class _Chain:
    """The state of the Markov chain, with values of mean 0 and deviation 1.

    Attributes
    ----------
    rows, columns : _Side
    precision : float
        That of the errors of entries of weight 1.
    mean, unit : float
        Of the entries before.
    """

    def __init__(
        self,
        rows: _Side,
        columns: _Side,
        *,
        mean: float,
        unit: float,
        rng: np.random.Generator,
    ):
        self.rows, self.columns, self.mean, self.unit = rows, columns, mean, unit
        self.precision, self._rng = 1.0, rng
        self._total_weight = float(rows.entries.weight.sum(dtype=np.float64))

    @classmethod
    def start(
        cls, entries: ObservedEntries, rank: int, random_state: np.random.RandomState
    ) -> Self:
        """Return biases of 0 and small random factors."""
        rng = np.random.default_rng(random_state.randint(np.iinfo(np.int32).max))
        mean = float(entries.overall_mean())
        values = entries.values - entries.values.dtype.type(mean)
        variance = float(np.average(values**2, weights=entries.weight))
        # entries that are all equal vary by rounding alone
        rounding = float(np.finfo(values.dtype).eps) * mean**2
        unit = float(np.sqrt(max(variance, rounding)))
        values /= values.dtype.type(unit)
        by_row, sides = entries.with_values(values), []
        for side in (by_row, by_row.transposed()):
            factors = rng.standard_normal((side.shape[0], 1 + rank), values.dtype)
            factors *= values.dtype.type(_FIRST_SIZE)
            factors[:, 0] = 0
            sides.append(_Side(side, factors, np.zeros(1 + rank)))
        return cls(*sides, mean=mean, unit=unit, rng=rng)

    def draw(self) -> None:
        """Draw the rows, the columns and the precision of the errors in turn."""
        for side, other in ((self.rows, self.columns), (self.columns, self.rows)):
            square = side.draw(other, self.precision, self._rng)
        # with a prior that weighs as much as one entry of error 1
        shape, rate = (self._total_weight + 1) / 2, (square + 1) / 2
        self.precision = float(self._rng.gamma(shape, 1 / rate))


def _draw_prior(
    factors: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return a draw of the precision and the mean of the rows of factors."""
    n, k = factors.shape
    mean = factors.mean(axis=0)
    centred = factors - mean
    share = n * _PRIOR_ROWS / (n + _PRIOR_ROWS)
    scatter = np.eye(k) + centred.T @ centred + share * np.outer(mean, mean)
    # Bartlett's decomposition of a Wishart matrix with n + k degrees of freedom
    bartlett = np.tril(rng.standard_normal((k, k)), -1)
    bartlett += np.diag(np.sqrt(rng.chisquare(n + k - np.arange(k))))
    root = np.linalg.solve(np.linalg.cholesky(scatter).T, bartlett)
    precision = root @ root.T
    deviation = np.linalg.solve(root.T, rng.standard_normal(k))
    total = n + _PRIOR_ROWS
    return precision, n / total * mean + deviation / np.sqrt(total)


class _Average:
    """The sum of drawn matrices L Rᵀ + 1 bᵀ, in singular triplets of the first part."""

    def __init__(self, entries: ObservedEntries):
        m, n = entries.shape
        dtype = entries.values.dtype
        self._left, self._right = np.empty((m, 0), dtype), np.empty((n, 0), dtype)
        self._draws: list[tuple[FloatArray, FloatArray]] = []
        self._kept: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=_MOST_KEPT)
        self._biases = np.zeros(m), np.zeros(n)
        self._at_center = np.zeros(m), np.zeros(n)
        self._noise, self._count = 0.0, 0

    @classmethod
    def empty(cls, entries: ObservedEntries) -> Self:
        """Return the sum of no matrices."""
        return cls(entries)

    def add(self, chain: _Chain) -> None:
        """Add the matrix of a chain."""
        rows, columns = chain.rows, chain.columns
        self._draws.append((rows.factors[:, 1:], columns.factors[:, 1:]))
        for total, side in zip(self._biases, (rows, columns), strict=True):
            total += side.factors[:, 0]
        self._at_center[0][:] += rows.at_center(columns)
        self._at_center[1][:] += columns.at_center(rows)
        self._noise += 1 / chain.precision
        self._count += 1
        if self._count % _KEPT_EVERY == 0:
            self._kept.append((rows.factors, columns.factors))
        if len(self._draws) == _MOST_HELD:
            self._compress()

    @property
    def noise(self) -> float:
        """The mean variance of the errors, in units of the chain."""
        return self._noise / self._count

    def triplets(
        self, chain: _Chain
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return U, s and V of the average, and the means of its columns."""
        if self._draws:
            self._compress()
        dtype, scale = self._left.dtype, chain.unit / self._count
        of_rows, of_columns = self._biases
        left = np.hstack([self._left, of_rows.astype(dtype)[:, None]])
        right = np.hstack([self._right, np.ones((len(of_columns), 1), dtype)])
        U, s, V = self._decomposed(left, right)
        mean = chain.mean + of_columns * scale
        return U, s * dtype.type(scale), V, mean.astype(dtype)

    def averages(self, chain: _Chain) -> Averages:
        """Return the other averages."""
        of_rows, of_columns = (
            chain.mean + total * (chain.unit / self._count) for total in self._at_center
        )
        return Averages(
            noise=self.noise * chain.unit**2,
            of_rows=of_rows,
            of_columns=of_columns,
            draws=list(self._kept),
            unit=chain.unit,
        )

    def _compress(self) -> None:
        """Add the draws that have come to the triplets of the sum."""
        left, right = zip(*self._draws, strict=True)
        U, s, V = self._decomposed(
            np.hstack([self._left, *left]), np.hstack([self._right, *right])
        )
        self._left, self._right, self._draws = U * s, V, []

    def _decomposed(
        self, left: FloatArray, right: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the singular triplets of L Rᵀ that are not negligible."""
        to_left, a = _root(left)
        to_right, b = _root(right)
        u, s, vt = np.linalg.svd(a @ b.T, full_matrices=False)
        elements = len(left) * len(right)
        least = _NEGLIGIBLE * self._count * np.sqrt(self.noise * elements)
        dropped = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
        rank = max(1, int(np.count_nonzero(dropped > least)))
        dtype = left.dtype
        U = left @ (to_left @ u[:, :rank]).astype(dtype)
        V = right @ (to_right @ vt[:rank].T).astype(dtype)
        return U, s[:rank].astype(dtype), V


def _root(A: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return T and B such that A T has orthonormal columns, and A = (A T) B.

    The Gram matrix takes a fraction of the time of a QR decomposition. It loses the
    directions whose size is below the square root of a rounding unit, which are
    negligible in an average.
    """
    gram = (A.T @ A).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    kept = values > _ROUNDING * values[-1]
    size, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return vectors / size, size[:, None] * vectors.T
