"""Matrix completion: speed, recovery, noise, and beside other methods.

    python benchmarks/completion.py [--data DIR] [--cases scale entries recovery ...]

``scale`` and ``entries`` time large problems, each in a process of its own, after a
small one that compiles; ``recovery`` counts exact recoveries; ``rivals`` sets the
completer beside naive implementations of other methods on synthetic matrices and, with
``--data``, on drug × cell-line matrices (``DIR/drug_response/*.npz``, five folds over
the observed entries); ``sparse`` is sparse regression. Draws in which a row or column
has fewer entries than the rank, which nothing can recover, are drawn again. Figures
that are in the CSV file are not run again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from _completion_rivals import RIVALS
from _records import Records, format_table
from sklearn.linear_model import lasso_path
from sklearn.model_selection import KFold

from skrfm import LinRFMCompleter

FIELDS = ("case", "name", "model", "fold", "error", "seconds", "rank", "gigabytes")
SCALE = [(500, 5, 10_000), (5000, 10, 2_000_000), (20_000, 10, 4_000_000)]
ENTRIES = [10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7]
OVERSAMPLING = (1.5, 2.0, 2.5, 3.0)
GROWTH = ["1000 columns", "square"]
TRIALS, FOLDS = 10, 5
# relative error below which a matrix counts as recovered
RECOVERED = 1e-4


class LowRank:
    """A random matrix of a given rank, some of its entries, and errors against it."""

    def __init__(self, m, n, rank, count, seed=0, noise=0.0, condition=None):
        rng = np.random.default_rng(seed)
        self.P = rng.standard_normal((m, rank))
        self.Q = rng.standard_normal((n, rank)) / np.sqrt(rank)
        if condition:
            P, Q = np.linalg.qr(self.P)[0], np.linalg.qr(self.Q)[0]
            self.P, self.Q = (
                P * np.sqrt(m * n),
                Q * np.geomspace(1, 1 / condition, rank),
            )
        self.shape = m, n
        self.rows, self.cols = self._places(count, rank, rng)
        self.values = self.at(self.rows, self.cols)
        self.values = self.values + noise * rng.standard_normal(len(self.values))

    def _places(self, count, rank, rng):
        m, n = self.shape
        while True:
            places = rng.integers(0, m * n, size=round(1.05 * count) + 10)
            if m * n < 10**7:
                places = rng.permutation(m * n)
            places = np.unique(places[: 2 * count])
            rows, cols = np.divmod(rng.permutation(places)[:count], n)
            counts = np.bincount(rows, minlength=m), np.bincount(cols, minlength=n)
            if min(counts[0].min(), counts[1].min()) >= rank:
                return rows, cols

    def at(self, rows, cols):
        """Return entries of the matrix, in blocks that take little memory."""
        parts = range(0, len(rows), 10**5)
        return np.concatenate(
            [
                np.einsum("ek,ek->e", self.P[rows[i:j]], self.Q[cols[i:j]])
                for i, j in ((start, start + 10**5) for start in parts)
            ]
        )

    def error(self, factors):
        """Return ‖W − truth‖ / ‖truth‖, from the factors alone."""
        U, s, V = factors
        L, R = np.hstack([U * s, -self.P]), np.hstack([V, self.Q])
        _, a = np.linalg.qr(L)
        _, b = np.linalg.qr(R)
        _, c = np.linalg.qr(self.P)
        _, d = np.linalg.qr(self.Q)
        return float(np.linalg.norm(a @ b.T) / np.linalg.norm(c @ d.T))

    def dense(self):
        """Return the matrix with NaN where it is not observed, and the truth."""
        Y = np.full(self.shape, np.nan)
        Y[self.rows, self.cols] = self.values
        return Y, self.P @ self.Q.T


def fit(problem, **options):
    """Return a completer fitted to a problem, and its seconds."""
    completer = LinRFMCompleter(random_state=0, **options)
    start = perf_counter()
    completer.fit_entries(problem.rows, problem.cols, problem.values, problem.shape)
    return completer, perf_counter() - start


def work(m, n, rank, count, max_rank):
    """Time one problem in this process; return its figures."""
    fit(LowRank(60, 60, 2, 1500))
    problem = LowRank(m, n, rank, count)
    completer, seconds = fit(problem, max_rank=max_rank)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {
        "error": problem.error(completer.factors_),
        "seconds": seconds,
        "rank": completer.rank_,
        "gigabytes": gigabytes,
    }


def run_worker(*arguments, threads=None):
    """Call `work` in a new process."""
    environment = dict(os.environ)
    if threads:
        environment["OPENBLAS_NUM_THREADS"] = str(threads)
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


def scale(records):
    """Large problems, the rank not given."""
    for m, rank, count in SCALE:
        for threads in (1, None):
            key = "scale", f"{m}x{m}, rank {rank}, {count} entries", "LinRFMCompleter"
            fold = f"{threads or 'all'} cores"
            if not records.has(*key, fold):
                figures = run_worker(m, m, rank, count, 2 * rank, threads=threads)
                keep(records, *key, fold, **figures)


def entries(records):
    """Time against entries, of matrices of rank 5 with 100 entries in each row.

    One kind has ever more rows, and 1000 columns; the other is square, and its factors
    leave the processor's cache.
    """
    for growth in GROWTH:
        for count in ENTRIES:
            m = count // 100
            n = m if growth == "square" else 1000
            key = "entries", f"{growth}, {count}", "LinRFMCompleter", 0
            if not records.has(*key):
                keep(records, *key, **run_worker(m, n, 5, count, 10))


def recovery(records):
    """Exact recovery of 200 x 200 matrices of rank 5, and harder ones."""
    freedom = 5 * (400 - 5)
    for factor in OVERSAMPLING:
        for trial in range(TRIALS):
            problem = {"count": int(factor * freedom), "seed": trial}
            once(records, f"oversampling {factor}", trial, problem, {"max_rank": 10})
    for trial in range(TRIALS):
        problem = {"count": 3 * freedom, "seed": trial, "condition": 1e5}
        once(records, "condition 1e5, 3x", trial, problem, {"max_rank": 10})
        problem = {"count": 4 * freedom, "seed": trial, "outliers": 0.05}
        for loss in ("huber", "squared"):
            options = {"max_rank": 10, "loss": loss}
            once(records, f"5 % gross errors, 4x, {loss}", trial, problem, options)
    for trial in range(3):
        problem = {"m": 1000, "rank": 10, "count": 4 * 10 * 1990, "noise": 0.1}
        once(
            records,
            "noise 0.1, 1000 x 1000, rank 10, 4x",
            trial,
            problem | {"seed": trial},
            {"max_rank": 30},
        )


def once(records, name, trial, problem, options):
    """Fit one small problem, unless its figures are there."""
    key = "recovery", name, "LinRFMCompleter", trial
    if records.has(*key):
        return
    problem = dict(problem)
    outliers = problem.pop("outliers", 0)
    m = problem.pop("m", 200)
    problem = LowRank(m, m, problem.pop("rank", 5), **problem)
    if outliers:
        rng = np.random.default_rng(trial)
        count = round(outliers * len(problem.values))
        wrong = rng.choice(len(problem.values), count, replace=False)
        problem.values[wrong] += 10 * rng.standard_normal(count)
    completer, seconds = fit(problem, **options)
    error = problem.error(completer.factors_)
    keep(records, *key, error=error, seconds=seconds, rank=completer.rank_)


def rivals(records, data):
    """All methods on the same matrices: error on what they have not seen."""
    freedom = 5 * (400 - 5)
    for name, options in {
        "noiseless, 3x": {"count": 3 * freedom},
        "noise 0.1, 4x": {"count": 4 * freedom, "noise": 0.1},
    }.items():
        for trial in range(3):
            Y, truth = LowRank(200, 200, 5, seed=trial, **options).dense()
            unseen = np.isnan(Y)
            norm = np.linalg.norm(truth[unseen])
            compare(records, name, trial, Y, truth, unseen, norm)
    paths = sorted(Path(data).glob("drug_response/*.npz")) if data else []
    for fold in range(FOLDS):
        for path in paths:
            Y, full, unseen = held_out(path, fold)
            norm = np.sqrt(unseen.sum())  # the error is a root mean square
            compare(records, path.stem, fold, Y, full, unseen, norm)


def held_out(path, fold):
    """Return a matrix less one fold of its entries, the matrix, and that fold."""
    with np.load(path, allow_pickle=False) as file:
        full = file["Y"].astype(float)
    observed = np.argwhere(~np.isnan(full))
    folds = KFold(FOLDS, shuffle=True, random_state=0).split(observed)
    _, test = list(folds)[fold]
    Y = full.copy()
    Y[tuple(observed[test].T)] = np.nan
    return Y, full, np.isnan(Y) & ~np.isnan(full)


def complete(Y, **options):
    """Return Y completed by the completer, and the rank that it found."""
    completer = LinRFMCompleter(random_state=0, **options).fit(Y)
    return completer.transform(Y), completer.rank_


def compare(records, name, fold, Y, truth, unseen, norm):
    """Run all methods on one matrix, unless their figures are there."""
    complete(Y[:30, :30])
    for model in ("LinRFMCompleter", *RIVALS):
        if records.has("rivals", name, model, fold):
            continue
        start = perf_counter()
        ours = model == "LinRFMCompleter"
        W, rank = complete(Y) if ours else (RIVALS[model](Y), "")
        seconds = perf_counter() - start
        error = float(np.linalg.norm((W - truth)[unseen]) / norm)
        keep(
            records,
            "rivals",
            name,
            model,
            fold,
            error=error,
            seconds=seconds,
            rank=rank,
        )


def sparse(records, trials=20):
    """Support of 10 nonzeros among 1000 columns from 100 noiseless rows."""
    from skrfm import LinRFMRegressor

    for trial in range(trials):
        rng = np.random.default_rng(trial)
        X = rng.standard_normal((100, 1000))
        w = np.zeros(1000)
        w[rng.choice(1000, 10, replace=False)] = rng.standard_normal(10)
        y = X @ w
        methods = {
            "LinRFMRegressor": lambda X, y: (
                LinRFMRegressor(power=0.5, alpha=0.0, fit_intercept=False)
                .fit(X, y)
                .coef_[:, None]
            ),
            "Lasso, best of its path": lambda X, y: lasso_path(X, y, alphas=200)[1],
            "deep diagonal network (3)": deep_diagonal_network,
        }
        for model, method in methods.items():
            key = "sparse", "100 x 1000, 10 nonzeros", model, trial
            if records.has(*key):
                continue
            start = perf_counter()
            path = method(X, y)
            seconds = perf_counter() - start
            missed = min(support_error(column, w) for column in path.T)
            keep(records, *key, error=missed, seconds=seconds)


def support_error(coef, truth):
    """Return how many columns are wrongly in or out, beyond half the least true one."""
    least = np.abs(truth[truth != 0]).min()
    return int(np.sum((np.abs(coef) > least / 2) != (truth != 0)))


def deep_diagonal_network(X, y, steps=200_000, rate=2e-3):
    """w = u³ − v³ by gradient descent from a small start; returns the last w."""
    n, d = X.shape
    u = np.full(d, 0.1)
    v = u.copy()
    for _ in range(steps):
        gradient = X.T @ (X @ (u**3 - v**3) - y) / n
        u, v = u - rate * 3 * u**2 * gradient, v + rate * 3 * v**2 * gradient
    return (u**3 - v**3)[:, None]


def keep(records, case, name, model, fold, **figures):
    """Note figures, and print them."""
    print(case, name, model, fold, figures, flush=True)
    records.add(case=case, name=name, model=model, fold=fold, **figures)


def report(records):
    """Print everything as tables."""
    by_case = {}
    for row in records.rows:
        by_case.setdefault(row["case"], []).append(row)
    for row in by_case.get("scale", []), by_case.get("entries", []):
        header = ["problem", "run", "relative error", "rank", "seconds", "GB"]
        lines = [
            [
                r["name"],
                r["fold"],
                f"{float(r['error']):.1e}",
                r["rank"],
                float(r["seconds"]),
                float(r["gigabytes"]),
            ]
            for r in row
        ]
        if lines:
            print("\n" + format_table(header, lines))
    for growth in GROWTH:
        rows = [r for r in by_case.get("entries", []) if r["name"].startswith(growth)]
        if len(rows) > 1:
            counts = [float(row["name"].split(", ")[1]) for row in rows]
            seconds = [float(row["seconds"]) for row in rows]
            slope = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
            print(f"log-log slope of seconds against entries, {growth}: {slope:.3f}")
    report_recovery(by_case.get("recovery", []))
    report_means(
        by_case.get("rivals", []), "error on unseen entries, mean of the folds"
    )
    report_sparse(by_case.get("sparse", []))


def grouped(rows):
    """Return {(name, model): rows}."""
    groups = {}
    for row in rows:
        groups.setdefault((row["name"], row["model"]), []).append(row)
    return groups


def report_recovery(rows):
    """Print how often matrices were recovered."""
    lines = []
    for (name, _), group in grouped(rows).items():
        errors = np.array([float(row["error"]) for row in group])
        ranks = sorted({int(row["rank"]) for row in group})
        seconds = np.mean([float(row["seconds"]) for row in group])
        share = f"{np.sum(errors <= RECOVERED)} of {len(errors)}"
        figures = f"{np.median(errors):.1e}", f"{errors.max():.1e}"
        lines.append([name, share, *figures, " ".join(map(str, ranks)), float(seconds)])
    if lines:
        header = ["problem", "recovered", "median error", "worst", "ranks", "seconds"]
        print("\n" + format_table(header, lines))


def report_means(rows, title):
    """Print mean errors and seconds, a line for each method."""
    groups = grouped(rows)
    names = list(dict.fromkeys(name for name, _ in groups))
    models = list(dict.fromkeys(model for _, model in groups))
    for field, heading in (("error", title), ("seconds", "seconds")):
        lines = []
        for model in models:
            cells = [
                float(np.mean([float(r[field]) for r in groups[name, model]]))
                if (name, model) in groups
                else None
                for name in names
            ]
            lines.append([model, *cells])
        if lines:
            print(f"\n{heading}\n" + format_table(["method", *names], lines))


def report_sparse(rows):
    """Print how often the support was found."""
    lines = []
    for (_, model), group in grouped(rows).items():
        found = sum(int(row["error"]) == 0 for row in group)
        seconds = float(np.mean([float(row["seconds"]) for row in group]))
        lines.append([model, f"{found} of {len(group)}", seconds])
    if lines:
        header = ["sparse regression", "support found", "seconds"]
        print("\n" + format_table(header, lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = ["scale", "entries", "recovery", "rivals", "sparse"]
    parser.add_argument("--cases", nargs="*", default=cases, choices=cases)
    parser.add_argument("--data", help="folder with drug_response/*.npz")
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    results = Path(__file__).parent / "results" / "completion.csv"
    parser.add_argument("--results", default=results, type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(work(*json.loads(args.worker))))
        return
    records = Records(args.results, FIELDS, ("case", "name", "model", "fold"))
    runs = {
        "scale": scale,
        "entries": entries,
        "recovery": recovery,
        "rivals": lambda records: rivals(records, args.data),
        "sparse": sparse,
    }
    for case in [] if args.report else args.cases:
        runs[case](records)
    report(records)


if __name__ == "__main__":
    main()
