"""What a kernel completer fits: columns by themselves, or coupled by a kernel."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches

from ..._backend import NumpyBackend
from ...exceptions import NumericalWarning
from .._input import warn_of_empty
from ._kernel_completion import (
    Group,
    MaskedSystem,
    choose_alpha,
    deviations,
    groups_of,
    solve_groups,
    solver_of,
)

# rows that are predicted at a time
_BLOCK = 1000


class _Model:
    """Entries as matrices, less the means of the columns."""

    n_iter, converged = 1, True

    def __init__(self, entries, center):
        shape = entries.shape
        self.mean = np.zeros(shape[1])
        if center:
            exact = entries.with_values(entries.values.astype(np.float64))
            self.mean = exact.column_means().astype(np.float64)
        self.centred = center
        self.observed = np.zeros(shape, dtype=bool)
        self.observed[entries.rows, entries.cols] = True
        self.targets = self.filled(entries)

    def filled(self, entries):
        """Return entries less the means, with zeros where nothing is observed."""
        out = np.zeros(entries.shape)
        out[entries.rows, entries.cols] = entries.values - self.mean[entries.cols]
        return out

    def predict(self, cross_of, n_rows):
        """Return predictions for rows, of which `cross_of(slice)` gives the kernel."""
        parts = [self._part(cross_of(part)) for part in gen_batches(n_rows, _BLOCK)]
        return np.concatenate(parts) + self.mean


class Decoupled(_Model):
    """Columns that are independent of each other, given the kernel between rows."""

    def solve(self, side, alpha, alphas, backend):
        """Fit the coefficients; the ridge is chosen if it is "auto"."""
        self.side = side
        groups = self.groups(backend)
        tried = alphas if alpha == "auto" else [alpha]
        self.alpha, self.alpha_errors = choose_alpha(groups, tried, self.centred)
        self.coef = solve_groups(groups, self.alpha, self.targets.shape)
        side.forget()

    def groups(self, backend):
        """Return the columns by equal mask, or each alone where kernels differ."""
        what = self.observed, self.targets, self.side.gram, backend
        return groups_of(*what, singly=self.side.by_column)

    def _part(self, cross):
        if not self.side.by_column:
            return cross.kernel @ self.coef
        out = np.zeros((len(cross), len(self.mean)))
        everyone = np.arange(len(out))
        for j, seen in enumerate(self.observed.T):
            rows = np.flatnonzero(seen)
            if len(rows):
                kernel = cross.column(j, everyone, rows)
                out[:, j] = kernel @ self.coef[rows, j]
        return out

    def deviations(self, cross, backend):
        """Return the standard deviations of predictions, noise included."""
        groups = self.groups(backend)
        out = np.full((len(cross), len(self.mean)), np.nan)
        everyone = np.arange(len(out))
        for group in groups:
            j = group.columns[0]
            kernel = cross.column(j, everyone, group.rows)
            out[:, group.columns] = deviations(group, self.alpha, kernel, cross.own(j))
        self.side.forget()
        return out


class Coupled(_Model):
    """Entries with a kernel that is the product of one of rows and one of columns."""

    def __init__(self, entries, center, columns):
        super().__init__(entries, center)
        self.columns = columns
        if center:
            overall = float(np.mean(entries.values, dtype=np.float64))
            self._predict_means(entries.column_counts() > 0, overall)
            self.targets = self.filled(entries)

    def _predict_means(self, known, overall):
        """Let the kernel tell the means of columns without entries."""
        if known.all():
            return
        rows, K = np.flatnonzero(known), self.columns
        here = (self.mean[rows] - overall)[:, None]
        backend = NumpyBackend()
        kernel = K[np.ix_(rows, rows)]
        group = Group(rows, np.array([0]), kernel.copy, here, backend)
        alphas = np.geomspace(1e-3, 1e3, 13) * np.mean(np.diag(K))
        alpha, _ = choose_alpha([group], alphas, False)
        coef = solver_of(kernel, alpha, backend)(here)[:, 0]
        self.mean[~known] = overall + K[~known][:, rows] @ coef

    def solve(
        self, side, alpha, alphas, backend, *, share, random_state, tol, max_iter
    ):
        """Fit the coefficients; the ridge is chosen if it is "auto"."""
        self.side, K = side, side.gram()
        self.alpha, self.alpha_errors = alpha, np.array([np.nan])
        # rows and columns without entries have no part in the system
        known = [self.observed.any(axis=axis) for axis in (1, 0)]
        box = np.ix_(*known)
        columns = self.columns[np.ix_(known[1], known[1])]
        there = backend.asarray
        system = MaskedSystem(there(K[np.ix_(known[0], known[0])]), there(columns))
        targets, observed = there(self.targets[box]), there(self.observed[box])
        if alpha == "auto":
            hidden = there(_hidden(self.observed[box], share, random_state))
            self.alpha, self.alpha_errors = system.choose_alpha(
                targets, observed, hidden, alphas, max_iter
            )
        coef, n_iter, self.converged = system.solve(
            targets, observed, self.alpha, tol, max_iter
        )
        self.coef = np.zeros(self.targets.shape)
        self.coef[box] = backend.to_numpy(coef)
        self.n_iter = max(1, n_iter)
        side.forget()

    def _part(self, cross):
        return cross.kernel @ self.coef @ self.columns


def _hidden(observed, share, random_state):
    """Return a mask of a random share of the observed entries, at least one."""
    places = np.flatnonzero(observed)
    count = min(max(1, round(share * len(places))), len(places))
    hidden = np.zeros(observed.shape, dtype=bool)
    random_state = check_random_state(random_state)
    hidden.flat[random_state.choice(places, count, replace=False)] = True
    return hidden


def warn_of_unknown(entries, rows_known, columns_known, stacklevel):
    """Warn of rows and columns of which neither entries nor features are known."""
    if not rows_known and not columns_known:
        warn_of_empty(entries)
    elif not columns_known:
        empty = np.flatnonzero(entries.column_counts() == 0)
        if len(empty):
            named = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
            warnings.warn(
                f"{len(empty)} column{'s' * (len(empty) > 1)} of X without any "
                f"observed entry ({named}): nothing tells what belongs there, and 0, "
                "or with center=True the mean of all entries, is filled in.",
                NumericalWarning,
                stacklevel=stacklevel + 1,
            )


def warn_of_iterations(model, stacklevel):
    """Warn where conjugate gradients have not come to an end."""
    if not model.converged:
        warnings.warn(
            f"Conjugate gradients had not come to an end after {model.n_iter} "
            "iterations: raise max_iter, tol or alpha.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
