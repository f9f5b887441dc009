"""What candidates of a search gain from shared work.

    python benchmarks/search.py [--rows 2000] [--columns 20] [--max-iter 5]

Seconds of RFMRegressorCV with 30 candidates in three folds where distances are shared
and where each kernel matrix computes its own; and of a kernel matrix, its Cholesky
factor and its eigenvalues with vectors, one of which would serve all ridges of a
kernel. Each is the least of three turns that alternate.
"""

import argparse
from time import perf_counter
from unittest.mock import patch

import numpy as np
from _records import format_table
from sklearn.datasets import make_friedman1

from skrfm import RFMRegressorCV
from skrfm._backend import NumpyBackend
from skrfm._recursion import _distances
from skrfm._recursion import _rounds as _recursion
from skrfm.kernels import L1Laplace, Laplace, LpqLaplace

TURNS = 3


def seconds_of(functions):
    """Return the least seconds of each function over turns that alternate."""
    least = dict.fromkeys(functions, np.inf)
    for _ in range(TURNS):
        for name, function in functions.items():
            start = perf_counter()
            function()
            least[name] = min(least[name], perf_counter() - start)
    return least


class Unshared(_distances.Distances):
    """Nothing is held: each kernel matrix and each median computes its distances."""

    def median(self, candidate, T, weight, backend, *, mapped):
        """Return the median, computed anew."""
        return super().median(candidate, T, weight, backend, mapped=True)

    def powers(self, candidate, T, backend, *, mapped):
        """Return nothing."""


def compare_searches(X, y, max_iter):
    """Return lines of the search with and without shared distances."""
    search = {"n_candidates": 30, "n_machines": 1, "cv": 3, "max_iter": max_iter}
    model = RFMRegressorCV(**search, random_state=0)
    model.fit(X[:200], y[:200])  # compiled before it is measured

    def alone():
        with patch.object(_recursion, "Distances", Unshared):
            model.fit(X, y)

    least = seconds_of({"shared": lambda: model.fit(X, y), "alone": alone})
    return [[name, value, value / least["shared"]] for name, value in least.items()]


def compare_factors(X, kernel):
    """Return a line: a kernel matrix and its eigenvalues, in Cholesky factors."""
    n = len(X)
    gram, ridge = NumpyBackend().gram(kernel, X, 5.0), np.full(n, 0.1)

    def factorize():
        gram.refill()
        gram.factorize(ridge)

    def decompose():
        gram.refill()
        gram.eigh(ridge)

    least = seconds_of({"K": gram.refill, "chol": factorize, "eigh": decompose})
    matrix = least["K"]
    cholesky, values = least["chol"] - matrix, least["eigh"] - matrix
    return [repr(kernel), cholesky, matrix / cholesky, values / cholesky]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--max-iter", type=int, default=5)
    args = parser.parse_args()
    X, y = make_friedman1(args.rows, args.columns, noise=1.0, random_state=0)
    kernels = Laplace(), L1Laplace(), LpqLaplace(1.25), LpqLaplace(1.3)
    header = ["kernel", "Cholesky s", "matrix", "eigenvalues"]
    lines = [compare_factors(X, kernel) for kernel in kernels]
    print(f"{args.rows} rows; in seconds of a Cholesky factor\n")
    print(format_table(header, lines))
    print("\n30 candidates\n")
    lines = compare_searches(X, y, args.max_iter)
    print(format_table(["distances", "s", "of shared"], lines))


if __name__ == "__main__":
    main()
