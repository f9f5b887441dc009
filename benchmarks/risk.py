"""Errors of kernel machines that are predicted from few labelled rows, and measured.

    python benchmarks/risk.py --data DIR [--cases kernel more labels] [--report]

``kernel``: the error of kernel ridge regression (Laplace kernel, the median distance as
bandwidth) on 5 to 80 % of so many rows as the prediction is made from, at six ridges:
predicted by kernel_risk, by its formula without the leave-one-out correction, and by
the published formula for infinitely many rows, beside the mean of eight fits to other
rows; the standard error of the prediction, as a share of it, and the share of the
measured errors within two standard errors. ``features``: random Fourier features of a
Gaussian kernel, 100 rows. ``more``: the error of 8000 rows, extrapolated from 2000.
``labels``: how well label_noise_scores finds labels that were replaced by others: area
under the ROC curve, and the precision of as many labels as were replaced.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from _experiment import Experiment
from _report import format_table, grouped
from _tables import find_tables, load_table
from scipy.linalg import cho_factor, cho_solve, eigh
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from skrfm.inspection import kernel_risk, label_noise_scores, ridge_risk
from skrfm.kernels import Gaussian, Laplace

DRAWS = 8
ALPHAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
MAX_TEST = 2000


# -- rows -----------------------------------------------------------------------------


@lru_cache(maxsize=1)
def rows_of(table, data):
    """Return shuffled standardised rows, and targets (n, c) of variance 1 at most."""
    if table == "digits":
        X, y = load_digits(return_X_y=True)
        X, Y = StandardScaler().fit_transform(X), np.eye(10)[y]
    else:
        found = load_table(table, find_tables(data)[table], max_train=20_000)
        X = np.vstack([found.X_train, found.X_test]).astype(float)
        Y = np.concatenate([found.y_train, found.y_test])[:, None]
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], Y[order]


def median_distance(X):
    """Return the median distance of at most 500 rows."""
    X = X[:500]
    squares = ((X[:, None, :] - X) ** 2).sum(axis=2)
    return float(np.sqrt(np.median(squares[np.tri(len(X), k=-1) > 0])))


def errors_of_rows(K, cross, Y, Y_test, alphas):
    """Return the test errors of kernel ridge regression, summed over the outputs."""
    mean = Y.mean(axis=0)
    values, vectors = eigh(K)
    coefficients = vectors.T @ (Y - mean)
    projected = cross @ vectors
    found = []
    for alpha in alphas:
        outputs = mean + projected @ (coefficients / (values + alpha)[:, None])
        found.append(((outputs - Y_test) ** 2).sum(axis=1).mean())
    return np.array(found)


# -- kernel machines ------------------------------------------------------------------

POOLS = {
    "digits": 600,
    "space_ga": 1000,
    "wind": 1000,
    "elevators": 1000,
    "miami_housing": 1000,
    "cpu_act": 1000,
}


def kernel_figures(table, data):
    """Yield n, ridge and the figures of a table."""
    X, Y = rows_of(table, data)
    n_pool = POOLS[table]
    length = median_distance(X[:n_pool])
    sizes = [int(share * n_pool) for share in SHARES]
    risk = kernel_risk(
        Laplace(),
        X[:n_pool],
        Y[:n_pool],
        train_sizes=sizes,
        alphas=ALPHAS,
        bandwidth=length,
    )
    others = slice(n_pool, n_pool + MAX_TEST + max(sizes))
    X, Y = X[others], Y[others]
    K = Laplace().kernel_matrix(X, bandwidth=length)
    rng = np.random.default_rng(1)
    for i, n in enumerate(sizes):
        errors = []
        for _ in range(DRAWS):
            order = rng.permutation(len(X))
            train, test = order[:n], order[n:]
            parts = K[np.ix_(train, train)], K[np.ix_(test, train)], Y[train], Y[test]
            errors.append(errors_of_rows(*parts, ALPHAS))
        measured = np.mean(errors, axis=0)
        scatter = np.std(errors, axis=0, ddof=1) / measured
        spectrum = risk._pool.spectrum
        published = ridge_risk(spectrum.values, spectrum.power, n, ALPHAS)
        pool = risk.predict(n, ALPHAS, corrected=False)
        for j, alpha in enumerate(ALPHAS):
            yield (
                n,
                alpha,
                {
                    "measured": measured[j],
                    "scatter": scatter[j],
                    "published": published[j],
                    "pool": pool[j],
                    "predicted": risk.risk[i, j],
                    "standard error": risk.standard_error[i, j],
                },
            )


# -- random features ------------------------------------------------------------------

FEATURE_TABLES = ("digits", "wind")
FEATURES = (25, 50, 75, 90, 100, 110, 150, 200, 400, 800, 1600)
FEATURE_ROWS = 100


def feature_figures(table, data):
    """Yield the number of random features, ridge and the figures of a table."""
    X, Y = rows_of(table, data)
    n_pool = POOLS[table]
    length = median_distance(X[:n_pool])
    risk = kernel_risk(
        Gaussian(), X[:n_pool], Y[:n_pool], train_sizes=[100], bandwidth=length
    )
    X, Y = X[n_pool : n_pool + 1100], Y[n_pool : n_pool + 1100]
    alphas, rng = (1e-3, 0.1), np.random.default_rng(2)
    for m in FEATURES:
        errors = []
        for _ in range(2 * DRAWS):
            angles = X @ rng.normal(size=(X.shape[1], m)) / length
            Z = np.sqrt(2 / m) * np.cos(angles + rng.uniform(0, 2 * np.pi, size=m))
            order = rng.permutation(len(X))
            train, test = order[:FEATURE_ROWS], order[FEATURE_ROWS:]
            K, cross = Z[train] @ Z[train].T, Z[test] @ Z[train].T
            errors.append(errors_of_rows(K, cross, Y[train], Y[test], alphas))
        predicted = risk.predict(FEATURE_ROWS, alphas, n_features=m)
        for j, alpha in enumerate(alphas):
            measured = np.mean(errors, axis=0)[j]
            yield m, alpha, {"measured": measured, "predicted": predicted[j]}


# -- more rows ------------------------------------------------------------------------

MORE_TABLES = ("elevators", "houses", "uciR_protein", "uciR_kin40k")
MORE_POOL, MORE_ROWS = 2000, 8000


def more_figures(table, data):
    """Yield the number of rows, ridge and the figures of a table."""
    X, Y = rows_of(table, data)
    length = median_distance(X[:MORE_POOL])
    risk = kernel_risk(
        Laplace(),
        X[:MORE_POOL],
        Y[:MORE_POOL],
        train_sizes=[MORE_POOL // 2],
        bandwidth=length,
    )
    train, test = slice(MORE_POOL, MORE_POOL + MORE_ROWS), slice(-MAX_TEST, None)
    K = Laplace().kernel_matrix(X[train], bandwidth=length)
    cross = Laplace().kernel_matrix(X[test], X[train], bandwidth=length)
    errors = []
    for factor in (1, 10):  # the ridge that is best for few rows, and a larger one
        alpha = risk.best_alpha[0] * factor
        factors = cho_factor(K + alpha * np.eye(MORE_ROWS), lower=True)
        mean = Y[train].mean(axis=0)
        outputs = mean + cross @ cho_solve(factors, Y[train] - mean)
        errors.append(float(((outputs - Y[test]) ** 2).mean()))
    yield (
        MORE_ROWS,
        risk.best_alpha[0],
        {
            "measured": min(errors),
            "predicted": risk.extrapolate(MORE_ROWS),
            "at half": risk.best_risk[0],
        },
    )


# -- wrong labels ---------------------------------------------------------------------

LABEL_TABLES = ("digits", "pendigits", "cardiotocography-3clases")
LABEL_ROWS = 1200


def label_figures(table, data):
    """Yield the number of rows, the share of wrong labels and the figures."""
    if table == "digits":
        X, y = load_digits(return_X_y=True)
    else:
        path = Path(data) / "uci121" / f"{table}.npz"
        with np.load(path, allow_pickle=False) as file:
            X, y = file["X"].astype(float), file["y"]
        X = StandardScaler().fit_transform(X)
    rng = np.random.default_rng(3)
    order = rng.permutation(len(y))[:LABEL_ROWS]
    X, y = X[order], np.unique(y[order], return_inverse=True)[1]
    n_classes = y.max() + 1
    for share in (0.2, 0.4):
        wrong = rng.random(len(y)) < share
        others = (y + rng.integers(1, n_classes, size=len(y))) % n_classes
        scores = label_noise_scores("laplace", X, np.where(wrong, others, y))
        flagged = np.argsort(-scores)[: wrong.sum()]
        figures = {"AUC": roc_auc_score(wrong, scores)}
        yield len(y), share, figures | {"precision": wrong[flagged].mean()}


# -- figures --------------------------------------------------------------------------

CASES = {
    "kernel": (POOLS, kernel_figures),
    "features": (FEATURE_TABLES, feature_figures),
    "more": (MORE_TABLES, more_figures),
    "labels": (LABEL_TABLES, label_figures),
}


def run(args, records):
    """Measure the tables of each case."""
    for case in args.cases:
        tables, measure = CASES[case]
        for table in tables:
            done = any(
                row["case"] == case and row["table"] == table for row in records.rows
            )
            for n, alpha, figures in [] if done else list(measure(table, args.data)):
                key = {"case": case, "table": table, "n": n, "alpha": alpha}
                for figure, value in figures.items():
                    records.add(key | {"figure": figure}, {"value": float(value)})


def by_figure(rows):
    """Return ``{figure: array}``, in the same order."""
    return {
        name: np.array([float(row["value"]) for row in group])
        for name, group in grouped(rows, "figure").items()
    }


def report_kernel(rows):
    """Print relative errors, and what the ridge of the prediction costs."""
    lines = []
    for table, mine in grouped(rows, "table").items():
        found = by_figure(mine)
        line = [table]
        for name in ("published", "pool", "predicted"):
            error = np.abs(found[name] / found["measured"] - 1)
            line += [float(np.median(error)), float(error.max())]
        grids = {name: v.reshape(-1, len(ALPHAS)) for name, v in found.items()}
        chosen = grids["pool"].argmin(axis=1)
        measured = grids["measured"]
        loss = measured[np.arange(len(chosen)), chosen] / measured.min(axis=1) - 1
        line += [float(np.median(found["scatter"])), float(loss.max())]
        # of the mean of the draws, and of the pool that the prediction is made from
        measured_error = found["scatter"] * found["measured"] / DRAWS**0.5
        error = np.hypot(measured_error, found["standard error"])
        share = found["standard error"] / found["predicted"]
        off = np.abs(found["predicted"] - found["measured"]) / error
        lines.append([*line, float(np.median(share)), float(np.mean(off <= 2))])
    header = [
        f"{name} {kind}"
        for name in ("published", "pool", "predicted")
        for kind in ("median", "max")
    ]
    header += ["scatter", "ridge loss", "standard error", "within two"]
    print(format_table(["table", *header], lines))


def report_others(case, rows):
    """Print all figures of a case, and relative errors where there are any."""
    names = list(grouped(rows, "figure"))
    lines = []
    for (table, n, alpha), mine in grouped(rows, "table", "n", "alpha").items():
        found = by_figure(mine)
        lines.append([table, n, alpha, *(float(found[name][0]) for name in names)])
    second = {"features": "features", "labels": "rows"}.get(case, "rows")
    third = "wrong" if case == "labels" else "ridge"
    print(format_table(["table", second, third, *names], lines))
    if "predicted" in names:
        for table, mine in grouped(rows, "table").items():
            found = by_figure(mine)
            error = np.abs(found["predicted"] / found["measured"] - 1)
            print(f"{table}: median relative error {np.median(error):.3f}")


def report(rows, args):
    """Print the tables of each case."""
    for case, mine in grouped(rows, "case").items():
        print(f"\n{case}")
        if case == "kernel":
            report_kernel(mine)
        else:
            report_others(case, mine)


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "table", "n", "alpha", "figure"),
    figures=("value",),
    run=run,
    report=report,
    choices={"cases": CASES},
    out="risk.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
