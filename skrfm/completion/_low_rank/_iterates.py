"""What the solvers of a completion share: smoothing, iterates and singular triplets.

Every solver minimises, over matrices W of rank at most `max_rank`,

    ½ Σ_e w_e (y_e − W_e)² + (λ/p) Σ_j σ_j(W)^p,   p = 2 − 4 power

(for p = 0 the penalty is λ Σ_j log σ_j) by iteratively reweighted least squares: each
step weights singular directions by the singular values of the previous iterate,
smoothed by an ε that decreases from step to step.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..._backend import Array, FloatArray, IntArray
from .._entries import Entries

# A ratio of neighbouring singular values above which ε falls at once to the lower one.
_GAP = 10.0
# Bounds the penalty of directions whose weight hardly differs from that of the others.
_LEAST_DIFFERENCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """How ε and λ change from one iterate to the next.

    Attributes
    ----------
    power : float
        The power of the AGOP, 0 < power <= 1/2.
    ridge : float
        λ relative to σ_1^(2 exponent). `ridge` or `coupling` is 0.
    coupling : float
        λ relative to ε^(2 exponent).
    decay : float
        The factor of ε for each iterate. Where the spectrum has a gap below ε, it
        falls to the singular value on the other side.
    floor : float
        The least ε relative to σ_1.
    start_index : int or None
        ε starts at the singular value of the observed entries with this index, None
        for the last that is computed.
    """

    power: float = 0.5
    ridge: float = 0.0
    coupling: float = 0.0
    decay: float = 0.95
    floor: float = 1e-13
    start_index: int | None = None

    @property
    def exponent(self) -> float:
        """The exponent of σ in the weights of a two-sided step."""
        return 2 * self.power

    def penalty(self, eps: float, top: float) -> float:
        """Return λ for a smoothing ε and a largest singular value."""
        a = 2 * self.exponent
        return float(self.ridge * top**a + self.coupling * eps**a)

    def first_eps(self, spectrum: Array) -> float:
        """Return the first ε, for the singular values of the observed entries."""
        last = len(spectrum) - 1
        index = last if self.start_index is None else min(self.start_index, last)
        return float(max(spectrum[index], self.floor * spectrum[0]))

    def next_eps(self, number: int, *, eps: float, spectrum: Array, rank: int) -> float:
        """Return ε of the iterate with a number.

        Parameters
        ----------
        number : int
            The number of the iterate, counted from 0.
        eps : float
            ε of the iterate before.
        spectrum : array of shape (max_rank,)
            The singular values of the iterate before. A gap beyond `max_rank` has no
            effect on ε, since further values are not computed accurately.
        rank : int
            The number of singular values above ε.
        """
        following = self.decay * eps
        if rank < len(spectrum) and spectrum[rank - 1] > _GAP * spectrum[rank]:
            following = min(following, max(spectrum[rank], eps / _GAP))
        return float(max(following, self.floor * spectrum[0]))


@dataclass(frozen=True, kw_only=True)
class Schedule(Smoothing):
    """Smoothing by given values of ε.

    Attributes
    ----------
    values : tuple of float
        ε of each iterate; the last value is kept for further iterates.
    """

    values: tuple[float, ...]

    def first_eps(self, spectrum: Array) -> float:
        """Return the first ε."""
        return self.values[0]

    def next_eps(self, number: int, *, eps: float, spectrum: Array, rank: int) -> float:
        """Return ε of the iterate with a number."""
        return self.values[min(number, len(self.values) - 1)]


@dataclass(frozen=True)
class RowModel:
    """The regression that completes a row: y_ij ≈ V_j · z with a penalty Σ_k p_k z_k².

    Attributes
    ----------
    V : array of shape (n, k)
        The directions: right singular vectors.
    penalty : array of shape (k,)
        The penalty of each direction.
    bound : float
        Residuals beyond it count linearly, as in Huber's loss; infinite for squares.
    errors : ErrorModel or None
        Given if entries may be wrong: these are left out.
    """

    V: Array
    penalty: Array
    bound: float = np.inf
    errors: "ErrorModel | None" = None

    def map_arrays(self, function: Callable[[Array], Array]) -> "RowModel":
        """Return the same with a function applied to its arrays."""
        return replace(self, V=function(self.V), penalty=function(self.penalty))


@dataclass(frozen=True)
class ErrorModel:
    """What tells the wrong entries of a row from the right ones.

    Attributes
    ----------
    size : float
        The root mean square of the entries that were fitted.
    noise : float
        The deviation of their errors.
    prior : ndarray of shape (k, k)
        The precision of the coefficients of a row.
    """

    size: float
    noise: float
    prior: FloatArray


@dataclass(frozen=True)
class Averages:
    """What the average of drawn matrices has beside its singular triplets.

    Attributes
    ----------
    noise : float
        The variance of the errors of the entries.
    of_rows, of_columns : arrays of shape (m,) and (n,)
        The mean of each row in a column without entries, and of each column in a row
        without entries.
    draws : list of tuple of arrays, of shapes (m, 1 + k) and (n, 1 + k)
        Some of the draws: biases and factors of the rows and the columns.
    unit : float
        The unit of the drawn matrices.
    """

    noise: float
    of_rows: FloatArray
    of_columns: FloatArray
    draws: list[tuple[FloatArray, FloatArray]]
    unit: float

    def deviations(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return the standard deviations of new measurements: of draws and of noise."""
        values = np.empty((len(self.draws), len(rows)))
        for out, (left, right) in zip(values, self.draws, strict=True):
            a, b = left[rows], right[cols]
            out[:] = a[:, 0] + b[:, 0]
            out += np.einsum("ek,ek->e", a[:, 1:], b[:, 1:])
        between = values.var(axis=0, ddof=1) if len(values) > 1 else 0.0
        return np.sqrt(between * self.unit**2 + self.noise)


@dataclass(kw_only=True)
class Iterate:
    """A low-rank matrix U diag(s) Vᵀ and how it fits the entries.

    Attributes
    ----------
    number : int
        The number of the iterate, counted from 0.
    entries : Entries
        The entries that it was fitted to.
    U, s, V : arrays of shape (m, k), (k,) and (n, k)
        Its singular triplets.
    eps, penalty : float
        ε and λ of its least squares problem.
    exponent : float
        The exponent of σ in the weights of a two-sided step.
    residuals : array of shape (n_entries,)
        Entries minus fitted values.
    weight : array of shape (n_entries,)
        Weights of the entries for the next iterate, with those of Huber's loss.
    metric : RowModel or None
        Given if all singular directions are kept: the metric that the rows were solved
        with. Otherwise the metric of the next iterate follows from s, ε and λ.
    mean : array of shape (n,) or None
        The means of the columns, which are added to the matrix.
    averages : Averages or None
        Given if the matrix is an average of draws, and not of a certain rank.
    last : bool
        Whether its stage ends with it; set by the search.
    """

    number: int
    entries: Entries
    U: Array
    s: Array
    V: Array
    eps: float
    penalty: float
    exponent: float
    residuals: Array
    weight: Array
    metric: RowModel | None = None
    mean: Array | None = None
    averages: Averages | None = None
    last: bool = False

    @property
    def rank(self) -> int:
        """The number of singular values: those above ε, or all."""
        return len(self.s)

    def count_above_eps(self) -> int:
        """Return how many singular values are above ε, at least 1."""
        return max(1, int(np.count_nonzero(self.s > self.eps)))

    @property
    def full_spectrum(self) -> bool:
        """Whether all singular directions are kept, those below ε as well."""
        return self.metric is not None

    @property
    def claims_rank(self) -> bool:
        """Whether the matrix has a certain rank: it is no average, nor shrunk."""
        return not self.full_spectrum and self.averages is None

    @property
    def base(self) -> float:
        """The weight ε^(2 exponent) of directions that are not kept."""
        return self.eps ** (2 * self.exponent)

    def row_metric(self) -> RowModel:
        """Return the directions and penalties of the rows, for squares."""
        if self.metric is not None:
            return self.metric
        powers = self.s ** (2 * self.exponent)
        return RowModel(self.V, shrinkage(powers, base=self.base, penalty=self.penalty))

    def products(self, entries: Entries) -> Array:
        """Return the values of the matrix at the positions of `entries`."""
        return self.add_mean(entries, entries.products(self.U * self.s, self.V))

    def add_mean(self, entries: Entries, values: Array) -> Array:
        """Return values at the positions of `entries` plus the means of the columns."""
        return values if self.mean is None else values + self.mean[entries.cols]

    def distance(self, other: "Iterate") -> float:
        """Return ‖W − W'‖ / ‖W‖ in the Frobenius norm."""
        left = _triangle(np.hstack([self.U * self.s, -other.U * other.s]))
        right = _triangle(np.hstack([self.V, other.V]))
        size = max(float(np.linalg.norm(self.s)), float(np.finfo(self.s.dtype).tiny))
        return float(np.linalg.norm(left @ right.T) / size)


def _triangle(A: Array) -> Array:
    """Return the triangular factor of a QR decomposition."""
    return np.linalg.qr(A, mode="r")


def shrinkage(powers: Array, *, base: float, penalty: float) -> Array:
    """Return the penalties (e + λ) / (p − e) of directions that are kept.

    Parameters
    ----------
    powers : array
        The weights p of the directions.
    base : float
        The weight e of all other directions.
    penalty : float
        λ.
    """
    # a weight that equals that of the others would divide by zero
    least = max(_LEAST_DIFFERENCE * base, float(np.finfo(powers.dtype).tiny))
    return (base + penalty) / np.maximum(powers - base, least)


def entry_weights(weight: Array, *, base: float, penalty: float) -> tuple[Array, Array]:
    """Return the weights of entries in a step, and the factors of their residuals.

    The weights are (e + λ) / (e + λ/w), where w is `weight`, e `base` and λ `penalty`.
    The second array is the part of each residual that the sparse part of W takes up.
    Without λ all entries are matched, whatever their weights.
    """
    if penalty == 0:
        ones = np.ones_like(weight)
        return ones, ones
    effective = (base + penalty) * weight / (base * weight + penalty)
    effective = effective.astype(weight.dtype)
    return effective, base / (base + penalty) * effective


def zero_iterate(entries: Entries, *, exponent: float) -> Iterate:
    """Return the Iterate of entries that are all zero: a matrix of rank 0."""
    m, n = entries.shape
    dtype = entries.values.dtype
    return Iterate(
        number=0,
        entries=entries,
        U=entries.asarray(np.zeros((m, 0), dtype)),
        s=entries.asarray(np.zeros(0, dtype)),
        V=entries.asarray(np.zeros((n, 0), dtype)),
        eps=0.0,
        penalty=0.0,
        exponent=exponent,
        residuals=entries.values,
        weight=entries.weight,
        last=True,
    )


class Spectrum:
    """Leading singular triplets of a low-rank matrix plus a sparse matrix.

    Each update takes one step of subspace iteration from the previous triplets.

    Attributes
    ----------
    U, s, V : arrays of shape (m, k), (k,) and (n, k)
        The triplets; U and s are set by the first update.
    """

    # Singular vectors beyond those asked for: oversampling of the subspace iteration.
    _EXTRA = 5

    def __init__(
        self, entries: Entries, *, max_rank: int, random_state: np.random.RandomState
    ):
        k = min(max_rank + self._EXTRA, *entries.shape)
        start: FloatArray = random_state.standard_normal((entries.shape[1], k))
        self.V = _orthonormal(entries.asarray(start.astype(entries.values.dtype)))
        self.U: Array = None
        self.s: Array = None

    @classmethod
    def of(cls, U: Array, s: Array, V: Array) -> "Spectrum":
        """Return given triplets."""
        spectrum = cls.__new__(cls)
        spectrum.U, spectrum.s, spectrum.V = U, s, V
        return spectrum

    def update(
        self,
        entries: Entries,
        values: Array,
        factors: tuple[Array, Array] | None = None,
    ) -> None:
        """Update to the triplets of S + L Rᵀ, S the sparse matrix of `values`.

        Parameters
        ----------
        entries : Entries
        values : array of shape (n_entries,)
        factors : tuple of arrays (m, k) and (n, k), default=None
            L and R; None for S alone.
        """
        Q = entries.row_sums(values, self.V)
        if factors is not None:
            L, R = factors
            Q += L @ (R.T @ self.V)
        Q = _orthonormal(Q)
        Z = entries.column_sums(values, Q)
        if factors is not None:
            L, R = factors
            Z += R @ (L.T @ Q)
        V, triangle = np.linalg.qr(Z)
        u, self.s, vt = np.linalg.svd(triangle.T)
        self.U, self.V = Q @ u, V @ vt.T

    def transpose(self) -> None:
        """Change to the triplets of the transposed matrix."""
        self.U, self.V = self.V, self.U

    def count_above(self, eps: float, max_rank: int) -> int:
        """Return how many of the leading values are above ε, at least 1."""
        return max(1, int(np.count_nonzero(self.s[:max_rank] > eps)))


def _orthonormal(A: Array) -> Array:
    """Return an orthonormal basis of the columns."""
    return np.linalg.qr(A)[0]


def first_spectrum(
    entries: Entries,
    *,
    max_rank: int,
    random_state: np.random.RandomState,
    steps: int = 4,
) -> Spectrum:
    """Return the Spectrum of the weighted observed entries, zeros elsewhere."""
    spectrum = Spectrum(entries, max_rank=max_rank, random_state=random_state)
    values = entries.weight * entries.values
    for _ in range(steps):
        spectrum.update(entries, values)
    return spectrum


def starting_point(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    random_state: np.random.RandomState,
) -> tuple[Spectrum, float]:
    """Return the Spectrum that a solver starts from, and the first ε.

    After the choice of ε the singular values are divided by the share of the entries
    that is observed, which estimates those of the whole matrix.
    """
    m, n = entries.shape
    spectrum = first_spectrum(entries, max_rank=max_rank, random_state=random_state)
    eps = smoothing.first_eps(spectrum.s[: max_rank + 1])
    spectrum.s = spectrum.s * (m * n / len(entries))
    return spectrum, eps
