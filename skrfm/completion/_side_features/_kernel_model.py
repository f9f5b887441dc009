"""The models of a kernel completer: independent columns, or coupled ones."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches

from ..._backend import Backend, BoolArray, FloatArray, NumpyBackend, Seed
from ..._sklearn import warn
from .._entries import ObservedEntries
from ._coupled_deviations import CoupledProcess
from ._kernel_completion import (
    Group,
    choose_alpha,
    make_groups,
    map_groups,
    predictive_variances,
    ridge_solver,
    solve_groups,
)
from ._leave_one_out import KernelOfEntries, LeaveOneOut
from ._masked_system import MaskedSystem
from ._rows import NewRows
from ._side_kernels import CrossKernel, Side

# rows that are predicted at a time, which bounds the memory of their kernel
_BLOCK = 1000


@dataclass(frozen=True)
class SolveOptions:
    """How coefficients are computed and the ridge is chosen.

    Attributes
    ----------
    alpha : float or "auto"
        The ridge.
    alphas : list of float
        Ridges that "auto" compares, in increasing order.
    tol, max_iter : float, int
        Tolerance and most iterations of conjugate gradients.
    validation_fraction : float
        Share of the entries that "auto" hides where columns are coupled.
    random_state : int, RandomState instance or None
        Determines the hidden entries.
    """

    alpha: float | Literal["auto"]
    alphas: list[float]
    tol: float
    max_iter: int
    validation_fraction: float
    random_state: Seed


class KernelModel:
    """Base class of the models of a kernel completer.

    Parameters
    ----------
    entries : ObservedEntries
    center : bool
        Whether the means of the columns are subtracted.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,)
        Means of the columns, or zeros.
    observed : ndarray of bool of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_columns)
        Entries less the means, zero where nothing is observed.
    side : Side
        The kernel of the rows; set by `solve`, as are the attributes below.
    coef : ndarray of shape (n_rows, n_columns)
    alpha : float
        The ridge.
    alpha_errors : ndarray of shape (n_alphas,)
    n_iter : int
    converged : bool
    """

    side: Side
    coef: FloatArray
    alpha: float
    alpha_errors: FloatArray
    n_iter = 1
    converged = True

    def __init__(self, entries: ObservedEntries, *, center: bool):
        shape = entries.shape
        self.mean = np.zeros(shape[1])
        if center:
            exact = entries.with_values(entries.values.astype(np.float64))
            self.mean = exact.column_means().astype(np.float64)
        self.centred = center
        self.observed = np.zeros(shape, dtype=bool)
        self.observed[entries.rows, entries.cols] = True
        self.targets = self.filled(entries)

    @property
    def needs_positions(self) -> bool:
        """Whether rows without new features have to be rows of the fitted matrix."""
        return self.side.needs_positions

    def filled(self, entries: ObservedEntries) -> FloatArray:
        """Return entries less the means, with zeros where nothing is observed."""
        out = np.zeros(entries.shape)
        out[entries.rows, entries.cols] = entries.values - self.mean[entries.cols]
        return out

    def solve(self, side: Side, options: SolveOptions, backend: Backend) -> None:
        """Compute the coefficients; the ridge is chosen if it is "auto"."""
        raise NotImplementedError

    def predict(self, rows: NewRows) -> FloatArray:
        """Return predictions (n_rows, n_columns)."""
        blocks = (rows.select(part) for part in gen_batches(len(rows), _BLOCK))
        parts = [self._predict_block(self.side.cross(block)) for block in blocks]
        return np.concatenate(parts) + self.mean

    def _predict_block(self, cross: CrossKernel) -> FloatArray:
        """Return predictions less the means."""
        raise NotImplementedError

    def standard_deviations(self, rows: NewRows, backend: Backend) -> FloatArray:
        """Return standard deviations of predictions, noise included."""
        raise NotImplementedError


class Decoupled(KernelModel):
    """Columns that are independent of each other, given the kernel between rows."""

    def solve(self, side: Side, options: SolveOptions, backend: Backend) -> None:
        """Compute the coefficients; "auto" is the least leave-one-out error."""
        self.side = side
        groups = self._groups(backend)
        alphas = options.alphas if options.alpha == "auto" else [options.alpha]
        self.alpha, self.alpha_errors = choose_alpha(
            groups, alphas, centred=self.centred
        )
        self.coef = solve_groups(groups, self.alpha, self.targets.shape)
        side.release()

    def _groups(self, backend):
        return make_groups(
            self.observed,
            self.targets,
            self.side.gram,
            backend=backend,
            per_column=self.side.per_column,
        )

    def _predict_block(self, cross: CrossKernel) -> FloatArray:
        return cross.dot(self.coef, self.observed)

    def standard_deviations(self, rows: NewRows, backend: Backend) -> FloatArray:
        """Return standard deviations; NaN in columns without entries."""
        cross = self.side.cross(rows)
        variances = np.full((len(rows), len(self.mean)), np.nan)
        kernel = KernelOfEntries.zeros(self.observed.shape)

        def fill(group):
            column = group.columns[0]
            variance, part = predictive_variances(
                group,
                self.alpha,
                cross=cross.block(column, group.rows),
                diagonal=cross.diagonal(column),
            )
            kernel.set_part(np.ix_(group.rows, group.columns), part)
            variances[:, group.columns] = variance[:, None]

        map_groups(fill, self._groups(backend))
        self.side.release()
        left_out = LeaveOneOut(self.observed, self.targets, kernel, self.centred)
        return np.sqrt((variances + left_out.mean_variances()) * left_out.scales())


class Coupled(KernelModel):
    """Columns that are coupled by a kernel between them.

    The kernel of two entries is the product of the kernels of their rows and columns.

    Parameters
    ----------
    entries : ObservedEntries
    column_kernel : ndarray of shape (n_columns, n_columns)
    center : bool
    """

    def __init__(
        self, entries: ObservedEntries, column_kernel: FloatArray, *, center: bool
    ):
        super().__init__(entries, center=center)
        self.column_kernel, self.max_iter = column_kernel, 0
        if center:
            overall = float(np.mean(entries.values, dtype=np.float64))
            self._predict_means(entries.column_counts() > 0, overall)
            self.targets = self.filled(entries)

    @property
    def needs_positions(self) -> bool:
        """Whether rows without new features have to be rows of the fitted matrix."""
        return True

    def _predict_means(self, known, overall):
        """Predict the means of columns without entries from the other means."""
        if known.all():
            return
        columns, K = np.flatnonzero(known), self.column_kernel
        means = (self.mean[columns] - overall)[:, None]
        kernel, backend = K[np.ix_(columns, columns)], NumpyBackend()
        group = Group(columns, np.array([0]), kernel.copy, means, backend)
        alphas = np.geomspace(1e-3, 1e3, 13) * np.mean(np.diag(K))
        alpha, _ = choose_alpha([group], alphas, centred=False)
        coef = ridge_solver(kernel, alpha, backend)(means)[:, 0]
        self.mean[~known] = overall + K[~known][:, columns] @ coef

    def solve(self, side: Side, options: SolveOptions, backend: Backend) -> None:
        """Compute the coefficients; "auto" is the least error on hidden entries."""
        self.side = side
        # rows and columns without entries have coefficients of zero
        rows, columns = self.observed.any(axis=1), self.observed.any(axis=0)
        box = np.ix_(rows, columns)
        system = MaskedSystem(
            backend.asarray(side.gram()[np.ix_(rows, rows)]),
            backend.asarray(self.column_kernel[np.ix_(columns, columns)]),
        )
        targets = backend.asarray(self.targets[box])
        observed = backend.asarray(self.observed[box])
        if options.alpha != "auto":
            self.alpha, self.alpha_errors = options.alpha, np.array([np.nan])
        else:
            hidden = _hide(
                self.observed[box], options.validation_fraction, options.random_state
            )
            self.alpha, self.alpha_errors = system.choose_alpha(
                targets,
                observed,
                hidden=backend.asarray(hidden),
                alphas=options.alphas,
                max_iter=options.max_iter,
            )
        coef, n_iter, self.converged = system.solve(
            targets,
            observed,
            alpha=self.alpha,
            tol=options.tol,
            max_iter=options.max_iter,
        )
        self.coef = np.zeros(self.targets.shape)
        self.coef[box] = backend.to_numpy(coef)
        self.n_iter, self.max_iter = max(1, n_iter), options.max_iter
        side.release()

    def _predict_block(self, cross: CrossKernel) -> FloatArray:
        return cross.dot(self.coef, self.observed) @ self.column_kernel

    def standard_deviations(self, rows: NewRows, backend: Backend) -> FloatArray:
        """Return standard deviations of predictions, noise included."""
        process = CoupledProcess(
            row_kernel=self.side.gram(),
            column_kernel=self.column_kernel,
            observed=self.observed,
            targets=self.targets,
            centred=self.centred,
            coef=self.coef,
            alpha=self.alpha,
            max_iter=self.max_iter,
            backend=backend,
        )
        out = process.deviations(self.side.cross(rows))
        self.side.release()
        return out


def _hide(observed: BoolArray, share: float, random_state: Seed) -> BoolArray:
    """Return a mask of a random share of the observed entries, at least one."""
    indices = np.flatnonzero(observed)
    count = min(max(1, round(share * len(indices))), len(indices))
    hidden = np.zeros(observed.shape, dtype=bool)
    random_state = check_random_state(random_state)
    hidden.flat[random_state.choice(indices, count, replace=False)] = True
    return hidden


def new_model(
    entries: ObservedEntries, columns: Side | None, *, center: bool
) -> KernelModel:
    """Return the model of entries, which the kernel of columns couples if given."""
    if columns is None:
        return Decoupled(entries, center=center)
    return Coupled(entries, columns.gram(), center=center)


def warn_if_not_converged(model: KernelModel) -> None:
    """Warn where conjugate gradients have not converged."""
    if not model.converged:
        warn(
            f"Conjugate gradients did not converge in {model.n_iter} iterations: "
            "raise max_iter, tol or alpha.",
            ConvergenceWarning,
        )
