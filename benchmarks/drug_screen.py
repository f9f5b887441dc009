"""Drug screens: NTKMatrixCompleter with side features, beside other methods.

    python benchmarks/drug_screen.py --data DIR [--cases cmap response davis] [--report]

``cmap`` predicts signatures of (cell, drug) pairs that are held out within each cell
(``DIR/cmap/cmap_tensor_open.npz``): mean R² and cosine of a signature, and Pearson's
correlation of all values. ``response`` is ln IC50 of cell lines × drugs
(``DIR/drug_response/gdsc_580x170.npz``) and ``davis`` the affinity of drugs × kinases
(``DIR/bioassay/davis.npz``, its own folds for entries), with random entries, whole rows
or whole columns held out: root mean square error and Pearson's correlation. Means are
taken over the other axis where a whole row or column is unknown.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from _experiment import Experiment, timed
from _report import format_table, grouped, mean_of
from sklearn.impute import KNNImputer
from sklearn.model_selection import KFold

from skrfm import LinRFMCompleter, NTKMatrixCompleter
from skrfm.completion import profile_scores, screen_priors, within_cell_splits

MEANS = ("cell mean", "drug mean")


# -- signatures -----------------------------------------------------------------------


def cmap(records, data, folds):
    """Signatures: the predictions of all folds are scored together."""
    table, cell_features, drug_features = load_cmap(data)
    models = signature_models(cell_features, drug_features)
    for seed in range(folds):
        for name, model in models.items():
            key = {"case": "cmap", "split": "within cells", "model": name}
            records.once(key | {"fold": seed}, measure_signatures, table, model, seed)


def measure_signatures(table, model, seed):
    """Return the scores of signatures that were held out within their cells."""
    cells = table.index.get_level_values(0)

    def predict():
        predicted = np.empty(table.shape)
        for _, test in within_cell_splits(cells, random_state=seed):
            shown = table.copy()
            shown.iloc[test] = np.nan
            predicted[test] = model(shown)[test]
        return predicted

    predicted, cost = timed(predict)
    return {**profile_scores(table, predicted), **cost.figures()}


def load_cmap(data):
    """Return the measured signatures, features of cells and of drugs."""
    with np.load(Path(data) / "cmap" / "cmap_tensor_open.npz") as file:
        Y = file["Y"].astype(float) - file["control"].astype(float)[:, None]
        control, prints = file["control"].astype(float), file["col_features"]
        cells, drugs = file["row_names"], file["col_names"]
    measured = ~np.isnan(Y).any(axis=2)
    cell, drug = np.nonzero(measured)
    labels = [cells[cell], drugs[drug]]
    index = pd.MultiIndex.from_arrays(labels, names=["cell", "drug"])
    table = pd.DataFrame(Y[measured], index=index)
    cell_features = pd.DataFrame(control - control.mean(axis=0), index=cells)
    return table, cell_features, pd.DataFrame(prints.astype(float), index=drugs)


def signature_models(cell_features, drug_features):
    """Return {name: function of signatures with gaps} that complete them."""

    def from_priors(*priors, cells=None, drugs=None, **parameters):
        def complete(shown):
            features = screen_priors(
                shown, priors, cell_features=cells, drug_features=drugs
            )
            completer = NTKMatrixCompleter(**parameters)
            return completer.fit_transform(shown, row_features=features).to_numpy()

        return complete

    every = ("cell", "drug", *MEANS)
    paper = {"prior_identity": 1.5, "alpha": 1e-3, "center": False, "depth": 1}
    return {
        "cell mean": lambda shown: priors_of(shown, "cell mean"),
        "drug mean": lambda shown: priors_of(shown, "drug mean"),
        "mean of both": lambda shown: sum(priors_of(shown, m) for m in MEANS) / 2,
        "KNNImputer": nearest,
        "LinRFMCompleter": factorised,
        "ridge, all priors": lambda shown: linear(shown, every, cell_features),
        "NTK, indicators": from_priors("cell", "drug"),
        "NTK, means": from_priors(*MEANS),
        "NTK, indicators + means": from_priors(*every),
        "NTK, + control": from_priors(*every, cells=cell_features),
        "NTK, + control + fingerprint": from_priors(
            *every, cells=cell_features, drugs=drug_features
        ),
        "NTK, + control, depth 1": from_priors(*every, cells=cell_features, depth=1),
        "NTK as in the paper, + control": from_priors(
            *every, cells=cell_features, **paper
        ),
    }


def priors_of(shown, kind):
    """Return the mean signature of the measured pairs of a cell or drug."""
    level = MEANS.index(kind)
    means = shown.groupby(level=level).transform("mean")
    return means.fillna(shown.mean()).to_numpy()


def nearest(shown):
    """Complete by the nearest pairs, as measured by the mixed priors."""
    priors = screen_priors(shown).to_numpy()
    # priors outweigh the signatures, which are complete or missing as a whole
    scale = 1e3 * np.nanstd(shown.to_numpy())
    imputer = KNNImputer(n_neighbors=5, weights="distance")
    both = np.hstack([priors * scale, shown.to_numpy()])
    return imputer.fit_transform(both)[:, priors.shape[1] :]


def factorised(shown):
    """Complete cells × (drugs, genes) by a low rank."""
    wide = shown.unstack()
    wide.columns = wide.columns.to_flat_index()
    known = wide.columns[wide.notna().any()]
    completer = LinRFMCompleter(
        max_rank=5, center=True, keep_observed=False, random_state=0
    )
    filled = pd.DataFrame(
        completer.fit_transform(wide[known].to_numpy()), wide.index, known
    )
    filled = filled.reindex(columns=wide.columns)
    filled.columns = pd.MultiIndex.from_tuples(filled.columns)
    tall = filled.stack(level=1, future_stack=True).reindex(shown.index)
    return tall[shown.columns].fillna(shown.mean()).to_numpy()


def linear(shown, priors, cell_features):
    """Complete by ridge regression on priors."""
    F = screen_priors(shown, priors, cell_features=cell_features).to_numpy()
    return ridge(shown.to_numpy(), F)


def ridge(X, F):
    """Complete by ridge regression on features, the ridge by leave-one-out."""
    K = F @ F.T
    completer = NTKMatrixCompleter(alphas=np.geomspace(1e-3, 1e3, 13))
    return completer.fit_transform(X, row_kernel=2 * K / np.mean(np.diag(K)))


# -- responses ------------------------------------------------------------------------


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
    """

    Y: np.ndarray
    rows: np.ndarray
    columns: np.ndarray | None
    kernel: np.ndarray | None
    entry_folds: list


def response(records, data, folds):
    """Cell lines × drugs."""
    with np.load(Path(data) / "drug_response" / "gdsc_580x170.npz") as file:
        Y = file["Y"].astype(float)
        screen = Screen(
            Y=Y,
            rows=standardised(file["row_expression"].astype(float)),
            columns=file["col_features"].astype(float),
            kernel=None,
            entry_folds=random_entries(Y),
        )
    compare(records, "response", screen, folds)


def davis(records, data, folds):
    """Drugs × kinases, with a kernel of the kinases."""
    with np.load(Path(data) / "bioassay" / "davis.npz") as file:
        Y = file["Y"].astype(float)
        screen = Screen(
            Y=Y,
            rows=file["row_features"].astype(float),
            columns=None,
            kernel=file["col_kernel"].astype(float),
            entry_folds=[np.argwhere(~np.isnan(Y))[file["fold_test"]]],
        )
    compare(records, "davis", screen, folds)


def standardised(F):
    """Return features of mean 0 and variance 1."""
    scale = F.std(axis=0)
    return (F - F.mean(axis=0)) / np.where(scale > 0, scale, 1)


def random_entries(Y):
    """Return the indices of five folds of entries."""
    entries = np.argwhere(~np.isnan(Y))
    folds = KFold(5, shuffle=True, random_state=0)
    return [entries[test] for _, test in folds.split(entries)]


def compare(records, case, screen, folds):
    """Hold out entries, rows and columns, and complete."""
    for split in ("entries", "rows", "columns"):
        hidden = list(held_out(screen, split))[:folds]
        models = response_models(screen, split)
        for fold, gaps in enumerate(hidden):
            for name, model in models.items():
                key = {"case": case, "split": split, "model": name, "fold": fold}
                records.once(key, measure_responses, screen.Y, gaps, model)


def held_out(screen, split):
    """Yield masks of what is held out."""
    shape = screen.Y.shape
    if split == "entries":
        for entries in screen.entry_folds:
            gaps = np.zeros(shape, dtype=bool)
            gaps[tuple(entries.T)] = True
            yield gaps
        return
    axis = 0 if split == "rows" else 1
    folds = KFold(5, shuffle=True, random_state=0)
    for _, test in folds.split(np.arange(shape[axis])):
        gaps = np.zeros(shape, dtype=bool)
        gaps[(test,) if axis == 0 else (slice(None), test)] = True
        yield gaps


def measure_responses(Y, gaps, model):
    """Return the error and the correlation on what is held out, and the costs."""
    predicted, cost = timed(model, np.where(gaps, np.nan, Y))
    test = gaps & ~np.isnan(Y)
    true, predicted = Y[test], predicted[test]
    rmse = float(np.sqrt(np.mean((true - predicted) ** 2)))
    pearson = float(np.corrcoef(true, predicted)[0, 1])
    return {"rmse": rmse, "pearson": pearson, **cost.figures()}


def transposed(complete):
    """Return a function that completes the transposed matrix."""
    return lambda X: complete(X.T).T


def ntk(*, rows=None, row_kernel=None, columns=None, col_kernel=None, **parameters):
    """Return a function that completes a matrix from what is known of its sides."""
    sides = {
        "row_features": rows,
        "row_kernel": row_kernel,
        "col_features": columns,
        "col_kernel": col_kernel,
    }
    sides = {name: side for name, side in sides.items() if side is not None}

    def complete(X):
        completer = NTKMatrixCompleter(random_state=0, **parameters)
        return completer.fit_transform(X, **sides)

    return complete


def response_models(screen, split):
    """Return {name: function that completes a matrix}, by what is held out."""
    across = split == "columns"
    models = side_models(screen.columns if across else screen.rows)
    if across:
        if screen.kernel is not None:
            models["NTK, kernel"] = ntk(row_kernel=screen.kernel)
        models = {name: transposed(model) for name, model in models.items()}
    if split == "entries":
        models |= entry_models(screen)
    both = {"columns": screen.columns, "col_kernel": screen.kernel}
    if any(side is not None for side in both.values()):
        both |= {"rows": screen.rows, "prior_identity": 1.0}
        models["NTK, both sides"] = ntk(**both)
    return models


def side_models(features):
    """Return models of whole rows, from their features where there are any."""
    models = {"mean": lambda X: np.broadcast_to(np.nanmean(X, axis=0), X.shape)}
    if features is not None:
        models["ridge"] = lambda X: ridge(X, features)
        models["NTK, features"] = ntk(rows=features)
        models["NTK, features, depth 1"] = ntk(rows=features, depth=1)
    return models


def entry_models(screen):
    """Return models of random entries."""
    rows, kernel = screen.rows, screen.kernel
    low_rank = LinRFMCompleter(random_state=0)
    models = {
        "LinRFMCompleter": LinRFMCompleter(random_state=0).fit_transform,
        "NTK, entries": ntk(),
        "NTK, features + entries": ntk(rows=rows, prior_entries=2.0),
        "NTK after LinRFM, features": ntk(rows=rows, first_completer=low_rank),
    }
    if kernel is not None:
        after = ntk(row_kernel=kernel, first_completer=low_rank)
        models["NTK after LinRFM, kernel"] = transposed(after)
    return models


# -- report ---------------------------------------------------------------------------


def run(args, records):
    """Measure the cases."""
    for case in args.cases:
        CASES[case](records, args.data, args.folds)


def report(rows, args):
    """Print the means of the folds as tables."""
    for (case, split), of_split in grouped(rows, "case", "split").items():
        lines = [
            [model, len(group), *(mean_of(group, name) for name in FIGURES)]
            for model, group in grouped(of_split, "model").items()
        ]
        print("\n" + format_table([f"{case}, {split}", "runs", *FIGURES], lines))


CASES = {"cmap": cmap, "response": response, "davis": davis}
FIGURES = ("r2", "cosine", "pearson", "rmse", "seconds", "cpu_seconds")
# empty rows and columns are the point here: their warnings are not shown
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "split", "model", "fold"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"folds": 3},
    choices={"cases": CASES},
    out="drug_screen.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
