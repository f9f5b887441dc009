"""Drug screens: priors of (cell, drug) pairs, splits within cells, and scores."""

import numpy as np
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state

_KINDS = ("cell", "drug", "cell mean", "drug mean")


def screen_priors(
    signatures,
    priors=_KINDS,
    *,
    cell_features=None,
    drug_features=None,
    reference=None,
):
    """Return prior vectors of the pairs of a drug screen, for NTKMatrixCompleter.

    Each prior is a block of columns with rows of length 1. Only measured pairs enter,
    and no pair its own prior: its signature is left out of its means, so that the prior
    of a measured pair is like that of one to be predicted.

    Parameters
    ----------
    signatures : data frame of shape (n_pairs, n_genes)
        A row for each pair, with an index of two levels, cell and drug; a pair with
        NaN in its row has not been measured.
    priors : sequence of str, default=("cell", "drug", "cell mean", "drug mean")
        "cell" and "drug" are indicators, "cell mean" and "drug mean" mean signatures
        of the other pairs of that cell or drug, or of all pairs if there are none.
    cell_features : data frame of shape (n_cells, p), default=None
        Features of cells, such as their expression, by name.
    drug_features : data frame of shape (n_drugs, q), default=None
        Features of drugs, such as fingerprints, by name.
    reference : label of a cell, default=None
        Where a drug was measured in this cell, its signature there takes the place of
        the mean signature of the drug.

    Returns
    -------
    data frame of shape (n_pairs, d)
        Vectors with the index of `signatures`.

    References
    ----------
    A. Radhakrishnan, G. Stefanakis, M. Belkin and C. Uhler, "Simple, fast, and flexible
    framework for matrix completion with infinite width neural networks", PNAS 119,
    2022, doi:10.1073/pnas.2115064119.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skrfm.completion import NTKMatrixCompleter, screen_priors
    >>> pairs = pd.MultiIndex.from_product([["A549", "MCF7"], ["drug 1", "drug 2"]])
    >>> genes = np.random.default_rng(0).normal(size=(4, 6))
    >>> signatures = pd.DataFrame(genes, index=pairs)
    >>> signatures.loc[("MCF7", "drug 2")] = np.nan
    >>> features = screen_priors(signatures)
    >>> features.shape
    (4, 16)
    >>> completer = NTKMatrixCompleter()
    >>> filled = completer.fit_transform(signatures, row_features=features)
    >>> bool(filled.isna().any(axis=None))
    False
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
        "drug mean": lambda: _drug_means(values, cells, drugs, measured, reference),
    }
    blocks = [make[kind]() for kind in priors]
    sides = (
        ("cell_features", cell_features, cells),
        (
            "drug_features",
            drug_features,
            drugs,
        ),
    )
    blocks += [_looked_up(*side) for side in sides if side[1] is not None]
    if not blocks:
        raise ValueError("No prior was asked for: name some in priors.")
    stacked = np.hstack([_unit(block) for block in blocks])
    return type(signatures)(stacked, index=signatures.index)


def _unit(X):
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


def _indicators(labels):
    return (labels[:, None] == np.unique(labels)).astype(np.float64)


def _means_of_others(values, labels, measured):
    """Return for each pair the mean of the other measured pairs of the same label."""
    _, label = np.unique(labels, return_inverse=True)
    own = np.where(measured[:, None], values, 0.0)
    sums = np.zeros((label.max() + 1, values.shape[1]))
    np.add.at(sums, label, own)
    counts = np.bincount(label, measured)[label] - measured
    others = sums[label] - own
    overall = own.sum(axis=0) / measured.sum()
    return np.where(
        counts[:, None] > 0, others / np.maximum(counts, 1)[:, None], overall
    )


def _drug_means(values, cells, drugs, measured, reference):
    """Return means of drugs, or what they did in the cell of reference."""
    out = _means_of_others(values, drugs, measured)
    if reference is None:
        return out
    if reference not in cells:
        raise ValueError(f"reference={reference!r} is not one of the cells.")
    for place in np.flatnonzero((cells == reference) & measured):
        others = (drugs == drugs[place]) & (cells != reference)
        out[others] = values[place]
    return out


def _looked_up(name, features, labels):
    """Return the features of each pair."""
    places = features.index.get_indexer(labels)
    if (places < 0).any():
        raise ValueError(
            f"{name} has no row {labels[places < 0][0]!r}: its index must have every "
            f"{name[:4]} of signatures."
        )
    return features.to_numpy(dtype=np.float64)[places]


def within_cell_splits(cells, n_splits=10, random_state=None):
    """Yield (train, test): each cell is cut into folds of its own.

    A cell of fewer pairs than `n_splits` has a fold for each of them; one of a single
    pair stays in training.

    Parameters
    ----------
    cells : array-like of shape (n_pairs,)
        The cell of each measured pair.
    n_splits : int, default=10
        The most folds of a cell.
    random_state : int, RandomState instance or None, default=None
        Determines the folds.

    Yields
    ------
    tuple of two ndarray of int
        Positions in `cells`.

    Examples
    --------
    >>> from skrfm.completion import within_cell_splits
    >>> splits = within_cell_splits(["a"] * 3 + ["b"] * 2, random_state=0)
    >>> [len(test) for train, test in splits]
    [2, 2, 1]
    """
    cells, random_state = np.asarray(cells), check_random_state(random_state)
    fold = np.full(len(cells), -1)
    for cell in np.unique(cells):
        pairs = np.flatnonzero(cells == cell)
        if len(pairs) > 1:
            count = min(n_splits, len(pairs))
            folds = KFold(count, shuffle=True, random_state=random_state)
            for number, (_, test) in enumerate(folds.split(pairs)):
                fold[pairs[test]] = number
    for number in range(fold.max() + 1):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def profile_scores(true, predicted):
    """Return how well signatures are predicted.

    Parameters
    ----------
    true, predicted : array-like of shape (n_pairs, n_genes)
        Signatures.

    Returns
    -------
    dict of float
        "r2", the mean R² of a signature over its genes; "cosine", the mean cosine of
        a signature and its prediction (0 for one of zeros); "pearson", the correlation
        of all values.

    Examples
    --------
    >>> from skrfm.completion import profile_scores
    >>> profile_scores([[1.0, 2.0], [3.0, 1.0]], [[1.0, 2.0], [3.0, 1.0]])
    {'r2': 1.0, 'cosine': 1.0, 'pearson': 1.0}
    """
    true = np.asarray(true, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    residual = np.sum((true - predicted) ** 2, axis=1)
    total = np.sum((true - true.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return {
        "r2": float(np.mean(1 - residual / total)),
        "cosine": float(np.mean(np.sum(_unit(true) * _unit(predicted), axis=1))),
        "pearson": float(np.corrcoef(true.ravel(), predicted.ravel())[0, 1]),
    }
