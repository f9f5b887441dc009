"""Drug screens: NTKMatrixCompleter with side features, beside other methods.

    python benchmarks/drug_screen.py --data DIR [--cases cmap response davis] [--report]

``cmap`` predicts signatures of (cell, drug) pairs that are held out within each cell
(``DIR/cmap/cmap_tensor_open.npz``): mean R² and cosine of a signature, and Pearson's
correlation of all values. ``response`` is ln IC50 of cell lines × drugs
(``DIR/drug_response/gdsc_580x170.npz``) and ``davis`` the affinity of drugs × kinases
(``DIR/bioassay/davis.npz``, its own folds for entries), with random entries, whole rows
or whole columns held out: root mean square error and Pearson's correlation. Means are
those of the other axis where a whole row or column is unknown. Figures that are in the
CSV file are not run again.
"""

import argparse
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from _records import Records, format_table
from sklearn.impute import KNNImputer
from sklearn.model_selection import KFold

from skrfm import LinRFMCompleter, NTKMatrixCompleter
from skrfm.completion import profile_scores, screen_priors, within_cell_splits
from skrfm.exceptions import NumericalWarning

FIELDS = (
    "case",
    "split",
    "model",
    "fold",
    "r2",
    "cosine",
    "pearson",
    "rmse",
    "seconds",
)
MEANS = ("cell mean", "drug mean")


# -- signatures -----------------------------------------------------------------------


def cmap(records, data, folds):
    """Signatures: the predictions of all folds are scored together."""
    table, cell_features, drug_features = load_cmap(data)
    cells = table.index.get_level_values(0)
    models = signature_models(cell_features, drug_features)
    for seed in range(folds):
        splits = list(within_cell_splits(cells, random_state=seed))
        for name, model in models.items():
            if records.has("cmap", "within cells", name, seed):
                continue
            start, predicted = perf_counter(), np.empty(table.shape)
            for _, test in splits:
                shown = table.copy()
                shown.iloc[test] = np.nan
                predicted[test] = model(shown)[test]
            seconds = perf_counter() - start
            scores = profile_scores(table, predicted)
            keep(records, "cmap", "within cells", name, seed, **scores, seconds=seconds)


def load_cmap(data):
    """Return the measured signatures, features of cells and of drugs."""
    with np.load(Path(data) / "cmap" / "cmap_tensor_open.npz") as file:
        Y = file["Y"].astype(float) - file["control"].astype(float)[:, None]
        control, prints = file["control"].astype(float), file["col_features"]
        cells, drugs = file["row_names"], file["col_names"]
    measured = ~np.isnan(Y).any(axis=2)
    places = np.nonzero(measured)
    labels = [cells[places[0]], drugs[places[1]]]
    index = pd.MultiIndex.from_arrays(labels, names=["cell", "drug"])
    table = pd.DataFrame(Y[measured], index=index)
    cell_features = pd.DataFrame(control - control.mean(axis=0), index=cells)
    return table, cell_features, pd.DataFrame(prints.astype(float), index=drugs)


def signature_models(cell_features, drug_features):
    """Return {name: function of signatures with gaps} that complete them."""

    def ntk(*priors, cells=None, drugs=None, **parameters):
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
        "NTK, indicators": ntk("cell", "drug"),
        "NTK, means": ntk(*MEANS),
        "NTK, indicators + means": ntk(*every),
        "NTK, + control": ntk(*every, cells=cell_features),
        "NTK, + control + fingerprint": ntk(
            *every, cells=cell_features, drugs=drug_features
        ),
        "NTK, + control, depth 1": ntk(*every, cells=cell_features, depth=1),
        "NTK as in the paper, + control": ntk(*every, cells=cell_features, **paper),
    }


def priors_of(shown, kind):
    """Return the mean signature of the measured pairs of a cell or drug."""
    level = MEANS.index(kind)
    means = shown.groupby(level=level).transform("mean")
    return means.fillna(shown.mean()).to_numpy()


def nearest(shown):
    """The nearest pairs, by the mixed priors, which stand beside the signatures."""
    priors = screen_priors(shown).to_numpy()
    scale = 1e3 * np.nanstd(shown.to_numpy())  # signatures that are there: all or none
    imputer = KNNImputer(n_neighbors=5, weights="distance")
    both = np.hstack([priors * scale, shown.to_numpy()])
    return imputer.fit_transform(both)[:, priors.shape[1] :]


def factorised(shown):
    """A low rank of cells × (drugs, genes)."""
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
    """Ridge regression, its ridge by leave-one-out as well."""
    F = screen_priors(shown, priors, cell_features=cell_features).to_numpy()
    return ridge(shown.to_numpy(), F)


def ridge(X, F):
    """Ridge regression of each column on features: a linear kernel."""
    K = F @ F.T
    completer = NTKMatrixCompleter(alphas=np.geomspace(1e-3, 1e3, 13))
    return completer.fit_transform(X, row_kernel=2 * K / np.mean(np.diag(K)))


# -- responses ------------------------------------------------------------------------


def response(records, data, folds):
    """Cell lines × drugs."""
    with np.load(Path(data) / "drug_response" / "gdsc_580x170.npz") as file:
        Y = file["Y"].astype(float)
        rows = standardised(file["row_expression"].astype(float))
        columns = file["col_features"].astype(float)
    compare(records, "response", Y, rows, columns, None, random_entries(Y), folds)


def davis(records, data, folds):
    """Drugs × kinases, with a kernel of the kinases."""
    with np.load(Path(data) / "bioassay" / "davis.npz") as file:
        Y, rows = file["Y"].astype(float), file["row_features"].astype(float)
        kernel = file["col_kernel"].astype(float)
        tests = [file["fold_test"]]
    places = np.argwhere(~np.isnan(Y))
    compare(records, "davis", Y, rows, None, kernel, [places[t] for t in tests], folds)


def standardised(F):
    """Return features of mean 0 and variance 1."""
    scale = F.std(axis=0)
    return (F - F.mean(axis=0)) / np.where(scale > 0, scale, 1)


def random_entries(Y):
    """Return the places of five folds of entries."""
    places = np.argwhere(~np.isnan(Y))
    folds = KFold(5, shuffle=True, random_state=0)
    return [places[test] for _, test in folds.split(places)]


def compare(records, case, Y, rows, columns, kernel, entry_folds, folds):
    """Hold out entries, rows and columns, and complete."""
    for split in ("entries", "rows", "columns"):
        hidden = list(held_out(Y, split, entry_folds))[:folds]
        for fold, gaps in enumerate(hidden):
            X = np.where(gaps, np.nan, Y)
            models = response_models(split, rows, columns, kernel)
            for name, model in models.items():
                if records.has(case, split, name, fold):
                    continue
                start = perf_counter()
                predicted = model(X)
                seconds = perf_counter() - start
                test = gaps & ~np.isnan(Y)
                scores = errors(Y[test], predicted[test])
                keep(records, case, split, name, fold, **scores, seconds=seconds)


def held_out(Y, split, entry_folds):
    """Yield masks of what is held out."""
    if split == "entries":
        for places in entry_folds:
            gaps = np.zeros(Y.shape, dtype=bool)
            gaps[tuple(places.T)] = True
            yield gaps
        return
    axis = 0 if split == "rows" else 1
    folds = KFold(5, shuffle=True, random_state=0)
    for _, test in folds.split(np.arange(Y.shape[axis])):
        gaps = np.zeros(Y.shape, dtype=bool)
        gaps[(test,) if axis == 0 else (slice(None), test)] = True
        yield gaps


def errors(true, predicted):
    """Return the root mean square error and the correlation."""
    rmse = float(np.sqrt(np.mean((true - predicted) ** 2)))
    return {"rmse": rmse, "pearson": float(np.corrcoef(true, predicted)[0, 1])}


def response_models(split, rows, columns, kernel):
    """Return {name: function of a matrix with gaps}; rows are what is told apart."""
    across = split == "columns"
    side = (columns if columns is not None else None) if across else rows

    def turned(complete):
        return lambda X: complete(X.T).T if across else complete(X)

    def ntk(X, sides, **parameters):
        return NTKMatrixCompleter(random_state=0, **parameters).fit_transform(
            X, **sides
        )

    models = {"mean": turned(lambda X: np.broadcast_to(np.nanmean(X, axis=0), X.shape))}
    if side is not None:
        models["ridge"] = turned(lambda X: ridge(X, side))
        models["NTK, features"] = turned(lambda X: ntk(X, {"row_features": side}))
        models["NTK, features, depth 1"] = turned(
            lambda X: ntk(X, {"row_features": side}, depth=1)
        )
    if across and kernel is not None:
        models["NTK, kernel"] = turned(lambda X: ntk(X, {"row_kernel": kernel}))
    if split == "entries":
        models["LinRFMCompleter"] = LinRFMCompleter(random_state=0).fit_transform
        models["NTK, entries"] = lambda X: ntk(X, {})
        models["NTK, features + entries"] = lambda X: ntk(
            X, {"row_features": rows}, prior_entries=2.0
        )
        first = {"first_completer": LinRFMCompleter(random_state=0)}
        models["NTK after LinRFM, features"] = lambda X: ntk(
            X, {"row_features": rows}, **first
        )
        if kernel is not None:
            models["NTK after LinRFM, kernel"] = lambda X: (
                ntk(X.T, {"row_kernel": kernel}, **first).T
            )
    if kernel is not None:
        both = {"row_features": rows, "col_kernel": kernel}
        models["NTK, both sides"] = lambda X: ntk(X, both, prior_identity=1.0)
    elif columns is not None:
        both = {"row_features": rows, "col_features": columns}
        models["NTK, both sides"] = lambda X: ntk(X, both, prior_identity=1.0)
    return models


# -- records --------------------------------------------------------------------------


def keep(records, case, split, model, fold, **figures):
    """Note figures, and print them."""
    shown = {name: round(figure, 4) for name, figure in figures.items()}
    print(case, split, model, fold, shown, flush=True)
    records.add(case=case, split=split, model=model, fold=fold, **figures)


def report(records):
    """Print the means of the folds as tables."""
    groups = {}
    for row in records.rows:
        by_model = groups.setdefault((row["case"], row["split"]), {})
        by_model.setdefault(row["model"], []).append(row)
    for (case, split), by_model in groups.items():
        some = next(iter(by_model.values()))[0]
        names = [name for name in FIELDS[4:] if some[name]]
        lines = []
        for model, rows in by_model.items():
            means = [
                float(np.mean([float(row[name]) for row in rows])) for name in names
            ]
            lines.append([model, len(rows), *means])
        header = [f"{case}, {split}", "runs", *names]
        print("\n" + format_table(header, lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runs = {"cmap": cmap, "response": response, "davis": davis}
    parser.add_argument("--cases", nargs="*", default=list(runs), choices=list(runs))
    parser.add_argument("--data", help="folder with cmap, drug_response and bioassay")
    parser.add_argument("--folds", type=int, default=3, help="folds, or draws of them")
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    results = Path(__file__).parent / "results" / "drug_screen.csv"
    parser.add_argument("--results", default=results, type=Path)
    args = parser.parse_args()
    records = Records(args.results, FIELDS, ("case", "split", "model", "fold"))
    if not args.report:
        if args.data is None:
            parser.error("--data is needed, except for --report")
        # empty rows and columns are the point here
        warnings.simplefilter("ignore", NumericalWarning)
        for case in args.cases:
            runs[case](records, args.data, args.folds)
    report(records)


if __name__ == "__main__":
    main()
