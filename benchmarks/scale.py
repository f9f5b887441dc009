"""XRFMRegressor on up to a million rows, beside gradient boosting and xRFM.

    python benchmarks/scale.py [--rows 10000 30000 ...] [--models XRFM HistGB xRFM]
                               [--leaf 4000] [--folder DIR] [--report]

The table is made up, has 20 columns and local structure, and is written to DIR first:
on the two sides of a hyperplane the target is another function of other columns, plus
noise. R² on 50 000 rows, seconds of fit and prediction, and the peak of memory; each
figure is of a process of its own. Models are at their defaults, but with ``--leaf`` the
leaves of the trees have at most so many rows. ``xRFM`` is the package xrfm, which needs
torch; it tunes how leaves are mixed, and without that, one leaf for each row, it is
``xRFM-hard``. It finds the direction of a split from up to 50 000 rows, which takes
hours; from 4000 it is ``xRFM-quick``. ``HistGB1000`` is boosting of a thousand rounds;
at its defaults it stops early.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from _experiment import (
    FIT_COSTS,
    Experiment,
    count_flag,
    figures_or_none,
    flag,
    peak_memory,
    timed,
)
from _report import format_table, growth, number

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
N_TEST, COLUMNS, NOISE = 50_000, 20, 0.3
# in place of a number of rows: the model's own default
OWN_LEAF = "default"
# rows that xRFM-quick finds directions from
QUICK = 4000


def make_table(n, seed):
    """Return rows and targets: two functions, one on each side of a hyperplane."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, COLUMNS), dtype=np.float32)
    above = np.sin(2 * (X[:, 2] + X[:, 3])) + X[:, 4] * X[:, 5]
    below = np.cos(1.5 * (X[:, 6] - X[:, 7])) + np.tanh(X[:, 8] + X[:, 9])
    y = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, above, below) + 0.5 * X[:, 1]
    y += NOISE * rng.standard_normal(n, dtype=np.float32)
    return X, y.astype(np.float32)


def write_tables(folder, sizes):
    """Write the largest table, whose first rows are the others, and a test table."""
    for name, n, seed in (("train", max(sizes), 0), ("test", N_TEST, 1)):
        X, y = make_table(n, seed)
        np.save(folder / f"{name}_X.npy", X)
        np.save(folder / f"{name}_y.npy", y)


def read(folder, name, n=None):
    """Return the first rows of a table, as they are on the disk."""
    parts = (np.load(folder / f"{name}_{k}.npy", mmap_mode="r") for k in "Xy")
    return tuple(part[:n] for part in parts)


class Peer:
    """The package xrfm with the interface used here; it needs validation rows."""

    def __init__(self, leaf, variant):
        self.leaf, self.variant = leaf, variant

    def fit(self, X, y):
        """Fit to four fifths of the rows, and choose on the others."""
        import torch
        from xrfm import xRFM

        torch.set_num_threads(2)
        cut = len(X) * 4 // 5
        self.model = xRFM(
            device="cpu",
            **leaf_size(self.leaf),
            tuning_metric="mse",
            use_temperature_tuning=self.variant != "hard",
            verbose=False,
        )
        if self.variant == "quick":
            directions = self.model._get_agop_on_subset
            self.model._get_agop_on_subset = partial(directions, subset_size=QUICK)
        X, y = np.array(X), np.array(y)[:, None]
        self.model.fit(X[:cut], y[:cut], X[cut:], y[cut:])
        return self

    def predict(self, X):
        """Predict the targets."""
        return np.asarray(self.model.predict(np.array(X))).reshape(len(X))


def leaf_size(leaf):
    """Return the argument that limits leaves, empty for a model's own default."""
    return {} if leaf == OWN_LEAF else {"max_leaf_size": leaf}


def make_model(name, leaf):
    """Return a model at its defaults, with leaves of a size, or boosting in full."""
    if name.startswith("xRFM"):
        return Peer(leaf, variant=name.partition("-")[2])
    if name.startswith("HistGB"):
        from sklearn.ensemble import HistGradientBoostingRegressor

        longer = {"max_iter": 1000, "early_stopping": False}
        settings = longer if name == "HistGB1000" else {}
        return HistGradientBoostingRegressor(random_state=0, **settings)
    from skrfm import XRFMRegressor

    return XRFMRegressor(**leaf_size(leaf), random_state=0)


def measure(folder, name, n, leaf):
    """Return the score, the costs and the memory of one model in this process."""
    model, folder = make_model(name, leaf), Path(folder)
    _, fit_cost = timed(model.fit, *read(folder, "train", n))
    X, y = read(folder, "test")
    predicted, cost = timed(model.predict, X)
    return {
        "r2": float(1 - np.mean((predicted - y) ** 2) / np.var(y)),
        **fit_cost.figures("fit_"),
        **cost.figures("predict_"),
        "gigabytes": peak_memory() / 2**30,
    }


def run(args, records):
    """Write the tables, and measure each model at each size in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(args.folder or folder)
        write_tables(folder, [*SIZES, *args.rows])
        for n in args.rows:
            for model in args.models:
                key = {"model": model, "n": n, "leaf": args.leaf}
                name, given = f"{model} at {n} rows", (str(folder), model, n, args.leaf)
                records.once(key, figures_or_none, name, measure, *given)


def report(rows, args):
    """Print all figures, and how seconds grow with the rows."""
    lines, curves = [], {}
    for row in sorted(rows, key=lambda row: (int(row["n"]), row["model"])):
        n, figures = int(row["n"]), [number(row, name) for name in FIGURES]
        lines.append([row["model"], n, row["leaf"], *figures])
        curve = curves.setdefault((row["model"], row["leaf"]), [])
        curve.append((n, number(row, "fit_seconds")))
    print(format_table(["model", "n", "leaf", *FIGURES], lines))
    for (model, leaf), points in curves.items():
        if len(points) > 1:
            exponent = growth(*zip(*points, strict=True))
            print(f"{model}, leaf {leaf}: seconds grow as n to the {exponent:.2f}")


FIGURES = ("r2", *FIT_COSTS, "gigabytes")
MODELS = ("XRFM", "HistGB", "HistGB1000", "xRFM", "xRFM-hard", "xRFM-quick")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("model", "n", "leaf"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"rows": SIZES, "models": ("XRFM", "HistGB")},
    choices={"models": MODELS},
    own_flags=[
        count_flag(
            "leaf", OWN_LEAF, "rows of a leaf at most (default: the model's own)"
        ),
        flag("folder", metavar="DIR", help="where the tables are written"),
    ],
    out="scale.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
