"""RFM beside other estimators on the tables that ship with scikit-learn.

Every estimator gets the same standardised 5-fold splits of diabetes (regression,
R²), breast_cancer, wine and digits (classification, accuracy). KernelRidge and SVC
are tuned by a grid search inside each fold; the others run with their defaults.
Times are means per fold and count the whole pipeline, grid search included; all
estimators have the same number of threads, by default one.
"""

import argparse
import csv
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import format_table
from matplotlib.figure import Figure
from sklearn import datasets, ensemble
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from skrfm import RFMClassifier, RFMRegressor

TABLES = ("diabetes", "breast_cancer", "wine", "digits")
FIELDS = ("table", "model", "fold", "score", "fit_s", "predict_s", "importances")
COLOURS = ("#0b5394", "#c27c0e", "#3d7a4e", "#8a4f7d")


def tuned_kernel_machine(regression, n_features):
    gammas = np.array([0.1, 0.3, 1, 3]) / n_features
    if not regression:
        return GridSearchCV(SVC(), {"gamma": gammas, "C": [1, 10, 100]}, cv=3)
    # KernelRidge has no intercept and no scale of its own: standardise y.
    model = TransformedTargetRegressor(
        KernelRidge(kernel="rbf"), transformer=StandardScaler()
    )
    grid = {"regressor__gamma": gammas, "regressor__alpha": [0.03, 0.3, 3, 30]}
    return GridSearchCV(model, grid, cv=3)


def make_models(regression, n_features):
    """Name to estimator, RFM first."""
    kind = "Regressor" if regression else "Classifier"
    boosting = getattr(ensemble, f"HistGradientBoosting{kind}")
    forest = getattr(ensemble, f"RandomForest{kind}")
    tuned_name = "KernelRidge (tuned)" if regression else "SVC (tuned)"
    models = {
        "RFM": (RFMRegressor if regression else RFMClassifier)(random_state=0),
        tuned_name: tuned_kernel_machine(regression, n_features),
        "HistGradientBoosting": boosting(random_state=0),
        "RandomForest": forest(random_state=0),
    }
    return {
        name: model if name == "RFM" else make_pipeline(StandardScaler(), model)
        for name, model in models.items()
    }


def measure(name, model, X, y, train, test):
    """Score, times and, for RFM, feature importances of one fold."""
    start = perf_counter()
    model.fit(X[train], y[train])
    fitted = perf_counter()
    model.predict(X[test])
    predicted = perf_counter()
    return {
        "score": model.score(X[test], y[test]),
        "fit_s": fitted - start,
        "predict_s": predicted - fitted,
        "importances": model.feature_importances_ if name == "RFM" else [],
    }


def compile_seconds():
    """Seconds of a first, tiny fit: Numba compiles, or reads what it compiled."""
    start = perf_counter()
    RFMRegressor().fit(np.eye(20), np.arange(20.0))
    return perf_counter() - start


def run_table(table, data, rows, path):
    """Fill `rows` with what is missing for one table, fold by fold."""
    X, y = data.data, data.target
    regression = table == "diabetes"
    splitter = KFold if regression else StratifiedKFold
    splitter = splitter(5, shuffle=True, random_state=0)
    for fold, (train, test) in enumerate(splitter.split(X, y)):
        for name, model in make_models(regression, X.shape[1]).items():
            if (table, name, fold) not in rows:
                row = measure(name, model, X, y, train, test)
                rows[table, name, fold] = row
                if path is not None:
                    append_row(path, table, name, fold, row)


def read_rows(path):
    """Rows of an earlier run, by (table, model, fold)."""
    if path is None or not path.exists():
        return {}
    rows = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values = {key: float(row[key]) for key in FIELDS[3:6]}
            values["importances"] = np.array(row["importances"].split(), dtype=float)
            rows[row["table"], row["model"], int(row["fold"])] = values
    return rows


def append_row(path, table, name, fold, row):
    importances = " ".join(f"{value:.6g}" for value in row["importances"])
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if file.tell() == 0:
            writer.writeheader()
        row = {**row, "table": table, "model": name, "fold": fold}
        writer.writerow({**row, "importances": importances})


def summarise(rows, table):
    """Model to the values of its folds, stacked, of one table."""
    folds = {}
    for (row_table, name, _), row in rows.items():
        if row_table == table:
            folds.setdefault(name, []).append(row)
    return {
        name: {key: np.array([f[key] for f in fs]) for key in FIELDS[3:]}
        for name, fs in folds.items()
    }


def print_table(table, data, results):
    score = "R²" if table == "diabetes" else "accuracy"
    lines = [
        [name, r["score"].mean(), r["score"].std()]
        + [r["fit_s"].mean(), r["predict_s"].mean()]
        for name, r in results.items()
    ]
    print(f"\n{table}: {len(data.data)} rows, {len(data.feature_names)} columns\n")
    print(format_table([score, "mean", "std", "fit s", "predict s"], lines))
    importances = results["RFM"]["importances"].mean(axis=0)
    top = np.argsort(importances)[::-1][:5]
    names = (f"{data.feature_names[i]} {importances[i]:.3f}" for i in top)
    print("RFM's most important features: " + ", ".join(names), flush=True)


def draw_scores(ax, table, results):
    for i, (r, colour) in enumerate(zip(results.values(), COLOURS, strict=True)):
        ax.plot(
            r["score"], np.full(len(r["score"]), -i), "o", c=colour, ms=5, alpha=0.4
        )
        ax.plot(r["score"].mean(), -i, "d", c=colour, ms=10)
    ax.set_yticks(-np.arange(len(results)), list(results))
    ax.set_ylim(0.5 - len(results), 0.5)
    ax.set_title(f"{table}: " + ("R²" if table == "diabetes" else "accuracy"))
    ax.set_xlabel("folds (dots) and their mean (diamond)")


def draw_importances(fig, ax, table, data, results):
    importances = results["RFM"]["importances"].mean(axis=0)
    ax.set_title(f"{table}: RFM feature importances")
    if table == "digits":
        fig.colorbar(ax.imshow(importances.reshape(8, 8), cmap="magma"), ax=ax)
    else:
        top = np.argsort(importances)[-10:]
        names = [str(data.feature_names[i]) for i in top]
        ax.barh(names, importances[top], color=COLOURS[0])


def draw(path, loaded, results):
    fig = Figure(figsize=(18, 7), layout="constrained")
    for (top, bottom), table in zip(fig.subplots(2, 4).T, loaded, strict=True):
        draw_scores(top, table, results[table])
        draw_importances(fig, bottom, table, loaded[table], results[table])
    fig.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("bundled.png"))
    parser.add_argument("--csv", type=Path, help="keep rows here; none is run twice")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    threadpool_limits(args.threads)
    rows = read_rows(args.csv)
    loaded = {table: getattr(datasets, f"load_{table}")() for table in TABLES}
    results = {}
    print(f"First call of RFM, compilation included: {compile_seconds():.1f} s")
    for table, data in loaded.items():
        run_table(table, data, rows, args.csv)
        results[table] = summarise(rows, table)
        print_table(table, data, results[table])
    draw(args.out, loaded, results)
    print(f"\nPicture: {args.out}")


if __name__ == "__main__":
    main()
