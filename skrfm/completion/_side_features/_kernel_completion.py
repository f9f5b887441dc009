"""Kernel ridge regression of the columns of a matrix on their observed entries.

Columns are independent of each other given the kernel between rows, so columns that
are observed in the same rows share one factorisation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..._backend import (
    Array,
    Backend,
    BoolArray,
    FloatArray,
    IntArray,
    for_each,
    own_threads,
)
from ...exceptions import NotPositiveDefiniteError
from ._leave_one_out import KernelOfEntries

# bounds of the eigendecompositions that choose the ridge, one for each group of
# columns: with 800 rows 50 groups take 9 CPU seconds, 12 of them 2, for the same ridge
_MOST_GROUPS, _LEAST_GROUPS = 50, 12
_MOST_CUBES = _MOST_GROUPS * 400**3


@dataclass
class Group:
    """Columns that are observed in the same rows, and the kernel between these rows.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Indices of the rows.
    columns : ndarray of shape (n_columns,)
        Indices of the columns.
    kernel : callable
        Returns the kernel between the rows; a function, so that only the kernels of
        the groups being solved are in memory.
    host_targets : ndarray of shape (n_rows, n_columns)
        The observed entries.
    backend : Backend
        Holds the arrays of `gram` and `targets`.
    """

    rows: IntArray
    columns: IntArray
    kernel: Callable[[], FloatArray]
    host_targets: FloatArray
    backend: Backend

    def gram(self) -> Array:
        """Return the kernel between the rows, which may be overwritten."""
        return self.backend.asarray(self.kernel())

    @property
    def targets(self) -> Array:
        """The observed entries as an array of the backend."""
        return self.backend.asarray(self.host_targets)


def make_groups(
    observed: BoolArray,
    targets: FloatArray,
    gram: Callable[[IntArray, int], FloatArray],
    *,
    backend: Backend,
    per_column: bool = False,
) -> list[Group]:
    """Return the groups of columns; columns without entries are left out.

    Parameters
    ----------
    observed : ndarray of bool of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_columns)
    gram : callable
        `gram(rows, column)` returns the kernel between some rows, for the prediction
        of a column.
    backend : Backend
    per_column : bool, default=False
        Whether each column is a group of its own, because kernels differ by column.
    """
    if per_column:
        parts = np.arange(observed.shape[1])[:, None]
    else:
        packed = np.packbits(observed, axis=0)
        _, mask_of = np.unique(packed, axis=1, return_inverse=True)
        order = np.argsort(mask_of, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(mask_of))[:-1])
    groups = []
    for columns in parts:
        rows = np.flatnonzero(observed[:, columns[0]])
        if len(rows) > 0:
            kernel = partial(gram, rows, columns[0])
            values = targets[np.ix_(rows, columns)]
            groups.append(Group(rows, columns, kernel, values, backend))
    return groups


def map_groups(function: Callable[[Group], Any], groups: Sequence[Group]) -> list[Any]:
    """Return the results of a function for each group.

    Groups run in threads of their own; a single group leaves the threads to BLAS.
    """
    if len(groups) == 1 or not groups[0].backend.threads:
        return [function(group) for group in groups]
    with own_threads(sum(len(group.rows) for group in groups)):
        return for_each(function, groups)


def choose_alpha(
    groups: list[Group], alphas: list[float] | FloatArray, *, centred: bool
) -> tuple[float, FloatArray]:
    """Choose the ridge by the mean squared leave-one-out residual.

    Parameters
    ----------
    groups : list of Group
    alphas : sequence of float
        Ridges in increasing order; ties go to the larger one.
    centred : bool
        Whether the means of the columns were subtracted from the targets.

    Returns
    -------
    alpha : float
        The best ridge; the largest where no column has two entries.
    errors : ndarray of shape (n_alphas,)
        The errors of all ridges, NaN where no column has two entries.
    """
    usable = _some_of([group for group in groups if len(group.rows) > 1])
    if not usable:
        return max(alphas), np.full(len(alphas), np.nan)

    def errors_of(group):
        return squared_errors(group, alphas, centred=centred)

    count = sum(group.host_targets.size for group in usable)
    errors = np.sum(map_groups(errors_of, usable), axis=0) / count
    best = len(errors) - 1 - int(np.argmin(errors[::-1]))
    return alphas[best], errors


def _some_of(groups):
    """Return evenly spaced groups, as many as eigendecompositions are worth."""
    cubes = np.mean([float(len(group.rows)) ** 3 for group in groups] or [1.0])
    most = int(np.clip(_MOST_CUBES / cubes, _LEAST_GROUPS, _MOST_GROUPS))
    if len(groups) <= most:
        return groups
    chosen = np.linspace(0, len(groups) - 1, most).round().astype(int)
    return [groups[index] for index in chosen]


def squared_errors(
    group: Group, alphas: list[float] | FloatArray, *, centred: bool
) -> FloatArray:
    """Return the sum of squared leave-one-out residuals for each ridge."""
    values, vectors = np.linalg.eigh(group.gram())
    targets = group.targets
    projected = vectors.T @ targets
    ones, squares = vectors.sum(axis=0), vectors**2
    sums = []
    for alpha in alphas:
        inverse = _inverse_eigenvalues(values, alpha)
        coef = vectors @ (inverse[:, None] * projected)
        if centred:  # without the entry, the mean of the column is different
            shift = vectors @ (inverse * ones)
            coef += targets / (len(values) - 1) * shift[:, None]
        residuals = coef / (squares @ inverse)[:, None]
        sums.append(float(np.sum(residuals**2)))
    return np.array(sums)


def _inverse_eigenvalues(values, alpha):
    """Return 1 / (values + alpha), and 0 where that sum is a rounding error."""
    values = values + alpha
    eps = float(np.finfo(values.dtype).eps)
    threshold = len(values) * eps * max(float(values[-1]), 0)
    positive = values > threshold
    return np.where(positive, 1 / np.where(positive, values, 1), 0)


def solve_groups(
    groups: list[Group], alpha: float, shape: tuple[int, int]
) -> FloatArray:
    """Return the coefficients (n_rows, n_columns); 0 where nothing is observed."""
    out = np.zeros(shape)

    def fill(group):
        backend = group.backend
        solve = ridge_solver(group.gram(), alpha, backend)
        solution = backend.to_numpy(solve(group.targets))
        out[np.ix_(group.rows, group.columns)] = solution

    map_groups(fill, groups)
    return out


def ridge_solver(K: Array, alpha: float, backend: Backend) -> Callable[[Array], Array]:
    """Return the function B → (K + alpha I)⁻¹ B."""
    try:
        return backend.positive_solver(K, alpha)
    except NotPositiveDefiniteError:  # without a ridge K may be singular
        values, vectors = np.linalg.eigh(K)
        inverse = _inverse_eigenvalues(values, alpha)
        return lambda B: vectors @ (inverse[:, None] * (vectors.T @ B))


def predictive_variances(
    group: Group, alpha: float, *, cross: FloatArray, diagonal: FloatArray
) -> tuple[FloatArray, KernelOfEntries]:
    """Return variances of predictions, and what scales them.

    Parameters
    ----------
    group : Group
    alpha : float
        The ridge: the variance of the noise before scaling.
    cross : ndarray of shape (n_new, n_rows)
        The kernel between new rows and the rows of the group.
    diagonal : ndarray of shape (n_new,)
        The kernel of each new row with itself.

    Returns
    -------
    variance : ndarray of shape (n_new,)
        The variances before scaling, noise included.
    kernel : KernelOfEntries
        Arrays of shape (n_rows, n_columns), or (n_rows, 1) where columns share values.
    """
    backend = group.backend
    K = group.gram()
    variances, variance_sums = np.diag(K) + alpha, K.sum(axis=1) + alpha
    solve = ridge_solver(K, alpha, backend)
    inverse = solve(backend.asarray(np.eye(len(group.rows))))
    cross, diagonal = backend.asarray(cross), backend.asarray(diagonal)
    explained = np.sum(cross @ inverse * cross, axis=1)
    variance = np.maximum(diagonal - explained, 0) + alpha
    kernel = KernelOfEntries(
        coef=backend.to_numpy(inverse @ group.targets),
        precision=backend.to_numpy(np.diag(inverse))[:, None],
        precision_sum=backend.to_numpy(inverse.sum(axis=1))[:, None],
        variance=backend.to_numpy(variances)[:, None],
        variance_sum=backend.to_numpy(variance_sums)[:, None],
    )
    return backend.to_numpy(variance), kernel
