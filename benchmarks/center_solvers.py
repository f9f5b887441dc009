"""Solvers of a kernel machine with few centres: error against seconds and memory.

    python benchmarks/center_solvers.py [--rows 200000] [--centers 1000 2000 ...]
        [--solvers cg eigenpro4] [--ridge 0.1]

The made-up table of scale.py, a Laplace kernel with the median distance as bandwidth,
in float32, and the same random centres for both solvers. ``cg`` is what `n_centers`
takes, conjugate gradients to a residual of 0.1, 0.01 and 0.001, each from the start.
``eigenpro4`` is stochastic gradient descent with delayed projections after EigenPro 4
(Abedsoltan et al. 2024), without a ridge, measured after 1, 2 and 4 epochs of one fit;
the last of the four has a smaller step. Its projections are exact, by the Cholesky
factor of the kernel matrix of the centres, which costs less than inexact ones at these
sizes. R² is that of 50 000 rows of another draw; costs leave out predicting them.
"""

from functools import partial
from itertools import product
from time import perf_counter, process_time

import numpy as np
from _experiment import Cost, Experiment, flag, in_new_process, peak_memory, timed
from _report import format_table, grouped, number
from scale import N_TEST, make_table

from skrfm._backend import NumpyBackend, own_threads
from skrfm.kernels import Laplace
from skrfm.solvers import (
    CenterPreconditioner,
    SamplePreconditioner,
    sample_size,
    solve_centers,
)

KERNEL, BANDWIDTH = Laplace(), 40.0**0.5
BACKEND = NumpyBackend()
SOLVERS = ("cg", "eigenpro4")
TOLERANCES, EPOCHS = (0.1, 0.01, 0.001), (1, 2, 4)
# Rows of the approximate eigenvectors of EigenPro, their number, and rows of a batch.
NYSTROM_ROWS, EIGENVECTORS, BATCH = 2000, 100, 500
LAST_STEP = 0.3


def fit_cg(X, y, n_centers, ridge, tolerance):
    """Return coefficients of the first rows as centres."""
    n, p = len(X), n_centers
    Z, weight = X[:p], np.ones(n, dtype=X.dtype)
    K, size = BACKEND.cross(KERNEL, Z, Z, BANDWIDTH), sample_size(n, p)
    if size:
        of_sample = np.full(p + size, (n - p) / size)
        of_sample[:p] = 1
        gram = BACKEND.cross_gram(KERNEL, X[: p + size], Z, BANDWIDTH)
        H = gram.normal_matrix(of_sample)
        preconditioner = SamplePreconditioner(K, H, ridge, BACKEND)
    else:
        preconditioner = CenterPreconditioner(K, ridge, n / p, BACKEND)
    gram = BACKEND.cross_gram(KERNEL, X, Z, BANDWIDTH)
    return solve_centers(
        partial(gram.normal_product, weight),
        gram.adjoint_product(weight, y[:, None]),
        preconditioner,
        BACKEND,
        dtype=X.dtype,
        tolerance=tolerance,
    ).coef


class EigenPro:
    """Gradient descent on batches of rows, projected to the centres now and then.

    Between two projections the rows of the batches are centres as well.
    """

    def __init__(self, X, y, n_centers):
        self.X, self.y, self.Z = X, y[:, None], X[:n_centers]
        K = BACKEND.cross(KERNEL, self.Z, self.Z, BANDWIDTH)
        self.factor = BACKEND.factorize(K, 1e-6)
        self.S = X[-NYSTROM_ROWS:]
        of_sample = BACKEND.cross(KERNEL, self.S, self.S, BANDWIDTH).astype(float)
        values, V = BACKEND.leading_eigenvectors(of_sample, EIGENVECTORS + 1)
        smallest, values, V = values[-1], values[:-1], V[:, :-1]
        # what the deflated kernel has on its diagonal, at most, and its norm
        damping = (1 - smallest / values) / values
        diagonal = 1 - ((of_sample @ V) ** 2 @ damping)
        self.V, self.damping = V.astype(X.dtype), damping.astype(X.dtype)
        bound, norm = diagonal.max(), smallest / NYSTROM_ROWS
        critical = 2 / (bound + (BATCH - 1) * norm)
        self.step = min(1 / bound, 0.99 * critical)
        self.ZS = BACKEND.cross(KERNEL, self.Z, self.S, BANDWIDTH) @ self.V
        self.coef = np.zeros((n_centers, 1), dtype=X.dtype)

    def epoch(self, seed, scale):
        """Go through all rows once, with a multiple of the step."""
        order = np.random.default_rng(seed).permutation(len(self.X))
        block = max(1, len(self.Z) // BATCH) * BATCH
        for start in range(0, len(order), block):
            self._project(order[start : start + block], scale * self.step)

    def _project(self, rows, step):
        """Take the steps of some batches, and project their sum to the centres."""
        X, y = self.X[rows], self.y[rows]
        temporary, own = np.zeros_like(y), np.zeros((NYSTROM_ROWS, 1), dtype=y.dtype)
        h = np.zeros((len(self.Z), 1))
        for i in range(0, len(rows), BATCH):
            x = X[i : i + BATCH]
            K = BACKEND.cross(KERNEL, x, self.Z, BANDWIDTH)
            K_S = BACKEND.cross(KERNEL, x, self.S, BANDWIDTH)
            g = K @ self.coef + K_S @ own - y[i : i + BATCH]
            if i:
                g += BACKEND.cross_dot(KERNEL, x, X[:i], BANDWIDTH, temporary[:i])
            g *= np.float32(step)
            temporary[i : i + BATCH] = -g
            along = self.damping[:, None] * (self.V.T @ (K_S.T @ g))
            own += self.V @ along
            h -= K.T @ g - self.ZS @ along
        self.coef += self.factor.solve(h)


def fit_eigenpro4(X, y, n_centers):
    """Yield the number of epochs, the costs so far, and the coefficients."""
    clocks = [perf_counter(), process_time()]
    model, spent = EigenPro(X, y, n_centers), [0.0, 0.0]
    for number_of_epoch in range(1, EPOCHS[-1] + 1):
        model.epoch(number_of_epoch, LAST_STEP if number_of_epoch == EPOCHS[-1] else 1)
        now = [perf_counter(), process_time()]
        spent = [s + b - a for s, a, b in zip(spent, clocks, now, strict=True)]
        if number_of_epoch in EPOCHS:
            yield number_of_epoch, Cost(*spent), model.coef
        clocks = [perf_counter(), process_time()]


def measure(n, n_centers, solver, ridge):
    """Return the figures of a solver, by its tolerance or number of epochs."""
    X, y = make_table(n, 0)
    X_test, y_test = make_table(N_TEST, 1)
    mean, p, out = y.mean(), n_centers, {}

    def figures(coef, cost):
        predicted = mean + BACKEND.cross_dot(KERNEL, X_test, X[:p], BANDWIDTH, coef)
        return {
            "r2": float(1 - np.mean((predicted[:, 0] - y_test) ** 2) / np.var(y_test)),
            **cost.figures(),
            "gigabytes": peak_memory() / 2**30,
        }

    with own_threads(n):
        fit_cg(X[:2000], y[:2000], 100, ridge, 0.1)  # compiles
        if solver == "eigenpro4":
            for epochs, cost, coef in fit_eigenpro4(X, y - mean, p):
                out[str(epochs)] = figures(coef, cost)
        else:
            for tolerance in TOLERANCES:
                fitted = timed(fit_cg, X, y - mean, p, ridge, tolerance)
                out[str(tolerance)] = figures(*fitted)
    return out


def run(args, records):
    """Measure each solver at each number of centres, in a new process."""
    for n, p, solver in product(args.rows, args.centers, args.solvers):
        key = {"rows": n, "centers": p, "solver": solver}
        stops = EPOCHS if solver == "eigenpro4" else TOLERANCES
        if all(records.has({**key, "stop": stop}) for stop in stops):
            continue
        for stop, figures in in_new_process(measure, n, p, solver, args.ridge).items():
            records.add({**key, "stop": stop}, figures)


def report(rows, args):
    """Print the figures by the number of centres."""
    lines = []
    for (n, p), group in sorted(
        grouped(rows, "rows", "centers").items(),
        key=lambda item: list(map(int, item[0])),
    ):
        for row in group:
            figures = [number(row, name) for name in EXPERIMENT.figures]
            lines.append([n, p, row["solver"], row["stop"], *figures])
    print(format_table([*EXPERIMENT.key, *EXPERIMENT.figures], lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("rows", "centers", "solver", "stop"),
    figures=("r2", "seconds", "cpu_seconds", "gigabytes"),
    run=run,
    report=report,
    flags={"rows": (200_000,)},
    own_flags=[
        flag(
            "centers",
            (1000, 2000, 5000, 10_000),
            nargs="+",
            type=int,
            metavar="N",
            help="numbers of centres",
        ),
        flag("solvers", SOLVERS, nargs="+", choices=SOLVERS, help="only these solvers"),
        flag("ridge", 0.1, type=float, help="ridge of cg"),
    ],
    out="center_solvers.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
