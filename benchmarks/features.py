"""Estimators alone, and on features that RecursiveFeatures learns from their gradients.

    python benchmarks/features.py --data DIR --half reporting
    python benchmarks/features.py --report

Nearest neighbours, support vectors, Gaussian processes and random forests at fixed
parameters, on the encoded tables with at most 60 columns; RecursiveFeatures at its
defaults. Scores are R² or accuracy on at most 3000 test rows. The error of a gain is
the standard error of the mean difference of the losses of test rows. Gaussian processes
are fitted to 300 rows at most, because their own search takes long.
"""

import numpy as np
from _experiment import TABLE_FLAGS, Experiment, timed
from _report import format_table, grouped, number
from _tables import splits
from sklearn.base import clone
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


def run(args, records):
    """Measure each model on each table."""
    for name in args.models:
        for split in splits(args, args.rows):
            key = {"table": split.name, "model": name, "rows": args.rows}
            records.once(key, measure, split, name)


def report(rows, args):
    """Print the gains of each model on each table, then the means of the models."""
    rows = [row for row in rows if int(row["rows"]) == args.rows]
    summary = []
    for (model, task), of_model in grouped(rows, "model", "task").items():
        lines = [
            [
                row["table"],
                *(number(row, name) for name in ("score", "wrapped_score", "gain")),
                number(row, "gain_error"),
                number(row, "gain") / max(number(row, "gain_error"), 1e-12),
                f"{row['best_iter']} {row['metric_type']}",
            ]
            for row in sorted(of_model, key=lambda row: row["table"])
        ]
        print(f"\n{model}, {'R²' if task == 'reg' else 'accuracy'}\n")
        names = "alone", "wrapped", "gain", "error", "gain / error", "rounds"
        print(format_table(["table", *names], lines))
        summary.append(summary_of(model, task, of_model))
    print("\nMeans over tables; better and worse are by more than two errors\n")
    header = "tables", "alone", "wrapped", "gain", "error", "better", "worse"
    costs = "CPU seconds alone", "wrapped"
    print(format_table(["model", "task", *header, *costs], summary))


def summary_of(model, task, rows):
    """Return the line of means of a model on the tables of a task."""
    names = "score", "wrapped_score", "gain", "gain_error"
    score, wrapped, gain, error = (
        np.array([number(row, name) for row in rows]) for name in names
    )
    seconds = (
        sum(number(row, name) for row in rows)
        for name in ("cpu_seconds", "wrapped_cpu_seconds")
    )
    return [
        model,
        task,
        len(rows),
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
    key=("table", "model", "rows"),
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
    ),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"rows": 2000},
    choices={"models": MODELS},
    out="features.csv",
    ignored=ConvergenceWarning,
)

if __name__ == "__main__":
    EXPERIMENT.main()
