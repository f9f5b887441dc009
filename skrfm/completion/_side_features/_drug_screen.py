"""Drug screens: priors of (cell, drug) pairs, splits within cells, and scores."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

from ..._backend import IntArray, Seed, Table, Vector
from ..._sklearn import check_array
from ..._tables import read_numbers
from ._labels import (
    has_missing,
    labels_of,
    look_up,
    named,
    positions_by_label,
    repeated_in,
)
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
        A row for each pair, with an index of two levels, cell and drug, without missing
        names. Pairs with NaN in their row have not been measured.
    priors : sequence of str, default=("cell", "drug", "cell mean", "drug mean")
        "cell" and "drug" are one-hot indicators; "cell mean" and "drug mean" are mean
        signatures of the other pairs of the same cell or drug, or of all pairs if there
        are no others.
    cell_features : data frame of shape (n_cells, p), default=None
        Features of cells, such as their gene expression, indexed by cell. Rows are
        matched with `signatures` by their names, which must be unique; the order does
        not matter, and there may be other cells.
    drug_features : data frame of shape (n_drugs, q), default=None
        Features of drugs, such as fingerprints, indexed by drug, and matched by name.
    reference : label of a cell, default=None
        For drugs that were measured in this cell, their signature there replaces the
        mean signature of the drug.

    Returns
    -------
    data frame of shape (n_pairs, d)
        The prior vectors, with the index of `signatures`.

    Raises
    ------
    ValueError
        If a name in an index is missing, if features have a name twice, or if they do
        not have all names in `signatures`.

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
    cells, drugs = _pair_names(signatures)
    values = signatures.to_numpy(dtype=np.float64)
    measured = ~np.isnan(values).any(axis=1)
    if not measured.any():
        raise ValueError("No pair of signatures is measured: all rows have NaN.")
    make = {
        "cell": lambda: _indicators(_codes(cells)),
        "drug": lambda: _indicators(_codes(drugs)),
        "cell mean": lambda: _means_of_others(values, _codes(cells), measured),
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


def _pair_names(signatures):
    """Return the names of the cell and of the drug of each pair."""
    index: Any = getattr(signatures, "index", None)
    if getattr(index, "nlevels", 1) != 2:
        raise ValueError(
            "signatures must be a data frame with an index of two levels, cell and "
            'drug: set_index(["cell", "drug"]) makes one of two columns.'
        )
    names = [index.get_level_values(level).tolist() for level in (0, 1)]
    for level, kind in zip(names, ("cell", "drug"), strict=True):
        _require_names(level, f"The index of signatures has a pair without a {kind}")
    return names


def _require_names(names, problem):
    """Raise ValueError if a name is missing."""
    for position, name in enumerate(names):
        if has_missing(name):
            raise ValueError(
                f"{problem}: {name!r} at position {position}. Give it a name, or drop "
                "it."
            )


def _codes(names):
    """Return the position of each name among the distinct names, in sorted order."""
    distinct = list(dict.fromkeys(names))
    try:
        distinct.sort()
    except TypeError:  # names of types that cannot be compared, such as int and str
        distinct.sort(key=lambda name: (type(name).__name__, repr(name)))
    return look_up(names, distinct)[0]


def _indicators(codes):
    return (codes[:, None] == np.arange(codes.max() + 1)).astype(np.float64)


def _means_of_others(values, codes, measured):
    """Return for each pair the mean of the other measured pairs of the same code.

    A pair without others has the mean of all measured pairs.
    """
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
    drug_codes = _codes(drugs)
    out = _means_of_others(values, drug_codes, measured)
    if reference is None:
        return out
    in_reference = np.array([cell == reference for cell in cells])
    if not in_reference.any():
        raise ValueError(f"reference={reference!r} is not one of the cells.")
    for pair in np.flatnonzero(in_reference & measured):
        others = (drug_codes == drug_codes[pair]) & ~in_reference
        out[others] = values[pair]
    return out


def _features_of(names, features, kind):
    """Return the features of each pair, by the name of its cell or drug."""
    argument = f"{kind}_features"
    labels = labels_of(features)
    if labels is None:
        raise ValueError(
            f"{argument} must be a pandas data frame whose index has the name of each "
            f"{kind}."
        )
    _require_names(labels.values, f"The index of {argument} has a {kind} without name")
    repeated = repeated_in(labels.values)
    if repeated:
        raise ValueError(
            f"{argument} has more than one row {named(repeated)}: its index must have "
            f"each {kind} once."
        )
    positions, unknown = look_up(names, labels.values)
    if unknown:
        raise ValueError(
            f"{argument} has no row {named(unknown)}: its index must have every {kind} "
            "of signatures."
        )
    numbers = read_numbers(features.iloc[positions], argument)
    return check_array(numbers, dtype=np.float64, input_name=argument)


def within_cell_splits(
    cells: Vector, n_splits: int = 10, random_state: Seed = None
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield train and test indices of splits within cells.

    The pairs of each cell are divided into folds of their own. A cell with fewer pairs
    than `n_splits` has a fold for each of them; a single pair is never in a test set.

    Parameters
    ----------
    cells : array-like of shape (n_pairs,)
        The name of the cell of each measured pair, without missing names.
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

    Raises
    ------
    ValueError
        If the name of a cell is missing.

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
    # not by np.asarray, which turns NaN between strings into "nan"
    given: Any = cells
    names = given.tolist() if hasattr(given, "tolist") else list(given)
    _require_names(names, "cells has a pair without the name of its cell")
    return _splits(_codes(names), n_splits, check_random_state(random_state))


def _splits(codes, n_splits, random_state):
    """Yield train and test indices; `codes` has the cell of each pair as a number."""
    fold_of = np.full(len(codes), -1)
    for code in np.unique(codes):
        pairs = np.flatnonzero(codes == code)
        if len(pairs) > 1:
            n_folds = min(n_splits, len(pairs))
            folds = KFold(n_folds, shuffle=True, random_state=random_state)
            for fold, (_, test) in enumerate(folds.split(pairs)):
                fold_of[pairs[test]] = fold
    for fold in range(fold_of.max(initial=-1) + 1):
        yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def profile_scores(true: Vector, predicted: Vector) -> dict[str, float]:
    """Return scores of predicted signatures.

    Parameters
    ----------
    true : array-like of shape (n_pairs, n_genes)
        Measured signatures.
    predicted : array-like of shape (n_pairs, n_genes)
        Predicted signatures. Pairs and genes are matched with those of `true` by label
        where both are data frames with labels, which must be unique; otherwise by
        position. A default index (0, 1, …) is no label.

    Returns
    -------
    dict of float
        "r2" is the mean over pairs of R² over genes; "cosine" is the mean over pairs of
        the cosine similarity of both signatures, 0 for a signature of zeros; "pearson"
        is the correlation of all values.

    Raises
    ------
    ValueError
        If labels of both are repeated, missing or different, or if the shapes differ.

    Examples
    --------
    >>> from skrfm.completion import profile_scores
    >>> profile_scores([[1.0, 2.0], [3.0, 1.0]], [[1.1, 1.8], [2.7, 1.2]])
    {'r2': 0.92, 'cosine': 0.996, 'pearson': 0.995}
    """
    predicted = _in_order_of(true, predicted)
    true = np.asarray(true, dtype=np.float64)
    if true.shape != predicted.shape:
        raise ValueError(
            f"predicted has the shape {predicted.shape}, but true has {true.shape}: "
            "pass a prediction for each value of true."
        )
    residual = np.sum((true - predicted) ** 2, axis=1)
    total = np.sum((true - true.mean(axis=1, keepdims=True)) ** 2, axis=1)
    cosines = np.sum(unit_rows(true) * unit_rows(predicted), axis=1)
    return {
        "r2": float(np.mean(1 - residual / total)),
        "cosine": float(np.mean(cosines)),
        "pearson": float(np.corrcoef(true.ravel(), predicted.ravel())[0, 1]),
    }


def _in_order_of(true, predicted):
    """Return predicted signatures as an array, matched with the measured ones."""
    positions = [
        positions_by_label(
            labels_of(true, axis=axis),
            labels_of(predicted, axis=axis),
            name="predicted",
            of=f"{kind}s of true",
            axis=kind,
        )
        for axis, kind in enumerate(("row", "column"))
    ]
    predicted = np.asarray(predicted, dtype=np.float64)
    for axis, chosen in enumerate(positions):
        if chosen is not None:
            predicted = np.take(predicted, chosen, axis=axis)
    return predicted
