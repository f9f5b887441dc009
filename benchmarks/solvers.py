"""Solvers of one large kernel machine: seconds, test errors and memory.

    python benchmarks/solvers.py [--rows 20000 50000] [--alpha 0.001]
        [--solvers cholesky pcg eigenpro]

A made-up table of 100 columns and 10 classes: the largest of ten outputs of a random
network with 30 hidden units, which looks at the first ten columns, plus noise. One
machine with a Laplace kernel in float32, kernel matrix and solve, in a process of its
own, after a small one that compiles, and after memory was filled and given back: a
virtual machine may take seconds to hand out each GB for the first time. Cholesky is
left out where its matrix would not fit. The peak of the memory is that of the process.
"""

import argparse
import multiprocessing
import resource
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import Records, format_table

from skrfm._backend import NumpyBackend, worker_threads
from skrfm.kernels import Laplace
from skrfm.solvers import choose_solver

SOLVERS = ("cholesky", "pcg", "eigenpro")
FIELDS = ("rows", "alpha", "solver", "seconds", "error", "peak_gb")
KERNEL, BANDWIDTH = Laplace(), 42.0  # three median distances
BACKEND = NumpyBackend()
N_TEST = 10_000
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
    """Fill what a kernel matrix would take, and forget that peak where Linux can."""
    np.ones(min(n, MOST_HELD) ** 2 * 5 // 4, dtype=np.float32)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(queue, n, solver, alpha):
    """Put seconds, test error and peak memory of one fit into the queue."""
    X, y = make_table(n + N_TEST)
    Y = np.eye(10, dtype=X.dtype)[y[:n]]
    mean = Y.mean(axis=0)
    with worker_threads(n):
        fit(X[:2000], Y[:2000] - mean, solver, alpha)
        fill_memory(n)
        start = perf_counter()
        coef = fit(X[:n], Y - mean, solver, alpha)
        seconds = perf_counter() - start
        outputs = mean + BACKEND.cross_dot(KERNEL, X[n:], X[:n], BANDWIDTH, coef)
    error = np.mean(outputs.argmax(axis=1) != y[n:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    queue.put((round(seconds, 2), round(float(error), 4), round(peak, 2)))


def in_a_process(*arguments):
    """Return what `measure` says in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(queue, *arguments))
    process.start()
    found = queue.get()
    process.join()
    return found


def report(records):
    """Print a table with ratios to Cholesky at the same size."""
    lines = []
    for row in records.rows:
        whole = [r for r in records.rows if r["solver"] == "cholesky"]
        whole = [r for r in whole if all(r[k] == row[k] for k in ("rows", "alpha"))]
        ratio = float(whole[0]["seconds"]) / float(row["seconds"]) if whole else None
        lines.append([*row.values(), ratio])
    print(format_table([*FIELDS, "times faster"], lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--alpha", type=float, nargs="+", default=[1e-3, 0.1])
    parser.add_argument("--solvers", nargs="+", default=SOLVERS, choices=SOLVERS)
    results = Path(__file__).parent / "results" / "solvers.csv"
    parser.add_argument("--results", default=results, type=Path)
    args = parser.parse_args()
    records = Records(args.results, FIELDS, ("rows", "alpha", "solver"))
    for n in args.rows:
        for alpha in args.alpha:
            for solver in args.solvers:
                if solver == "cholesky" and n > MOST_HELD:
                    continue
                if records.has(n, alpha, solver):
                    continue
                found = in_a_process(n, solver, alpha)
                row = dict(zip(FIELDS, (n, alpha, solver, *found), strict=True))
                records.add(**row)
                print(row, flush=True)
    report(records)


if __name__ == "__main__":
    main()
