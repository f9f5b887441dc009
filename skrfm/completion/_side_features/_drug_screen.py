"""Drug screens: priors of (cell, drug) pairs, splits within cells, and scores."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from ..._backend import IntArray, Seed, Table, Vector
from ._side_kernels import unit_rows

_KINDS = ("cell", "drug", "cell mean", "drug mean")


def screen_priors(
    signatures: Table,
    priors: Sequence[str] = _KINDS,
    *,
    cell_features: Table | None = None,
    drug_features: Table | None = None,
    reference: Any = None,
) -> Table:
    """Return prior vectors of the pairs of a drug screen, for NTKMatrixCompleter.

    Each prior is a block of columns whose rows have length 1. They are computed from
    measured pairs only. The signature of a pair is left out of its own means, so that
    measured pairs and pairs to be predicted have priors of the same kind.

    Parameters
    ----------
    signatures : data frame of shape (n_pairs, n_genes)
        A row for each pair, with an index of two levels, cell and drug. Pairs with NaN
        in their row have not been measured.
    priors : sequence of str, default=("cell", "drug", "cell mean", "drug mean")
        "cell" and "drug" are one-hot indicators; "cell mean" and "drug mean" are mean
        signatures of the other pairs of the same cell or drug, or of all pairs if there
        are no others.
    cell_features : data frame of shape (n_cells, p), default=None
        Features of cells, such as their gene expression, indexed by cell.
    drug_features : data frame of shape (n_drugs, q), default=None
        Features of drugs, such as fingerprints, indexed by drug.
    reference : label of a cell, default=None
        For drugs that were measured in this cell, their signature there replaces the
        mean signature of the drug.

    Returns
    -------
    data frame of shape (n_pairs, d)
        The prior vectors, with the index of `signatures`.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    The second drug was not measured in the second cell:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from skrfm.completion import NTKMatrixCompleter, screen_priors
    >>> pairs = pd.MultiIndex.from_product([["A549", "MCF7"], ["drug 1", "drug 2"]])
    >>> genes = [[1.0, 0.0], [2.0, 1.0], [1.0, 0.5], [np.nan, np.nan]]
    >>> signatures = pd.DataFrame(genes, index=pairs, columns=["gene 1", "gene 2"])
    >>> features = screen_priors(signatures)
    >>> screen_priors(signatures, ["cell", "drug mean"]).round(2)
                   0    1     2     3
    A549 drug 1  1.0  0.0  0.89  0.45
         drug 2  1.0  0.0  0.94  0.35
    MCF7 drug 1  0.0  1.0  1.00  0.00
         drug 2  0.0  1.0  0.89  0.45
    >>> completer = NTKMatrixCompleter()
    >>> completer.fit_transform(signatures, row_features=features).round(1)
                 gene 1  gene 2
    A549 drug 1     1.0     0.0
         drug 2     2.0     1.0
    MCF7 drug 1     1.0     0.5
         drug 2     1.4     0.6
    """
    unknown = [kind for kind in priors if kind not in _KINDS]
    if unknown:
        raise ValueError(f"priors may be {', '.join(_KINDS)}; got {unknown[0]!r}.")
    if getattr(signatures.index, "nlevels", 1) != 2:
        raise ValueError(
            "signatures must have an index of two levels, cell and drug: "
            'set_index(["cell", "drug"]) makes one of two columns.'
        )
    cells, drugs = (
        np.asarray(signatures.index.get_level_values(level)) for level in (0, 1)
    )
    values = signatures.to_numpy(dtype=np.float64)
    measured = ~np.isnan(values).any(axis=1)
    if not measured.any():
        raise ValueError("No pair of signatures is measured: all rows have NaN.")
    make = {
        "cell": lambda: _indicators(cells),
        "drug": lambda: _indicators(drugs),
        "cell mean": lambda: _means_of_others(values, cells, measured),
        "drug mean": lambda: _drug_means(
            values, cells, drugs, measured=measured, reference=reference
        ),
    }
    blocks = [make[kind]() for kind in priors]
    if cell_features is not None:
        blocks.append(_features_of(cells, cell_features, "cell"))
    if drug_features is not None:
        blocks.append(_features_of(drugs, drug_features, "drug"))
    if not blocks:
        raise ValueError(
            "No prior was requested: name some in priors, or pass cell_features or "
            "drug_features."
        )
    stacked = np.hstack([unit_rows(block) for block in blocks])
    return type(signatures)(stacked, index=signatures.index)


def _indicators(labels):
    return (labels[:, None] == np.unique(labels)).astype(np.float64)


def _means_of_others(values, labels, measured):
    """Return for each pair the mean of the other measured pairs of the same label.

    A pair without others has the mean of all measured pairs.
    """
    _, codes = np.unique(labels, return_inverse=True)
    own = np.where(measured[:, None], values, 0.0)
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, own)
    counts = np.bincount(codes, measured)[codes] - measured
    others = sums[codes] - own
    overall = own.sum(axis=0) / measured.sum()
    return np.where(
        counts[:, None] > 0, others / np.maximum(counts, 1)[:, None], overall
    )


def _drug_means(values, cells, drugs, *, measured, reference):
    """Return mean signatures of drugs, or their signatures in the reference cell."""
    out = _means_of_others(values, drugs, measured)
    if reference is None:
        return out
    if reference not in cells:
        raise ValueError(f"reference={reference!r} is not one of the cells.")
    for pair in np.flatnonzero((cells == reference) & measured):
        others = (drugs == drugs[pair]) & (cells != reference)
        out[others] = values[pair]
    return out


def _features_of(labels, features, kind):
    """Return the features of each pair, by the label of its cell or drug."""
    positions = features.index.get_indexer(labels)
    if (positions < 0).any():
        raise ValueError(
            f"{kind}_features has no row {labels[positions < 0][0]!r}: its index must "
            f"have every {kind} of signatures."
        )
    return features.to_numpy(dtype=np.float64)[positions]


def within_cell_splits(
    cells: Vector, n_splits: int = 10, random_state: Seed = None
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield train and test indices of splits within cells.

    The pairs of each cell are divided into folds of their own. A cell with fewer pairs
    than `n_splits` has a fold for each of them; a single pair is never in a test set.

    Parameters
    ----------
    cells : array-like of shape (n_pairs,)
        The cell of each measured pair.
    n_splits : int, default=10
        Maximum number of folds of a cell.
    random_state : int, RandomState instance or None, default=None
        Determines the folds.

    Yields
    ------
    train : ndarray of int
        Indices of the training pairs in `cells`.
    test : ndarray of int
        Indices of the test pairs in `cells`.

    Examples
    --------
    >>> from skrfm.completion import within_cell_splits
    >>> cells = ["A549", "A549", "A549", "MCF7", "MCF7"]
    >>> for train, test in within_cell_splits(cells, random_state=0):
    ...     print(train, test)
    [0 1 4] [2 3]
    [0 2 3] [1 4]
    [1 2 3 4] [0]
    """
    cells, random_state = np.asarray(cells), check_random_state(random_state)
    fold_of = np.full(len(cells), -1)
    for cell in np.unique(cells):
        pairs = np.flatnonzero(cells == cell)
        if len(pairs) > 1:
            n_folds = min(n_splits, len(pairs))
            folds = KFold(n_folds, shuffle=True, random_state=random_state)
            for fold, (_, test) in enumerate(folds.split(pairs)):
                fold_of[pairs[test]] = fold
    for fold in range(fold_of.max() + 1):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def profile_scores(true: Vector, predicted: Vector) -> dict[str, float]:
    """Return scores of predicted signatures.

    Parameters
    ----------
    true : array-like of shape (n_pairs, n_genes)
        Measured signatures.
    predicted : array-like of shape (n_pairs, n_genes)
        Predicted signatures.

    Returns
    -------
    dict of float
        "r2" is the mean over pairs of R² over genes; "cosine" is the mean over pairs of
        the cosine similarity of both signatures, 0 for a signature of zeros; "pearson"
        is the correlation of all values.

    Examples
    --------
    >>> from skrfm.completion import profile_scores
    >>> profile_scores([[1.0, 2.0], [3.0, 1.0]], [[1.1, 1.8], [2.7, 1.2]])
    {'r2': 0.92, 'cosine': 0.996, 'pearson': 0.995}
    """
    true = np.asarray(true, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    residual = np.sum((true - predicted) ** 2, axis=1)
    total = np.sum((true - true.mean(axis=1, keepdims=True)) ** 2, axis=1)
    cosines = np.sum(unit_rows(true) * unit_rows(predicted), axis=1)
    return {
        "r2": float(np.mean(1 - residual / total)),
        "cosine": float(np.mean(cosines)),
        "pearson": float(np.corrcoef(true.ravel(), predicted.ravel())[0, 1]),
    }
