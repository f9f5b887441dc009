"""Matrix completion: speed, recovery, noise, and beside other methods.

    python benchmarks/completion.py [--data DIR] [--cases scale entries recovery ...]

"scale" and "entries" time large problems, each in a process of its own, after a
small one that compiles; "recovery" counts exact recoveries; "methods" sets the
completer beside naive implementations of other methods on synthetic matrices and, with
--data, on drug x cell-line matrices (DIR/drug_response/*.npz, five folds over the
observed entries); "sparse" is sparse regression. Draws in which a row or column has
fewer entries than the rank, which nothing can recover, are drawn again.
"""

from pathlib import Path

import numpy as np
from _completion_methods import METHODS
from _experiment import COSTS, Experiment, in_new_process, peak_memory, timed
from _report import format_table, grouped, growth, mean_of, number
from sklearn.linear_model import lasso_path
from sklearn.model_selection import KFold

from skrfm import LinRFMCompleter, LinRFMRegressor

SCALE = [(500, 5, 10_000), (5000, 10, 2_000_000), (20_000, 10, 4_000_000)]
ENTRIES = [10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7]
OVERSAMPLING = (1.2, 1.3, 1.5, 2.0, 2.5, 3.0)
GROSS_ERRORS = {
    0.05: ("absolute", "huber", "squared"),
    0.1: ("absolute", "huber"),
    0.2: ("absolute", "huber"),
    0.3: ("absolute",),
    0.4: ("absolute",),
}
GROWTH = ["1000 columns", "square"]
TRIALS, FOLDS = 10, 5
# degrees of freedom of a 200 x 200 matrix of rank 5
FREEDOM = 5 * (400 - 5)
# relative error below which a matrix counts as recovered
RECOVERED = 1e-4


# the odds of rows and columns, where entries are drawn unevenly
SAMPLING = {
    "rows": lambda m, n: (np.ones(m), np.ones(n)),
    "power law": lambda m, n: (
        np.arange(1, m + 1) ** -0.5,
        np.arange(1, n + 1) ** -0.5,
    ),
}


class LowRank:
    """A random matrix of a given rank, some of its entries, and errors against it."""

    def __init__(
        self, m, n, rank, *, count, seed=0, noise=0.0, condition=None, sampling=None
    ):
        rng = np.random.default_rng(seed)
        self.P = rng.standard_normal((m, rank))
        self.Q = rng.standard_normal((n, rank)) / np.sqrt(rank)
        if condition is not None:
            P, Q = np.linalg.qr(self.P)[0], np.linalg.qr(self.Q)[0]
            self.P, self.Q = (
                P * np.sqrt(m * n),
                Q * np.geomspace(1, 1 / condition, rank),
            )
        self.shape = m, n
        if sampling is None:
            self.rows, self.cols = self._draw_entries(count, rank, rng)
        else:
            odds = SAMPLING[sampling](m, n)
            self.rows, self.cols = self._draw_unevenly(count, rank, rng, odds=odds)
        self.values = self.at(self.rows, self.cols)
        self.values = self.values + noise * rng.standard_normal(len(self.values))

    def _draw_entries(self, count, rank, rng):
        """Return the indices of entries, with enough in each row and column."""
        m, n = self.shape
        while True:
            flat = rng.integers(0, m * n, size=round(1.05 * count) + 10)
            if m * n < 10**7:
                flat = rng.permutation(m * n)
            flat = np.unique(flat[: 2 * count])
            rows, cols = np.divmod(rng.permutation(flat)[:count], n)
            counts = np.bincount(rows, minlength=m), np.bincount(cols, minlength=n)
            if min(counts[0].min(), counts[1].min()) >= rank:
                return rows, cols

    def _draw_unevenly(self, count, rank, rng, *, odds):
        """Return the indices of entries, `rank` of each row and column among them.

        The others are drawn by the odds of their rows and columns.
        """
        m, n = self.shape
        chosen = np.zeros(self.shape, dtype=bool)
        keys = rng.random(self.shape)
        for i in range(m):
            chosen[i, np.argsort(keys[i])[:rank]] = True
        for j in np.flatnonzero(chosen.sum(axis=0) < rank):
            chosen[np.argsort(keys[:, j])[:rank], j] = True
        # the largest of random numbers to the power 1 / odds is a draw by the odds
        logs = np.where(chosen, 0.0, np.log(rng.random(self.shape)) / np.outer(*odds))
        order = np.argsort(logs, axis=None)[::-1]
        return np.divmod(rng.permutation(order[:count]), n)

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
    """Return a completer fitted to a problem, and its Cost."""
    completer = LinRFMCompleter(random_state=0, **options)
    return timed(
        completer.fit_entries,
        problem.rows,
        problem.cols,
        problem.values,
        problem.shape,
    )


def once(records, case, name, fold, measure, **options):
    """Add the figures of the completer that a function returns, unless there."""
    key = {"case": case, "name": name, "model": "LinRFMCompleter", "fold": fold}
    records.once(key, measure, **options)


# -- large problems -------------------------------------------------------------------


def measure_large(m, n, rank, count, max_rank):
    """Return the figures of one problem in this process."""
    fit(LowRank(60, 60, 2, count=1500))
    problem = LowRank(m, n, rank, count=count)
    completer, cost = fit(problem, max_rank=max_rank)
    return {
        "error": problem.error(completer.factors_),
        **cost.figures(),
        "rank": int(completer.rank_),
        "gigabytes": peak_memory() / 1e9,
    }


def run_in_process(*, m, n, rank, count, max_rank, threads=None):
    """Return the figures of one problem from a new process."""
    environment = {"OPENBLAS_NUM_THREADS": str(threads)} if threads else {}
    return in_new_process(
        measure_large, m, n, rank, count, max_rank, environment=environment
    )


def scale(args, records):
    """Large problems, the rank not given."""
    for m, rank, count in SCALE:
        name = f"{m}x{m}, rank {rank}, {count} entries"
        size = {"m": m, "n": m, "rank": rank, "count": count, "max_rank": 2 * rank}
        for threads in (1, None):
            fold = f"{threads or 'all'} cores"
            options = size | {"threads": threads}
            once(records, "scale", name, fold, run_in_process, **options)


def entries(args, records):
    """Costs against entries, of matrices of rank 5 with 100 entries in each row.

    One kind has ever more rows, and 1000 columns; the other is square, and its factors
    leave the processor's cache.
    """
    for kind in GROWTH:
        for count in ENTRIES:
            m = count // 100
            n = m if kind == "square" else 1000
            size = {"m": m, "n": n, "rank": 5, "count": count, "max_rank": 10}
            once(records, "entries", f"{kind}, {count}", 0, run_in_process, **size)


# -- recovery -------------------------------------------------------------------------


def recovery(args, records):
    """Exact recovery of matrices of rank 5 whose rank is not given, and noise."""
    for name, options in recovery_cases().items():
        for trial in range(TRIALS):
            recover(records, name, trial, **options)
    for trial in range(3):
        name = "noise 0.1, 1000 x 1000, rank 10, 4x"
        options = {"m": 1000, "rank": 10, "max_rank": 30, "count": 4 * 10 * 1990}
        recover(records, name, trial, noise=0.1, **options)


def recovery_cases():
    """Return the options of each case, by name."""
    cases = {
        f"oversampling {factor}": {"count": int(factor * FREEDOM)}
        for factor in OVERSAMPLING
    }
    cases["condition 1e6, 1.5x"] = {"count": int(1.5 * FREEDOM), "condition": 1e6}
    cases["condition 1e6, 3x"] = {"count": 3 * FREEDOM, "condition": 1e6}
    freedom = 5 * (1000 + 50 - 5)
    for factor in (1.3, 1.5, 2.0):
        options = {"m": 1000, "n": 50, "count": int(factor * freedom)}
        cases[f"1000 x 50, {factor}x"] = options | {"sampling": "rows"}
    for factor in (1.3, 1.5):
        options = {"count": int(factor * FREEDOM), "sampling": "power law"}
        cases[f"power law, {factor}x"] = options
    for share, losses in GROSS_ERRORS.items():
        for loss in losses:
            options = {"count": 4 * FREEDOM, "outliers": share, "loss": loss}
            cases[f"{share:.0%} gross errors, 4x, {loss}"] = options
    return cases


def recover(records, name, trial, **options):
    """Add the figures of one small problem, unless they are there."""
    once(records, "recovery", name, trial, measure_small, trial=trial, **options)


def measure_small(
    *,
    trial,
    m=200,
    n=None,
    rank=5,
    max_rank=None,
    outliers=0.0,
    loss="squared",
    **problem,
):
    """Return the figures of one small problem."""
    problem = LowRank(m, n or m, rank, seed=trial, **problem)
    if outliers > 0:
        rng = np.random.default_rng(trial)
        count = round(outliers * len(problem.values))
        wrong = rng.choice(len(problem.values), count, replace=False)
        problem.values[wrong] += 10 * rng.standard_normal(count)
    completer, cost = fit(problem, max_rank=max_rank, loss=loss)
    error = problem.error(completer.factors_)
    return {"error": error, **cost.figures(), "rank": completer.rank_}


# -- beside other methods -------------------------------------------------------------


def methods(args, records):
    """All methods on the same matrices: error on unseen entries."""
    for name, options in {
        "noiseless, 3x": {"count": 3 * FREEDOM},
        "noise 0.1, 4x": {"count": 4 * FREEDOM, "noise": 0.1},
    }.items():
        for trial in range(3):
            Y, truth = LowRank(200, 200, 5, seed=trial, **options).dense()
            unseen = np.isnan(Y)
            norm = np.linalg.norm(truth[unseen])
            add_methods(
                records, name, trial, Y=Y, truth=truth, unseen=unseen, norm=norm
            )
    paths = sorted(Path(args.data).glob("drug_response/*.npz")) if args.data else []
    for fold in range(FOLDS):
        for path in paths:
            Y, full, unseen = held_out(path, fold)
            # the error is a root mean square
            norm = np.sqrt(unseen.sum())
            add_methods(
                records, path.stem, fold, Y=Y, truth=full, unseen=unseen, norm=norm
            )


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


def complete(Y):
    """Return Y completed by the completer, and its rank."""
    completer = LinRFMCompleter(random_state=0).fit(Y)
    return completer.transform(Y), completer.rank_


def add_methods(records, name, fold, **matrix):
    """Add the figures of all methods on one matrix, unless they are there."""
    complete(matrix["Y"][:30, :30])
    for model in ("LinRFMCompleter", *METHODS):
        options = {"model": model, **matrix}
        key = {"case": "methods", "name": name, "model": model, "fold": fold}
        records.once(key, measure_method, **options)


def measure_method(*, model, Y, truth, unseen, norm):
    """Return the error of one method on unseen entries, and its costs."""
    rank = ""
    if model == "LinRFMCompleter":
        (W, rank), cost = timed(complete, Y)
    else:
        W, cost = timed(METHODS[model], Y)
    error = float(np.linalg.norm((W - truth)[unseen]) / norm)
    return {"error": error, **cost.figures(), "rank": rank}


# -- sparse regression ----------------------------------------------------------------


def lin_rfm_path(X, y):
    """Return the coefficients of LinRFMRegressor, a path of one."""
    model = LinRFMRegressor(power=0.5, alpha=0.0, fit_intercept=False).fit(X, y)
    return model.coef_[:, None]


def deep_diagonal_network(X, y, n_steps=200_000, rate=2e-3):
    """Return w = u³ − v³ by gradient descent from a small start, a path of one."""
    n, d = X.shape
    u = np.full(d, 0.1)
    v = u.copy()
    for _ in range(n_steps):
        gradient = X.T @ (X @ (u**3 - v**3) - y) / n
        u, v = u - rate * 3 * u**2 * gradient, v + rate * 3 * v**2 * gradient
    return (u**3 - v**3)[:, None]


SPARSE_METHODS = {
    "LinRFMRegressor": lin_rfm_path,
    "Lasso, best of its path": lambda X, y: lasso_path(X, y, alphas=200)[1],
    "deep diagonal network (3)": deep_diagonal_network,
}


def sparse(args, records, trials=20):
    """Support of 10 nonzeros among 1000 columns from 100 noiseless rows."""
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        X = rng.standard_normal((100, 1000))
        w = np.zeros(1000)
        w[rng.choice(1000, 10, replace=False)] = rng.standard_normal(10)
        for model in SPARSE_METHODS:
            key = {"case": "sparse", "name": "100 x 1000, 10 nonzeros"}
            key |= {"model": model, "fold": trial}
            records.once(key, measure_support, X=X, w=w, method=model)


def measure_support(*, X, w, method):
    """Return the least support error of a path of coefficients, and the costs."""
    path, cost = timed(SPARSE_METHODS[method], X, X @ w)
    missed = min(support_error(column, w) for column in path.T)
    return {"error": missed, **cost.figures()}


def support_error(coef, truth):
    """Return how many columns are wrongly in or out, beyond half the least true one."""
    smallest = np.abs(truth[truth != 0]).min()
    return int(np.sum((np.abs(coef) > smallest / 2) != (truth != 0)))


# -- report ---------------------------------------------------------------------------


def run(args, records):
    """Measure the cases."""
    for case in args.cases:
        CASES[case](args, records)


def report(rows, args):
    """Print everything as tables."""
    by_case = grouped(rows, "case")
    for case in ("scale", "entries"):
        report_large(by_case.get(case, []))
    for kind in GROWTH:
        rows = [r for r in by_case.get("entries", []) if r["name"].startswith(kind)]
        if len(rows) > 1:
            counts = [float(row["name"].split(", ")[1]) for row in rows]
            slope = growth(counts, [number(row, "seconds") for row in rows])
            print(f"log-log slope of seconds against entries, {kind}: {slope:.3f}")
    report_recovery(by_case.get("recovery", []))
    report_methods(by_case.get("methods", []))
    report_sparse(by_case.get("sparse", []))


def report_large(rows):
    """Print the figures of large problems."""
    lines = [
        [
            row["name"],
            row["fold"],
            f"{float(row['error']):.1e}",
            row["rank"],
            *(number(row, name) for name in (*COSTS, "gigabytes")),
        ]
        for row in rows
    ]
    header = ["problem", "run", "relative error", "rank", "seconds", "CPU s", "GB"]
    if lines:
        print("\n" + format_table(header, lines))


def report_recovery(rows):
    """Print how often matrices were recovered."""
    lines = []
    for name, group in grouped(rows, "name").items():
        errors = np.array([float(row["error"]) for row in group])
        ranks = " ".join(map(str, sorted({int(row["rank"]) for row in group})))
        share = f"{np.sum(errors <= RECOVERED)} of {len(errors)}"
        figures = f"{np.median(errors):.1e}", f"{errors.max():.1e}"
        costs = [mean_of(group, cost) for cost in COSTS]
        lines.append([name, share, *figures, ranks, *costs])
    header = ["problem", "recovered", "median error", "worst", "ranks", *COSTS]
    if lines:
        print("\n" + format_table(header, lines))


def report_methods(rows):
    """Print mean errors and costs, a line for each method."""
    groups = grouped(rows, "name", "model")
    names = list(dict.fromkeys(name for name, _ in groups))
    models = list(dict.fromkeys(model for _, model in groups))
    for figure in ("error", *COSTS) if models else ():
        lines = [
            [model, *(mean_of(groups.get((name, model), []), figure) for name in names)]
            for model in models
        ]
        unseen = figure == "error"
        title = "error on unseen entries, mean of the folds" if unseen else figure
        if any(cell is not None for line in lines for cell in line[1:]):
            print(f"\n{title}\n" + format_table(["method", *names], lines))


def report_sparse(rows):
    """Print how often the support was found."""
    lines = []
    for model, group in grouped(rows, "model").items():
        found = sum(int(row["error"]) == 0 for row in group)
        costs = [mean_of(group, cost) for cost in COSTS]
        lines.append([model, f"{found} of {len(group)}", *costs])
    if lines:
        header = ["sparse regression", "support found", *COSTS]
        print("\n" + format_table(header, lines))


CASES = {
    "scale": scale,
    "entries": entries,
    "recovery": recovery,
    "methods": methods,
    "sparse": sparse,
}
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "name", "model", "fold"),
    figures=("error", *COSTS, "rank", "gigabytes"),
    run=run,
    report=report,
    flags={"data": None},
    choices={"cases": CASES},
    out="completion.csv",
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
