"""Solvers of one large kernel machine: seconds, test errors and memory.

    python benchmarks/solvers.py [--rows 20000 50000] [--alpha 0.001]
        [--solvers cholesky pcg eigenpro]

A made-up table of 100 columns and 10 classes: the largest of ten outputs of a random
network with 30 hidden units on the first ten columns, plus noise. One kernel machine
with a Laplace kernel in float32, kernel matrix and solve, in a process of its
own, after a small one that compiles, and after memory was filled and given back: a
virtual machine may take seconds to hand out each GB for the first time. Cholesky is
left out where its matrix would not fit. Memory is the peak of the process.
"""

from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
from _experiment import Experiment, flag, in_new_process, peak_memory, timed
from _report import format_table, grouped, number

from skrfm._backend import NumpyBackend, worker_threads
from skrfm.kernels import Laplace
from skrfm.solvers import choose_solver

SOLVERS = ("cholesky", "pcg", "eigenpro")
KERNEL, BANDWIDTH = Laplace(), 42.0  # three median distances
BACKEND = NumpyBackend()
N_TEST = 10_000
# the rows whose kernel matrix Cholesky may hold: 3.6 GB
MOST_HELD = 30_000


def make_table(n):
    """Return rows and the numbers of their classes."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(10, 30)), rng.normal(size=(30, 10))
    X = rng.normal(size=(n, 100)).astype(np.float32)
    outputs = np.maximum(X[:, :10] @ first, 0) @ second
    outputs += 0.5 * outputs.std() * rng.normal(size=outputs.shape)
    return X, outputs.argmax(axis=1)


def fit(X, Y, solver, alpha):
    """Return the coefficients, from the kernel matrix on."""
    solve, streamed = choose_solver(solver, KERNEL, X, BACKEND)
    make = BACKEND.streamed_gram if streamed else BACKEND.gram
    ridge = np.full(len(X), alpha, dtype=X.dtype)
    return solve(make(KERNEL, X, BANDWIDTH), Y, ridge, BACKEND).coef


def fill_memory(n):
    """Touch the memory of a kernel matrix, and reset the peak where Linux can."""
    np.ones(min(n, MOST_HELD) ** 2 * 5 // 4, dtype=np.float32)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(n, solver, alpha):
    """Return costs, test error and peak memory of one fit in this process."""
    X, y = make_table(n + N_TEST)
    Y = np.eye(10, dtype=X.dtype)[y[:n]]
    mean = Y.mean(axis=0)
    with worker_threads(n):
        fit(X[:2000], Y[:2000] - mean, solver, alpha)
        fill_memory(n)
        coef, cost = timed(fit, X[:n], Y - mean, solver, alpha)
        outputs = mean + BACKEND.cross_dot(KERNEL, X[n:], X[:n], BANDWIDTH, coef)
    error = np.mean(outputs.argmax(axis=1) != y[n:])
    return {
        "seconds": round(cost.seconds, 2),
        "cpu_seconds": round(cost.cpu_seconds, 2),
        "error": round(float(error), 4),
        # in units of a million KiB, as in all rows that are kept
        "peak_gb": round(peak_memory() / 1.024e9, 2),
    }


def run(args, records):
    """Measure each solver, each in a new process."""
    for n, alpha, solver in product(args.rows, args.alpha, args.solvers):
        if solver != "cholesky" or n <= MOST_HELD:
            key = {"rows": n, "alpha": alpha, "solver": solver}
            records.once(key, in_new_process, measure, n, solver, alpha)


def report(rows, args):
    """Print the figures, with ratios to Cholesky at the same size and ridge."""
    lines = []
    for (n, alpha), group in grouped(rows, "rows", "alpha").items():
        by_solver = {row["solver"]: row for row in group}
        for solver, row in by_solver.items():
            figures = [row[name] for name in EXPERIMENT.figures]
            lines.append([n, alpha, solver, *figures])
            for cost in ("seconds", "cpu_seconds"):
                whole = number(by_solver.get("cholesky", {}), cost)
                mine = number(row, cost)
                lines[-1].append(whole / mine if whole and mine else None)
    header = ["rows", "alpha", "solver", *EXPERIMENT.figures]
    print(format_table([*header, "times faster", "in CPU seconds"], lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("rows", "alpha", "solver"),
    figures=("seconds", "cpu_seconds", "error", "peak_gb"),
    run=run,
    report=report,
    flags={"rows": (20_000, 50_000)},
    own_flags=[
        flag("alpha", (1e-3, 0.1), nargs="+", type=float, help="ridges"),
        flag("solvers", SOLVERS, nargs="+", choices=SOLVERS, help="only these solvers"),
    ],
    out="solvers.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
