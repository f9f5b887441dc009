"""Estimators alone, and on features that RecursiveFeatures learns from their gradients.

    python benchmarks/features.py --data DIR --half reporting
    python benchmarks/features.py --report

Nearest neighbours, support vectors, Gaussian processes and random forests at fixed
parameters, on the encoded tables with at most 60 columns; RecursiveFeatures at its
defaults. Scores are R² or accuracy on at most 3000 test rows, means over the folds,
each of which draws rows anew. The error of a gain is the larger one of two: the
standard error of the mean over the folds, and what the differences of the losses of
single test rows make of it. Gaussian processes are fitted to 300 rows at most, because
their own search takes long. The model ``agop`` is what the AGOP of a random forest of
2000 made-up rows of 50 columns costs.
"""

import numpy as np
from _experiment import TABLE_FLAGS, Experiment, timed
from _report import format_table, grouped, number
from _tables import splits
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
)
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR

from skrfm import RecursiveFeatures
from skrfm.inspection import agop

MAX_TEST, MAX_COLUMNS = 3000, 60
GP_ROWS = 300
# a length scale of five is about the distance of rows of ten standardised columns
_RADIAL = ConstantKernel(1.0) * RBF(5.0)
MODELS = {
    "neighbours": {
        "reg": KNeighborsRegressor(10, weights="distance"),
        "clf": KNeighborsClassifier(10, weights="distance"),
    },
    "support vectors": {"reg": SVR(C=10), "clf": SVC(C=10)},
    "random forest": {
        "reg": RandomForestRegressor(50, random_state=0),
        "clf": RandomForestClassifier(50, random_state=0),
    },
    "gaussian process": {
        "reg": GaussianProcessRegressor(_RADIAL + WhiteKernel(0.1), normalize_y=True),
        "clf": GaussianProcessClassifier(4 * _RADIAL, optimizer=None),
    },
}
FIGURES = "score", "wrapped_score", "gain", "error"
AGOP = "agop"
AGOP_SHAPE = 2000, 50


def measure(split, name):
    """Return the scores alone and wrapped, the gain and its error, and the costs."""
    table = split.table
    if table.X_train.shape[1] > MAX_COLUMNS:
        return None
    estimator = MODELS[name][table.task]
    rows = slice(GP_ROWS if name == "gaussian process" else None)
    X, y = table.X_train[rows].astype(np.float64), table.y_train[rows]
    alone, cost = timed(clone(estimator).fit, X, y)
    wrapped, wrapped_cost = timed(
        RecursiveFeatures(estimator, random_state=0).fit, X, y
    )
    losses = [losses_of(model, table) for model in (alone, wrapped)]
    gains = losses[0] - losses[1]
    return {
        "task": table.task,
        "n_train": len(X),
        "n_features": X.shape[1],
        "score": 1 - losses[0].mean(),
        "wrapped_score": 1 - losses[1].mean(),
        "gain": gains.mean(),
        "gain_error": gains.std() / len(gains) ** 0.5,
        "best_iter": wrapped.best_iter_,
        "metric_type": wrapped.metric_type_,
        "cpu_seconds": cost.cpu_seconds,
        "wrapped_cpu_seconds": wrapped_cost.cpu_seconds,
    }


def losses_of(model, table):
    """Return losses of test rows, whose mean is 1 − R² or 1 − accuracy."""
    X, y = table.X_test[:MAX_TEST].astype(np.float64), table.y_test[:MAX_TEST]
    predicted = model.predict(X)
    if table.task == "clf":
        return (predicted != y).astype(float)
    return (predicted - y) ** 2 / y.var()


def agop_costs():
    """Return what the AGOP of a random forest costs, over all rows and a sample."""
    X, y = make_friedman1(*AGOP_SHAPE, random_state=0)
    forest = RandomForestRegressor(random_state=0).fit(X, y)
    figures = {"task": AGOP, "n_train": len(X), "n_features": X.shape[1]}
    for name, most in {"cpu_seconds": 1000, "all_cpu_seconds": None}.items():
        G, cost = timed(agop, forest, X, max_samples=most, random_state=0)
        figures[name] = cost.cpu_seconds
    # of the five columns that count
    return figures | {"score": float(np.diag(G)[:5].sum() / np.trace(G))}


def run(args, records):
    """Measure each model on each fold of each table."""
    if AGOP in args.models:
        key = {"table": "friedman1", "model": AGOP, "fold": 0, "rows": AGOP_SHAPE[0]}
        records.once(key, agop_costs)
    # one fold after the other, so that a run that is stopped has all tables
    every = sorted(splits(args, args.rows), key=lambda split: split.fold)
    for split in every:
        for name in MODELS:
            if name in args.models:
                key = {"table": split.name, "model": name, "fold": split.fold}
                records.once(key | {"rows": args.rows}, measure, split, name)


def of_table(rows):
    """Return the means over the folds of a table, and the error of the gain."""
    found = {
        name: np.mean([number(row, name) for row in rows])
        for name in ("score", "wrapped_score", "gain")
    }
    gains, errors = (
        np.array([number(row, name) for row in rows]) for name in ("gain", "gain_error")
    )
    spread = gains.std(ddof=1) if len(gains) > 1 else 0.0
    found["error"] = max(spread, np.sqrt((errors**2).mean())) / len(rows) ** 0.5
    found["folds"] = len(rows)
    found["rounds"] = ", ".join(
        f"{row['best_iter']} {row['metric_type']}" for row in rows
    )
    return found


def report(rows, args):
    """Print the gains of each model on each table, then the means of the models."""
    costs = [row for row in rows if row["model"] == AGOP]
    rows = [
        row for row in rows if row["model"] != AGOP and int(row["rows"]) == args.rows
    ]
    summary = []
    for (model, task), of_model in grouped(rows, "model", "task").items():
        tables = {
            table: of_table(folds)
            for table, folds in sorted(grouped(of_model, "table").items())
        }
        lines = [
            [
                table,
                found["folds"],
                *(float(found[name]) for name in FIGURES),
                float(found["gain"] / max(found["error"], 1e-12)),
                found["rounds"],
            ]
            for table, found in tables.items()
        ]
        print(f"\n{model}, {'R²' if task == 'reg' else 'accuracy'}\n")
        names = "alone", "wrapped", "gain", "error", "gain / error", "rounds"
        print(format_table(["table", "folds", *names], lines))
        summary.append(summary_of(model, task, tables.values(), of_model))
    if summary:
        print("\nMeans over tables; better and worse are by more than two errors\n")
        header = "tables", "alone", "wrapped", "gain", "error", "better", "worse"
        seconds = "CPU seconds alone", "wrapped"
        print(format_table(["model", "task", *header, *seconds], summary))
    for row in costs:
        print(
            f"\nAGOP of a forest of {row['n_train']} x {row['n_features']}: "
            f"{number(row, 'cpu_seconds'):.1f} CPU seconds over 1000 rows, "
            f"{number(row, 'all_cpu_seconds'):.1f} over all; share of the five columns "
            f"that count {number(row, 'score'):.2f}"
        )


def summary_of(model, task, tables, rows):
    """Return the line of means of a model on the tables of a task."""
    score, wrapped, gain, error = (
        np.array([found[name] for found in tables]) for name in FIGURES
    )
    seconds = (
        sum(number(row, name) for row in rows)
        for name in ("cpu_seconds", "wrapped_cpu_seconds")
    )
    return [
        model,
        task,
        len(error),
        score.mean(),
        wrapped.mean(),
        gain.mean(),
        float(np.sqrt((error**2).sum()) / len(error)),
        int((gain > 2 * error).sum()),
        int((gain < -2 * error).sum()),
        *seconds,
    ]


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "rows", "fold"),
    figures=(
        "task",
        "n_train",
        "n_features",
        "score",
        "wrapped_score",
        "gain",
        "gain_error",
        "best_iter",
        "metric_type",
        "cpu_seconds",
        "wrapped_cpu_seconds",
        "all_cpu_seconds",
    ),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"folds": 3, "rows": 2000},
    choices={"models": (*MODELS, AGOP)},
    out="features.csv",
    ignored=ConvergenceWarning,
)

if __name__ == "__main__":
    EXPERIMENT.main()
