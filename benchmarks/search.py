"""Shared distances: what the candidates of a search gain from them.

    python benchmarks/search.py [--rows 2000] [--columns 20] [--max-iter 5]

Costs of RFMRegressorCV with 30 candidates in three folds where distances are shared and
where each kernel matrix computes its own; and of a kernel matrix and of its eigenvalues
with vectors, which would serve all ridges of a kernel, in Cholesky factors. Each is the
least of three turns that alternate.
"""

from unittest.mock import patch

import numpy as np
from _experiment import COSTS, Experiment, count_flag, least, timed
from _report import format_table, grouped, number
from sklearn.datasets import make_friedman1

from skrfm import RFMRegressorCV
from skrfm._backend import NumpyBackend
from skrfm._recursion import _prepared
from skrfm.kernels import L1Laplace, Laplace, LpqLaplace

TURNS = 3
KERNELS = Laplace(), L1Laplace(), LpqLaplace(1.25), LpqLaplace(1.3)


def least_costs(functions):
    """Return the least Cost of each function over turns that alternate."""
    costs = {name: [] for name in functions}
    for _ in range(TURNS):
        for name, function in functions.items():
            costs[name].append(timed(function)[1])
    return {name: least(found) for name, found in costs.items()}


class UnsharedDistances(_prepared.Distances):
    """Nothing is held: each kernel matrix and each median computes its distances."""

    def median(self, candidate, T, weight, backend, *, mapped):
        """Return the median, computed anew."""
        return super().median(candidate, T, weight, backend, mapped=True)

    def powers(self, candidate, T, backend, *, mapped):
        """Return nothing."""


def measure_searches(X, y, max_iter):
    """Return the costs of the search with and without shared distances."""
    model = RFMRegressorCV(
        n_candidates=30, n_machines=1, cv=3, max_iter=max_iter, random_state=0
    )
    model.fit(X[:200], y[:200])  # compiled before it is measured

    def fit_unshared():
        with patch.object(_prepared, "Distances", UnsharedDistances):
            model.fit(X, y)

    return least_costs({"shared": lambda: model.fit(X, y), "unshared": fit_unshared})


def measure_factors(X, kernel):
    """Return the costs of a kernel matrix, its Cholesky factor and its eigenvalues."""
    n = len(X)
    gram, ridge = NumpyBackend().gram(kernel, X, 5.0), np.full(n, 0.1)

    def factorize():
        gram.refill()
        gram.factorize(ridge)

    def decompose():
        gram.refill()
        gram.eigh(ridge)

    functions = {"matrix": gram.refill, "Cholesky": factorize, "eigenvalues": decompose}
    costs = least_costs(functions)
    matrix = costs["matrix"]
    for name in ("Cholesky", "eigenvalues"):
        differences = [a - b for a, b in zip(costs[name], matrix, strict=True)]
        costs[name] = type(matrix)(*differences)
    return costs


def run(args, records):
    """Measure kernel matrices, then searches."""
    X, y = make_friedman1(args.rows, args.columns, noise=1.0, random_state=0)
    key = {"rows": args.rows, "columns": args.columns, "max_iter": args.max_iter}
    for kernel in KERNELS:
        add(records, key | {"part": repr(kernel)}, "matrix", measure_factors, X, kernel)
    part = {"part": "30 candidates"}
    add(records, key | part, "shared", measure_searches, X, y, args.max_iter)


def add(records, key, first, measure, *args):
    """Add the costs that a function returns by name, unless the first is there."""
    if not records.has(key | {"name": first}):
        for name, cost in measure(*args).items():
            records.add(key | {"name": name}, cost.figures())


def report(rows, args):
    """Print kernel matrices and eigenvalues in Cholesky factors, then searches."""
    for (n, d, max_iter), of_size in grouped(
        rows, "rows", "columns", "max_iter"
    ).items():
        parts = grouped(of_size, "part")
        searches = parts.pop("30 candidates", [])
        lines = []
        for kernel, of_kernel in parts.items():
            cost = {row["name"]: number(row, "seconds") for row in of_kernel}
            cpu = {row["name"]: number(row, "cpu_seconds") for row in of_kernel}
            factor = cost["Cholesky"]
            ratios = cost["matrix"] / factor, cost["eigenvalues"] / factor
            lines.append([kernel, factor, cpu["Cholesky"], *ratios])
        print(f"{n} x {d}; matrix and eigenvalues in seconds of a Cholesky factor\n")
        header = ["kernel", "Cholesky s", "Cholesky CPU s", "matrix", "eigenvalues"]
        print(format_table(header, lines))
        print(f"\n30 candidates, {max_iter} rounds\n")
        print_searches(searches)


def print_searches(rows):
    """Print the costs of searches, and their ratios to shared distances."""
    by_name = {row["name"]: [number(row, cost) for cost in COSTS] for row in rows}
    lines = []
    for name, costs in by_name.items():
        pairs = zip(costs, by_name["shared"], strict=True)
        lines.append([name, *costs, *(cost / shared for cost, shared in pairs)])
    header = ["distances", "s", "CPU s", "s of shared", "CPU s of shared"]
    print(format_table(header, lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("rows", "columns", "max_iter", "part", "name"),
    figures=COSTS,
    run=run,
    report=report,
    flags={"rows": 2000},
    own_flags=[
        count_flag("columns", 20, "number of columns"),
        count_flag("max-iter", 5, "rounds of the recursion"),
    ],
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
