"""Drug screens: MatrixCompleter and NTKMatrixCompleter, beside other methods.

    python benchmarks/drug_screen.py --data DIR [--cases cmap response davis] [--report]

``cmap`` predicts signatures of (cell, drug) pairs that are held out within each cell
(``DIR/cmap/cmap_tensor_open.npz``): mean R² and cosine of a signature, and Pearson's
correlation of all values. ``response`` is ln IC50 of cell lines × drugs, with the
expression of genes (``DIR/drug_response/gdsc_580x170.npz``), ``copies`` and ``methyl``
are others, with copy numbers of genes (``gdsc_962x228.npz``) and
with methylation (``gdsc2019_methyl.npz``). ``davis`` is the affinity of drugs × kinases
(``DIR/bioassay/davis.npz``, its own folds for entries), and ``prism``, ``ctrp`` and
``gdsc`` are the viability of the same cell lines × drugs in three screens
(``DIR/transfer_drug/prism_ctrp_gdsc_318x84.npz``). Held out are random entries, whole
rows, whole columns, or the rows of some tissues. Pearson's correlation is that of all
entries, or the mean of those within rows or columns; "normalised" is after the mean
effects of rows and columns are taken out. Means are taken over the other axis where a
whole row or column is unknown.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from _experiment import Experiment, flag, timed
from _report import format_table, grouped, mean_of
from _screen_models import response_models, ridge
from _screens import SCREENS, held_out, load, measure
from sklearn.impute import KNNImputer

from skrfm import LinRFMCompleter, NTKMatrixCompleter
from skrfm.completion import profile_scores, screen_priors, within_cell_splits

MEANS = ("cell mean", "drug mean")


# -- signatures -----------------------------------------------------------------------


def cmap(records, args):
    """Signatures: the predictions of all folds are scored together."""
    table, cell_features, drug_features = load_cmap(args.data)
    models = signature_models(cell_features, drug_features)
    for seed in range(args.folds):
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


# -- responses ------------------------------------------------------------------------


def responses(name):
    """Return the case of a screen: entries, rows, columns and tissues are held out."""

    def case(records, args):
        screen = load(name, args.data)
        for split in screen.splits:
            if split not in args.splits:
                continue
            hidden = list(held_out(screen, split))[: args.folds]
            models = response_models(screen, split)
            for fold, gaps in enumerate(hidden):
                for model, complete in models.items():
                    if "models" in args.given and model not in args.models:
                        continue
                    key = {"case": name, "split": split, "model": model, "fold": fold}
                    records.once(key, measure, screen, gaps, complete)

    return case


# -- report ---------------------------------------------------------------------------


def run(args, records):
    """Measure the cases."""
    for case in args.cases:
        CASES[case](records, args)


def report(rows, args):
    """Print the means of the folds as tables."""
    for (case, split), of_split in grouped(rows, "case", "split").items():
        lines = [
            [model, len(group), *(mean_of(group, name) for name in FIGURES)]
            for model, group in grouped(of_split, "model").items()
        ]
        print("\n" + format_table([f"{case}, {split}", "runs", *FIGURES], lines))


CASES = {"cmap": cmap, **{name: responses(name) for name in SCREENS}}
SPLITS = ("entries", "rows", "columns", "tissues")
CORRELATIONS = ("pearson", "within_rows", "within_columns")
FIGURES = (
    "r2",
    "cosine",
    *CORRELATIONS,
    *(f"normalised_{name}" for name in CORRELATIONS),
    "rmse",
    "seconds",
    "cpu_seconds",
)
# empty rows and columns are the point here: their warnings are not shown
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "split", "model", "fold"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"folds": 3, "models": None},
    choices={"cases": CASES},
    own_flags=[
        flag(
            "splits", list(SPLITS), choices=SPLITS, nargs="+", help="what is held out"
        ),
    ],
    out="drug_screen.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
