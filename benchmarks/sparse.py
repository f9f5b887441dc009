"""Sparse regression with noise: LinRFMRegressor at its defaults beside LassoCV.

    python benchmarks/sparse.py [--seeds 3]

Eight kinds of made-up tables and the diabetes table: mean squared error of predictions
(without the noise, where it is known), columns kept, and seconds. ``loo`` chooses the
penalty by approximate leave-one-out in place of folds.
"""

import argparse
from time import perf_counter

import numpy as np
from _records import format_table
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


def made_up(n, d, count, noise, correlation, seed, n_test=2000):
    """Return training rows and targets, test rows and targets without noise."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n + n_test, d))
    for j in range(1, d if correlation else 0):
        fresh = np.sqrt(1 - correlation**2) * Z[:, j]
        Z[:, j] = correlation * Z[:, j - 1] + fresh
    w = np.zeros(d)
    w[rng.choice(d, count, replace=False)] = rng.standard_normal(count)
    y = Z @ w
    return Z[:n], y[:n] + noise * rng.standard_normal(n), Z[n:], y[n:]


def diabetes(seed):
    """Return 300 rows for training and the others for testing."""
    X, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    X, y = X[order], y[order]
    return X[:300], y[:300], X[300:], y[300:]


def measure(make, X, y, X_test, y_test):
    """Return (mean squared error, columns kept, seconds)."""
    start = perf_counter()
    model = make().fit(X, y)
    seconds = perf_counter() - start
    error = np.mean((model.predict(X_test) - y_test) ** 2)
    return error, np.count_nonzero(model.coef_), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    tables = {
        f"{n} x {d}, {k} true, noise {s:g}, corr. {r:g}": [
            made_up(n, d, k, s, r, seed) for seed in seeds
        ]
        for n, d, k, s, r in TABLES
    }
    tables["diabetes, 300 x 10"] = [diabetes(seed) for seed in seeds]
    lines = []
    for name, draws in tables.items():
        for model, make in MODELS.items():
            figures = np.mean([measure(make, *draw) for draw in draws], axis=0)
            lines.append([name, model, *figures.tolist()])
    print(format_table(["table", "model", "error", "columns", "seconds"], lines))


if __name__ == "__main__":
    main()
