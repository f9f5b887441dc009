"""Classifiers that infinitely wide and deep networks become, beside other models.

    python benchmarks/depth.py --data DIR [--cases network sphere tables] [--report]

``network``: the share of test digits that the kernel machine of a network of a depth
predicts as its limit does, SingularKernelClassifier. ``sphere``: classes of Dirichlet
densities on spheres of dimension d, where the exponent d is optimal, by the number of
training rows, beside the best possible accuracy. ``tables``: accuracy and log-loss on
eleven of the UCI sets (two of their folds), ``DIR/uci121/*.npz``, and on the halves of
the digits, with the exponent of the dimension or by leave-one-out, plain, on the sphere
and in the metric of an RFM, beside nearest neighbours and that RFM.
"""

from pathlib import Path

import numpy as np
from _experiment import COSTS, Experiment, timed
from _report import (
    fold_means,
    format_table,
    grouped,
    mean_of,
    mean_ranks,
    print_costs,
    with_mean,
)
from scipy.stats import dirichlet
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrfm import RFMClassifier, SingularKernelClassifier
from skrfm.kernels import singular_activation

# -- networks and their limits --------------------------------------------------------

DEPTHS = (1, 2, 5, 10, 20)
EXPONENTS = (4, 12)


def unit_digits():
    """Return the digits on the unit sphere, shuffled, and their labels."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def agreement(exponent, depth):
    """Return the share of test digits that network and limit predict alike."""
    X, y = unit_digits()
    K, cross = X[:900] @ X[:900].T, X[900:] @ X[:900].T
    np.fill_diagonal(K, 1)
    activation, one = singular_activation(exponent), np.ones(1)
    for _ in range(depth):
        K, cross = (activation.value(cos, one, one, np) for cos in (K, cross))
    scores = cross @ np.linalg.solve(K, np.eye(10)[y[:900]])
    limit = SingularKernelClassifier(exponent=exponent, scaling=None)
    predicted = limit.fit(X[:900], y[:900]).predict(X[900:])
    return float(np.mean(scores.argmax(axis=1) == predicted))


def run_networks(records):
    """Measure the agreement at each depth."""
    for exponent in EXPONENTS:
        for depth in DEPTHS:
            key = {"case": "network", "table": f"depth {depth}", "fold": 0}
            key["model"] = f"exponent {exponent}"
            if not records.has(key):
                score, cost = timed(agreement, exponent, depth)
                records.add(key, {"score": score, **cost.figures()})


# -- classes on spheres ---------------------------------------------------------------

DIMENSIONS = (1, 2, 4, 8)
SPHERE_ROWS = (1000, 4000, 16_000)
SPHERE_TEST = 4000


def sphere_classes(dimension, n_rows, seed):
    """Return rows on the positive part of a sphere, classes and their densities.

    The squares of the coordinates of a class have a Dirichlet distribution.
    """
    rng = np.random.default_rng([seed, dimension])
    parameters = rng.uniform(1, 10, size=(3, dimension + 1))
    y = rng.integers(0, 3, size=n_rows)
    squares = np.vstack([rng.dirichlet(parameters[label]) for label in y])
    squares = np.maximum(squares, 1e-12)
    squares /= squares.sum(axis=1, keepdims=True)
    densities = [dirichlet.pdf(squares.T, parameter) for parameter in parameters]
    return np.sqrt(squares), y, np.column_stack(densities)


def run_spheres(records):
    """Measure the optimal exponent, the nearest neighbour and the best possible."""
    most = max(SPHERE_ROWS)
    for dimension in DIMENSIONS:
        X, y, densities = sphere_classes(dimension, most + SPHERE_TEST, 0)
        X_test, y_test = X[most:], y[most:]
        best = float(np.mean(densities[most:].argmax(axis=1) == y_test))
        for n in SPHERE_ROWS:
            key = {"case": "sphere", "table": f"d = {dimension}, {n} rows", "fold": 0}
            for model, exponent in {"a = d": dimension, "1-NN": np.inf}.items():
                if not records.has(key | {"model": model}):
                    one = SingularKernelClassifier(exponent=exponent, scaling=None)
                    one.fit(X[:n], y[:n])
                    score, cost = timed(one.score, X_test, y_test)
                    figures = {"score": float(score), **cost.figures()}
                    records.add(key | {"model": model}, figures)
            records.once(key | {"model": "Bayes"}, lambda best=best: {"score": best})


# -- tables ---------------------------------------------------------------------------

TABLES = (
    "balance-scale",
    "breast-cancer-wisc-diag",
    "conn-bench-vowel-deterding",
    "ecoli",
    "heart-cleveland",
    "libras",
    "musk-1",
    "oocytes_merluccius_nucleus_4d",
    "parkinsons",
    "synthetic-control",
    "yeast",
)
RFM = "RFM"


def neighbours(n_rows):
    """Return nearest neighbours of scaled rows, their number chosen in five folds."""
    numbers = [k for k in (1, 2, 3, 5, 8, 12, 20, 30, 50) if k < 0.7 * n_rows]
    grid = {"kneighborsclassifier__n_neighbors": numbers}
    return GridSearchCV(make_pipeline(StandardScaler(), KNeighborsClassifier()), grid)


def singular(**params):
    """Return the function of the machine and the rows that makes a model."""
    return lambda rfm, n_rows: SingularKernelClassifier(**params)


MODELS = {
    "1-NN": singular(exponent=np.inf),
    "a = d": singular(exponent="dimension"),
    "LOO accuracy": singular(scoring="accuracy"),
    "LOO log-loss": singular(),
    "sphere, a = d": singular(exponent="dimension", normalize=True),
    "sphere, LOO": singular(normalize=True),
    "metric, LOO": lambda rfm, n_rows: SingularKernelClassifier(metric=rfm),
    "metric, 1-NN": lambda rfm, n_rows: SingularKernelClassifier(
        metric=rfm, exponent=np.inf
    ),
    "k-NN by CV": lambda rfm, n_rows: neighbours(n_rows),
    RFM: lambda rfm, n_rows: rfm,
}


def splits_of(name, data):
    """Yield the training and test rows of two folds: X, y, X_test, y_test."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        half = np.random.default_rng(0).permutation(len(y)) < len(y) // 2
        for train in (half, ~half):
            yield X[train], y[train], X[~train], y[~train]
        return
    path = Path(data) / "uci121" / f"{name}.npz"
    with np.load(path, allow_pickle=False) as file:
        X, y = file["X"].astype(float), file["y"]
        for fold in range(2):
            train, test = file[f"kfold_train_{fold}"], file[f"kfold_test_{fold}"]
            yield X[train], y[train], X[test], y[test]


def log_loss(model, X, y):
    """Return the log-loss of probabilities of at least 0.001."""
    proba = np.clip(model.predict_proba(X), 1e-3, 1)
    columns = np.searchsorted(model.classes_, y).clip(max=proba.shape[1] - 1)
    known = model.classes_[columns] == y
    return -np.mean(np.where(known, np.log(proba[np.arange(len(y)), columns]), -6.9))


def run_tables(args, records):
    """Fit each model to each split; the metric is that of the RFM of the split."""
    for table in (*TABLES, "digits"):
        for fold, (X, y, X_test, y_test) in enumerate(splits_of(table, args.data)):
            key = {"case": "tables", "table": table, "fold": fold}
            if records.has(key | {"model": RFM}):  # it is written last
                continue
            rfm = RFMClassifier(kernel="laplace", validation="cv", cv=3, random_state=0)
            _, rfm_cost = timed(rfm.fit, X, y)
            for name, make in MODELS.items():
                model = make(rfm, len(y))
                cost = rfm_cost
                if model is not rfm:
                    _, cost = timed(model.fit, X, y)
                figures = {
                    "score": float(model.score(X_test, y_test)),
                    "log_loss": float(log_loss(model, X_test, y_test)),
                    "exponent": getattr(model, "exponent_", ""),
                }
                records.add(key | {"model": name}, figures | cost.figures())


# -- figures --------------------------------------------------------------------------


def run(args, records):
    """Measure the cases."""
    if "network" in args.cases:
        run_networks(records)
    if "sphere" in args.cases:
        run_spheres(records)
    if "tables" in args.cases:
        run_tables(args, records)


def report(rows, args):
    """Print a table for each case."""
    for case, mine in grouped(rows, "case").items():
        models = list(grouped(mine, "model"))
        means = fold_means(mine, "score")
        lines = [[t, *(s.get(model) for model in models)] for t, s in means.items()]
        shown = {"network": "agreement"}.get(case, "accuracy")
        print(f"\n{case}: {shown}")
        if case != "tables":
            print(format_table(["", *models], lines))
            continue
        print(format_table(["", *models], with_mean(lines)))
        losses = fold_means(mine, "log_loss")
        summary = [
            ["mean rank", *mean_ranks([line[1:] for line in lines])],
            [
                "mean log-loss",
                *with_mean(
                    [[t, *(s[model] for model in models)] for t, s in losses.items()]
                )[-1][1:],
            ],
        ]
        chosen = [row for row in mine if row["exponent"] not in ("", "inf")]
        by_model = grouped(chosen, "model")
        summary.append(
            ["median exponent"]
            + [mean_of(by_model.get(m, []), "exponent", np.median) for m in models]
        )
        print("\n" + format_table(["", *models], summary))
        print_costs(mine)


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "table", "model", "fold"),
    figures=("score", "log_loss", "exponent", *COSTS),
    run=run,
    report=report,
    choices={"cases": ("network", "sphere", "tables")},
    out="depth.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
