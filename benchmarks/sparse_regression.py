"""Sparse regression with noise: LinRFMRegressor at its defaults beside LassoCV.

    python benchmarks/sparse_regression.py [--seeds 3]

Eight kinds of made-up tables and the diabetes table: mean squared error of predictions
(without the noise, where it is known), columns kept, and costs. "loo" chooses the
penalty by approximate leave-one-out in place of folds.
"""

import numpy as np
from _experiment import Experiment, timed
from _report import format_table, grouped, mean_of
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LassoCV

from skrfm import LinRFMRegressor

# rows, columns, true columns, noise, correlation of neighbouring columns
TABLES = [
    (100, 1000, 10, 0.5, 0.0),
    (100, 200, 5, 1.0, 0.0),
    (200, 50, 5, 1.0, 0.0),
    (500, 100, 20, 2.0, 0.5),
    (100, 300, 10, 0.5, 0.7),
    (60, 200, 2, 0.1, 0.0),
    (200, 50, 50, 1.0, 0.0),
    (100, 1000, 10, 0.05, 0.5),
]
MODELS = {
    "LinRFM": lambda: LinRFMRegressor(random_state=0),
    "LinRFM, loo": lambda: LinRFMRegressor(validation="loo"),
    "LinRFM, power 1/4": lambda: LinRFMRegressor(power=0.25, random_state=0),
    "LassoCV": lambda: LassoCV(cv=5, random_state=0),
}


def made_up(n, d, n_true, *, noise, correlation, seed, n_test=2000):
    """Return training rows and targets, test rows and targets without noise."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n + n_test, d))
    for j in range(1, d if correlation else 0):
        fresh = np.sqrt(1 - correlation**2) * Z[:, j]
        Z[:, j] = correlation * Z[:, j - 1] + fresh
    w = np.zeros(d)
    w[rng.choice(d, n_true, replace=False)] = rng.standard_normal(n_true)
    y = Z @ w
    return Z[:n], y[:n] + noise * rng.standard_normal(n), Z[n:], y[n:]


def diabetes(seed):
    """Return 300 rows for training and the others for testing."""
    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    X, y = X[order], y[order]
    return X[:300], y[:300], X[300:], y[300:]


def make_draws(seeds):
    """Yield (name of a table, seed, its draw): rows and targets to fit and to test."""
    for n, d, n_true, noise, correlation in TABLES:
        name = f"{n} x {d}, {n_true} true, noise {noise:g}, corr. {correlation:g}"
        for seed in range(seeds):
            draw = made_up(
                n, d, n_true, noise=noise, correlation=correlation, seed=seed
            )
            yield name, seed, draw
    for seed in range(seeds):
        yield "diabetes, 300 x 10", seed, diabetes(seed)


def measure(name, X, y, X_test, y_test):
    """Return the mean squared error, the number of columns kept, and the costs."""
    model = MODELS[name]()
    _, cost = timed(model.fit, X, y)
    return {
        "error": float(np.mean((model.predict(X_test) - y_test) ** 2)),
        "columns": float(np.count_nonzero(model.coef_)),
        **cost.figures(),
    }


def run(args, records):
    """Measure each model on each draw."""
    for table, seed, draw in make_draws(args.seeds):
        for model in args.models:
            key = {"table": table, "model": model, "seed": seed}
            records.once(key, measure, model, *draw)


def report(rows, args):
    """Print the means of the draws."""
    lines = [
        [table, model, *(mean_of(group, figure) for figure in EXPERIMENT.figures)]
        for (table, model), group in grouped(rows, "table", "model").items()
    ]
    header = ["table", "model", "error", "columns", "seconds", "CPU seconds"]
    print("\n" + format_table(header, lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "seed"),
    figures=("error", "columns", "seconds", "cpu_seconds"),
    run=run,
    report=report,
    flags={"seeds": 3},
    choices={"models": MODELS},
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
