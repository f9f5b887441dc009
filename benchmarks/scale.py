"""XRFMRegressor on up to a million rows, beside gradient boosting and xRFM.

    python benchmarks/scale.py [--sizes 10000 30000 ...] [--models XRFM HistGB xRFM]
                               [--folder DIR] [--report]

The table is made up, has 20 columns and local structure, and is written to DIR first:
on the two sides of a hyperplane the target is another function of other columns, plus
noise. R² on 50 000 rows, seconds of fit and prediction, and the peak of memory; each
figure is of a process of its own. ``xRFM`` is the package xrfm, which needs torch, with
leaves of the same size; it tunes how leaves are mixed, and without that, one leaf for
each row, it is ``xRFM-hard``. It finds the direction of a split from up to 50 000 rows,
which takes hours; from 4000 it is ``xRFM-quick``. ``HistGB1000`` is boosting of a
thousand rounds; at its defaults it stops early. Figures that are in the CSV file are
not run again.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import Records, format_table

FIELDS = ("model", "n", "leaf", "r2", "fit_seconds", "predict_seconds", "gigabytes")
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
N_TEST, COLUMNS, NOISE = 50_000, 20, 0.3
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
    """Write the largest table, of which the others are the first rows, and a test."""
    for name, n, seed in (("train", max(sizes), 0), ("test", N_TEST, 1)):
        X, y = make_table(n, seed)
        np.save(folder / f"{name}_X.npy", X)
        np.save(folder / f"{name}_y.npy", y)


def read(folder, name, n=None):
    """Return the first rows of a table, as they are on the disk."""
    parts = (np.load(folder / f"{name}_{k}.npy", mmap_mode="r") for k in "Xy")
    return tuple(part[:n] for part in parts)


class Peer:
    """The package xrfm with the interface used here; it wants rows for validation."""

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
            max_leaf_size=self.leaf,
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

    return XRFMRegressor(max_leaf_size=leaf, random_state=0)


def run_one(folder, name, n, leaf):
    """Fit one model and print its figures."""
    model = make_model(name, leaf)
    X, y = read(folder, "train", n)
    start = perf_counter()
    model.fit(X, y)
    fit = perf_counter() - start
    X, y = read(folder, "test")
    start = perf_counter()
    predicted = model.predict(X)
    predict = perf_counter() - start
    r2 = 1 - np.mean((predicted - y) ** 2) / np.var(y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"figures {r2} {fit} {predict} {peak}")


def run_all(records, folder, sizes, names, leaf):
    """Run what is not there yet, each in a process of its own."""
    for n in sizes:
        for name in names:
            if records.has(name, n, leaf):
                continue
            command = [sys.executable, __file__, "--one", name, str(n)]
            command += ["--folder", str(folder), "--leaf", str(leaf)]
            done = subprocess.run(command, capture_output=True, text=True)
            lines = [s for s in done.stdout.splitlines() if s.startswith("figures")]
            if not lines:
                print(f"{name} at {n} rows failed:\n{done.stderr[-2000:]}")
                continue
            figures = map(float, lines[-1].split()[1:])
            row = dict(zip(FIELDS[3:], figures, strict=True))
            print(name, n, row, flush=True)
            records.add(model=name, n=n, leaf=leaf, **row)


def report(records):
    """Print all figures, and the slopes of seconds against rows."""
    lines, curves = [], {}
    for row in sorted(records.rows, key=lambda row: (int(row["n"]), row["model"])):
        figures = [float(row[name]) for name in FIELDS[3:]]
        lines.append([row["model"], int(row["n"]), int(row["leaf"]), *figures])
        curve = curves.setdefault((row["model"], row["leaf"]), [])
        curve.append((int(row["n"]), figures[1]))
    print(format_table(FIELDS, lines))
    for (model, leaf), points in curves.items():
        if len(points) > 1:
            n, seconds = np.log(np.array(points)).T
            slope = np.polyfit(n, seconds, 1)[0]
            print(f"{model}, leaves of {leaf}: seconds grow as n to the {slope:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--models", nargs="*", default=["XRFM", "HistGB"])
    parser.add_argument("--leaf", type=int, default=4000, help="rows of a leaf")
    parser.add_argument("--folder", type=Path, help="where the tables are written")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    results = Path(__file__).parent / "results" / "scale.csv"
    parser.add_argument("--results", default=results, type=Path)
    args = parser.parse_args()
    if args.one:
        run_one(args.folder, args.one[0], int(args.one[1]), args.leaf)
        return
    records = Records(args.results, FIELDS, ("model", "n", "leaf"))
    if not args.report:
        with tempfile.TemporaryDirectory() as folder:
            folder = args.folder or Path(folder)
            write_tables(folder, [*SIZES, *args.sizes])
            run_all(records, folder, args.sizes, args.models, args.leaf)
    report(records)


if __name__ == "__main__":
    main()
