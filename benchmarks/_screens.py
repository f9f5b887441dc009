"""Drug screens, what is held out of them, and how predictions are judged."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _experiment import timed
from sklearn.model_selection import GroupKFold, KFold

N_FOLDS = 5
# a correlation within a row or column is of at least so many entries
LEAST_ENTRIES = 5


@dataclass(frozen=True)
class Screen:
    """A matrix of responses and what is known of its rows and columns.

    Attributes
    ----------
    Y : ndarray of shape (m, n)
        Responses, NaN where they are missing.
    rows : ndarray of shape (m, p)
        Features of the rows.
    columns : ndarray of shape (n, q) or None
        Features of the columns.
    kernel : ndarray of shape (n, n) or None
        Kernel matrix of the columns.
    entry_folds : list of ndarray of shape (k, 2)
        Indices of the entries of each fold.
    tissues : ndarray of str of shape (m,) or None
        The tissue of each row.
    """

    Y: np.ndarray
    rows: np.ndarray
    columns: np.ndarray | None
    kernel: np.ndarray | None
    entry_folds: list
    tissues: np.ndarray | None = None

    @property
    def splits(self):
        """What may be held out."""
        return ("entries", "rows", "columns") + ("tissues",) * (
            self.tissues is not None
        )


def load(name, data):
    """Return the Screen of a name."""
    return _LOADERS[name](Path(data))


def _drug_response(name, features):
    """Return the loader of ln IC50 of cell lines × drugs."""

    def load(data):
        with np.load(data / "drug_response" / f"{name}.npz") as file:
            Y = file["Y"].astype(float)
            return Screen(
                Y=Y,
                rows=standardised(file[features].astype(float)),
                columns=file["col_features"].astype(float),
                kernel=None,
                entry_folds=random_entries(Y),
            )

    return load


def _davis(data):
    """Affinity of drugs × kinases, with a kernel of the kinases."""
    folds = "fold_test", *(f"fold_{i}" for i in range(N_FOLDS))
    with np.load(data / "bioassay" / "davis.npz") as file:
        Y = file["Y"].astype(float)
        return Screen(
            Y=Y,
            rows=file["row_features"].astype(float),
            columns=None,
            kernel=file["col_kernel"].astype(float),
            entry_folds=[np.argwhere(~np.isnan(Y))[file[fold]] for fold in folds],
        )


def _viability(screen):
    """Return the loader of the viability of cell lines × drugs in one screen."""

    def load(data):
        with np.load(data / "transfer_drug" / "prism_ctrp_gdsc_318x84.npz") as file:
            expression = file["row_expression"].astype(float)
            known = ~np.isnan(expression).any(axis=1)
            Y = file[f"{screen}_auc"][known].astype(float)
            return Screen(
                Y=Y,
                rows=standardised(expression[known]),
                columns=file["col_features"].astype(float),
                kernel=None,
                entry_folds=random_entries(Y),
                tissues=file["row_site"][known],
            )

    return load


_LOADERS = {
    "response": _drug_response("gdsc_580x170", "row_expression"),
    "copies": _drug_response("gdsc_962x228", "row_cna"),
    "methyl": _drug_response("gdsc2019_methyl", "row_features"),
    "davis": _davis,
    **{screen: _viability(screen) for screen in ("prism", "ctrp", "gdsc")},
}
SCREENS = tuple(_LOADERS)


def standardised(F):
    """Return features of mean 0 and variance 1, 0 where they are missing."""
    scale = np.nanstd(F, axis=0)
    return np.nan_to_num((F - np.nanmean(F, axis=0)) / np.where(scale > 0, scale, 1))


# -- what is held out -----------------------------------------------------------------


def random_entries(Y):
    """Return the indices of five folds of entries."""
    entries = np.argwhere(~np.isnan(Y))
    folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    return [entries[test] for _, test in folds.split(entries)]


def held_out(screen, split):
    """Yield masks of what is held out: entries, rows, columns, or rows of a tissue."""
    shape = screen.Y.shape
    if split == "entries":
        for entries in screen.entry_folds:
            gaps = np.zeros(shape, dtype=bool)
            gaps[tuple(entries.T)] = True
            yield gaps
        return
    axis = 1 if split == "columns" else 0
    folds, tissues = KFold(N_FOLDS, shuffle=True, random_state=0), None
    if split == "tissues":
        folds = GroupKFold(N_FOLDS, shuffle=True, random_state=0)
        tissues = screen.tissues
    for _, test in folds.split(np.arange(shape[axis]), groups=tissues):
        gaps = np.zeros(shape, dtype=bool)
        gaps[(test,) if axis == 0 else (slice(None), test)] = True
        yield gaps


# -- measures -------------------------------------------------------------------------


def measure(screen, gaps, model):
    """Return the scores of a model on what is held out, and its costs.

    The normalised correlations are those after the mean effects of rows and columns,
    estimated on the entries that are shown, are taken out of both.
    """
    shown = np.where(gaps, np.nan, screen.Y)
    predicted, cost = timed(model, shown)
    test = gaps & ~np.isnan(screen.Y)
    true, got = screen.Y[test], predicted[test]
    effects = mean_effects(shown)[test]
    scores = {
        "r2": 1 - float(np.mean((true - got) ** 2) / np.var(true)),
        "rmse": float(np.sqrt(np.mean((true - got) ** 2))),
        **correlations(true, got, test),
        **correlations(true - effects, got - effects, test, "normalised_"),
    }
    return scores | cost.figures()


def mean_effects(X):
    """Return the least-squares fit of effects of rows and columns to a matrix.

    Rows or columns without entries have no effect.
    """
    observed = ~np.isnan(X)
    filled = np.where(observed, X - X[observed].mean(), 0)
    a, b = np.zeros(len(X)), np.zeros(X.shape[1])
    for _ in range(200):
        left = np.where(observed, filled - a[:, None], 0)
        b = left.sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
        left = np.where(observed, filled - b, 0)
        a = left.sum(axis=1) / np.maximum(observed.sum(axis=1), 1)
    return X[observed].mean() + a[:, None] + b


def correlations(true, predicted, test, prefix=""):
    """Return Pearson's correlation of all, and the means within rows and columns."""
    rows, columns = np.nonzero(test)
    return {
        f"{prefix}pearson": pearson(true, predicted),
        f"{prefix}within_rows": mean_within(true, predicted, rows),
        f"{prefix}within_columns": mean_within(true, predicted, columns),
    }


def mean_within(true, predicted, index):
    """Return the mean correlation of entries of the same index."""
    found = []
    for value in np.unique(index):
        at = index == value
        if at.sum() >= LEAST_ENTRIES and np.ptp(true[at]) > 0:
            found.append(pearson(true[at], predicted[at]))
    return float(np.mean(found))


def pearson(true, predicted):
    """Return Pearson's correlation, 0 where predictions are constant up to rounding."""
    spread = np.abs(predicted).max(initial=0)
    if np.ptp(predicted) <= 1e-12 * spread:
        return 0.0
    return float(np.corrcoef(true, predicted)[0, 1])
