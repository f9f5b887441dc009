"""What the solvers of a completion share: iterates, smoothing and singular triplets.

Every solver minimises, over matrices W of rank at most `max_rank`,

    ½ Σ_e w_e (y_e − W_e)² + (λ/p) Σ_j σ_j(W)^p,   p = 2 − 4 power

(for p = 0 the penalty is λ Σ_j log σ_j) by reweighted least squares: singular values
are weighted by those of the iterate before, smoothed by ε, and ε falls.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Smoothing:
    """How ε and λ go from one iterate to the next.

    `ridge` is λ relative to σ_1^(2 exponent), `coupling` λ relative to ε^(2 exponent);
    one of them is 0. `decay` is the factor of ε, and ε falls faster where the spectrum
    has a gap below ε. It starts at the singular value of the observed entries with the
    number `first`, by default the last that is known, and ends at `floor` relative to
    σ_1.
    """

    power: float = 0.5
    ridge: float = 0.0
    coupling: float = 0.0
    decay: float = 0.95
    floor: float = 1e-13
    first: int | None = None

    @property
    def exponent(self):
        """The power of σ in the weights of a two-sided step."""
        return 2 * self.power

    def penalty(self, eps, top):
        """Return λ for a smoothing ε and a largest singular value."""
        a = 2 * self.exponent
        return float(self.ridge * top**a + self.coupling * eps**a)

    def start(self, spectrum):
        """Return the first ε, for the singular values of the observed entries."""
        last = len(spectrum) - 1
        chosen = last if self.first is None else min(self.first, last)
        return float(max(spectrum[chosen], self.floor * spectrum[0]))

    def follow(self, number, eps, spectrum, rank):
        """Return ε of an iterate.

        ε and the spectrum are those of the iterate before; `rank` of the values are
        above ε. Only as many values come in as the rank may have: a gap beyond them
        says nothing.
        """
        following = self.decay * eps
        if rank < len(spectrum) and spectrum[rank - 1] > _GAP * spectrum[rank]:
            following = min(following, max(spectrum[rank], eps / _GAP))
        return float(max(following, self.floor * spectrum[0]))


@dataclass(frozen=True)
class Schedule(Smoothing):
    """Smoothing by given values of ε; the last one stays."""

    values: tuple = ()

    def start(self, spectrum):
        """Return the first ε."""
        return self.values[0]

    def follow(self, number, eps, spectrum, rank):
        """Return ε of an iterate."""
        return self.values[min(number, len(self.values) - 1)]


# a gap in the spectrum: a ratio of neighbours beyond which ε may fall at once
_GAP = 10.0


@dataclass
class Iterate:
    """U diag(s) Vᵀ, the smoothing it came with, and how it fits the entries.

    `entries` are those that it was fitted to; whoever runs a solver sets them. A
    graded iterate keeps the `metric` that it was solved with, directions V and what
    they add to the least squares problem of a row; of the others the metric is that of
    the next iterate. It also has a `mean` for each column, which the matrix adds.
    """

    number: int
    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    eps: float
    penalty: float
    residuals: np.ndarray
    weight: np.ndarray
    last: bool = False
    entries: object = None
    metric: tuple | None = None
    mean: np.ndarray | None = None

    @property
    def rank(self):
        """The number of singular values: those above ε, unless it is graded."""
        return len(self.s)

    @property
    def graded(self):
        """Whether all singular directions are kept."""
        return self.metric is not None

    def row_metric(self, exponent):
        """Return V, and the penalties of its directions in the problem of a row."""
        if self.graded:
            return self.metric
        base = self.eps ** (2 * exponent)
        return self.V, shrinkage(self.s ** (2 * exponent), base, self.penalty)

    def loss(self):
        """Return the weighted sum of squared residuals."""
        return float(np.vdot(self.weight * self.residuals, self.residuals))

    def products(self, entries):
        """Return the entries of U diag(s) Vᵀ at the places of `entries`."""
        return self.add_mean(entries, entries.products(self.U * self.s, self.V))

    def add_mean(self, entries, values):
        """Return values at the places of entries with the means of their columns."""
        return values if self.mean is None else values + self.mean[entries.cols]

    def distance(self, other):
        """Return ‖W − W'‖ / ‖W‖ in the Frobenius norm."""
        left = np.linalg.qr(np.hstack([self.U * self.s, -other.U * other.s]), mode="r")
        right = np.linalg.qr(np.hstack([self.V, other.V]), mode="r")
        size = max(float(np.linalg.norm(self.s)), float(np.finfo(self.s.dtype).tiny))
        return float(np.linalg.norm(left @ right.T) / size)


def shrinkage(powers, base, penalty):
    """Return (e + λ) / (p − e), p the weights of what is kept and e of the rest.

    A weight that is nearly that of the rest would divide by nothing.
    """
    least = max(_TINY * base, float(np.finfo(powers.dtype).tiny))
    return (base + penalty) / np.maximum(powers - base, least)


_TINY = 1e-6


def entry_weights(weight, base, penalty):
    """Return the weights of the entries in a step, and what remains of residuals.

    With weights w the first are (e + λ) / (e + λ/w); without λ the entries are matched
    whatever their weight.
    """
    if penalty == 0:
        ones = np.ones_like(weight)
        return ones, ones
    effective = (base + penalty) * weight / (base * weight + penalty)
    effective = effective.astype(weight.dtype)
    return effective, base / (base + penalty) * effective


def zero_iterate(entries):
    """Return the Iterate of entries that are all zero: a matrix of rank 0."""
    m, n = entries.shape
    shapes = (m, 0), (0,), (n, 0)
    factors = (entries.asarray(np.zeros(s, entries.values.dtype)) for s in shapes)
    return Iterate(0, *factors, 0.0, 0.0, entries.values, entries.weight, True, entries)


class Spectrum:
    """Leading singular triplets of a low-rank matrix plus a sparse one.

    They follow the iterates: each call takes one step of subspace iteration from the
    triplets of the call before.
    """

    # singular vectors held beyond those that are asked for
    _EXTRA = 5

    def __init__(self, entries, max_rank, random_state):
        k = min(max_rank + self._EXTRA, *entries.shape)
        start = random_state.standard_normal((entries.shape[1], k))
        self.V = _orthonormal(entries.asarray(start.astype(entries.values.dtype)))
        self.U, self.s = None, None

    def update(self, entries, values, L=None, R=None):
        """Set the triplets of L Rᵀ + S, S the sparse matrix of `values`."""
        Q = entries.row_sums(values, self.V)
        if L is not None:
            Q += L @ (R.T @ self.V)
        Q = _orthonormal(Q)
        Z = entries.column_sums(values, Q)
        if L is not None:
            Z += R @ (L.T @ Q)
        V, triangle = np.linalg.qr(Z)
        u, self.s, vt = np.linalg.svd(triangle.T)
        self.U, self.V = Q @ u, V @ vt.T

    def transpose(self):
        """Turn to the triplets of the transposed matrix."""
        self.U, self.V = self.V, self.U

    def above(self, eps, max_rank):
        """Return how many of the leading values are above ε, at least 1."""
        return max(1, int(np.count_nonzero(self.s[:max_rank] > eps)))


def _orthonormal(A):
    return np.linalg.qr(A)[0]


def first_spectrum(entries, max_rank, random_state, steps=4):
    """Return the Spectrum of the observed entries, scaled up by their share."""
    spectrum = Spectrum(entries, max_rank, random_state)
    values = entries.weight * entries.values
    for _ in range(steps):
        spectrum.update(entries, values)
    return spectrum
