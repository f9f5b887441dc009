"""What candidates of a search gain from shared work.

    python benchmarks/search.py [--rows 2000] [--columns 20]

Seconds of RFMRegressorCV with 30 candidates in three folds where distances are shared
and where each kernel matrix computes its own; and of a kernel matrix, its Cholesky
factor and its eigenvalues with vectors, one of which would serve all ridges of a
kernel. Each is the least of three turns that alternate.
"""

import argparse
from time import perf_counter

import numpy as np
from _records import format_table
from sklearn.datasets import make_friedman1

from skrfm import RFMRegressorCV, _distances
from skrfm._backend import NumpyBackend
from skrfm.kernels import L1Laplace, Laplace, LpqLaplace

TURNS = 3
LIMITS = ("_MOST_BYTES", "_MOST_ROWS_OF_ONE")


def seconds_of(functions):
    """Return the least seconds of each function over turns that alternate."""
    least = dict.fromkeys(functions, np.inf)
    for _ in range(TURNS):
        for name, function in functions.items():
            start = perf_counter()
            function()
            least[name] = min(least[name], perf_counter() - start)
    return least


def compare_searches(X, y):
    """Return lines of the search with and without shared distances."""
    model = RFMRegressorCV(n_candidates=30, cv=3, random_state=0)
    model.fit(X[:200], y[:200])  # compiled before it is measured
    limits = {name: getattr(_distances, name) for name in LIMITS}

    def alone():
        try:
            for name in LIMITS:
                setattr(_distances, name, 0)
            model.fit(X, y)
        finally:
            for name, value in limits.items():
                setattr(_distances, name, value)

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
    args = parser.parse_args()
    X, y = make_friedman1(args.rows, args.columns, noise=1.0, random_state=0)
    kernels = Laplace(), L1Laplace(), LpqLaplace(1.25), LpqLaplace(1.3)
    header = ["kernel", "Cholesky s", "matrix", "eigenvalues"]
    lines = [compare_factors(X, kernel) for kernel in kernels]
    print(f"{args.rows} rows; in seconds of a Cholesky factor\n")
    print(format_table(header, lines))
    print("\n30 candidates\n")
    print(format_table(["distances", "s", "of shared"], compare_searches(X, y)))


if __name__ == "__main__":
    main()
