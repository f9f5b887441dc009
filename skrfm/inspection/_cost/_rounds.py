"""What a round of the recursion takes: measured on few rows, scaled to many."""

from dataclasses import replace
from time import perf_counter, process_time

import numpy as np

from ..._recursion import (
    Distances,
    PreparedData,
    Workspace,
    fit_round,
    most_gradient_rows,
    next_metric,
    round_agop,
)
from ...agop import FeatureMetric
from ...solvers import DIRECT, MOST_LANDMARKS, ROWS_OF_MOST_LANDMARKS, choose_solver

# Rows that the parts of a round are measured on: few of wide tables, so that pairs of
# rows times columns take a fraction of a second, and enough for the blocks that threads
# share.
_PAIR_COLUMNS, _LEAST_ROWS, _MOST_ROWS = 5e7, 400, 1200
# Rows so few that a round takes the time of its calls of functions.
_FEW_ROWS = 20
# The rows that solvers are measured on. Factorisations of fewer rows run at a lower
# speed; the steps of conjugate gradients grow little from here on, where the tolerance
# is that of more rows.
_DIRECT_ROWS, _ITERATIVE_ROWS = 2000, 5001
# The first of the repetitions may compile or load code, and touches new memory: it took
# five times the seconds of the second. Of many rows there are fewer.
REPETITIONS, _REPETITIONS_OF_MANY = 3, 2
# Matrices of a preconditioner, whose columns are landmarks.
_PRECONDITIONER = 2
# A ridge that a factorisation takes in any precision. With one below the second, it may
# fail, and be tried again with a larger one.
_RIDGE, _LEAST_RIDGE = 0.1, 1e-3


def clocks():
    """Return the seconds on the clock, and those of the processors."""
    return np.array([perf_counter(), process_time()])


class Stopwatch:
    """The least seconds that each part took, on the clock and of the processors."""

    def __init__(self):
        self._least = {}

    def time(self, name, function, *args, **kwargs):
        """Call a function, and return what it returns."""
        began = clocks()
        result = function(*args, **kwargs)
        seconds = clocks() - began
        self._least[name] = np.minimum(self._least.get(name, np.inf), seconds)
        return result

    def __getitem__(self, name):
        return self._least[name]


def prepared_rows(data, candidate, n_rows, backend):
    """Return some of the rows of a Data, evenly spaced, prepared for a candidate."""
    rows = np.linspace(0, data.X.shape[0] - 1, n_rows).astype(int)
    data = data.subset(rows, backend)
    return PreparedData.from_data(data, candidate.fit_intercept, backend)


def _bandwidth(prepared, candidate, backend):
    """Return the bandwidth of a candidate for prepared rows."""
    return Distances().bandwidth(
        candidate, prepared.X, prepared.weight, backend, mapped=True
    )


def _gram(prepared, candidate, bandwidth, backend, reusable=None, *, solver=None):
    """Return the kernel matrix of prepared rows, as a solver needs it."""
    direct = solver is None or solver in DIRECT.values()
    make = backend.gram if direct else backend.product_gram
    return make(
        candidate.kernel,
        prepared.X,
        bandwidth,
        reusable=reusable,
        category_sizes=candidate.lookup_sizes,
    )


class RoundCosts:
    """Seconds of the parts of a round, but for the solver, of one kind of candidate.

    Parameters
    ----------
    data : Data
        The training rows, in the precision of the rounds.
    candidate : Candidate
    backend : Backend
    criterion : Criterion
        What outputs are scored by.
    """

    def __init__(self, data, candidate, backend, criterion):
        self._data = data.scaled(candidate.scaling, backend)
        self._candidate, self._backend = candidate, backend
        self._criterion = criterion
        n, d = self._data.X.shape
        most = np.clip((_PAIR_COLUMNS / d) ** 0.5, _LEAST_ROWS, _MOST_ROWS)
        self._n_rows, self._watch = min(n, int(most)), Stopwatch()
        self._few = prepared_rows(self._data, candidate, min(n, _FEW_ROWS), backend)
        prepared, gram = None, None
        for _ in range(REPETITIONS):
            prepared = self._watch.time("prepare", self._prepare)
            gram = self._run(prepared, gram)

    def _prepare(self):
        return prepared_rows(self._data, self._candidate, self._n_rows, self._backend)

    def _run(self, prepared, reusable):
        """Run the parts of a round once; return the kernel matrix."""
        time, candidate, backend = self._watch.time, self._candidate, self._backend
        time("calls", self._round_of_few_rows)
        bandwidth = time("bandwidth", _bandwidth, prepared, candidate, backend)
        gram = time("gram", _gram, prepared, candidate, bandwidth, backend, reusable)
        ridge = _RIDGE * backend.xp.ones_like(prepared.weight)
        coef = DIRECT["cholesky"](gram, prepared.Y, ridge, backend).coef
        agop = time("agop", round_agop, gram, coef, prepared.weight, candidate, backend)
        time("metric", FeatureMetric.from_agop, agop, candidate.n_components)
        outputs = time(
            "predict",
            backend.cross_dot,
            candidate.kernel,
            prepared.X,
            prepared.X,
            bandwidth,
            coef,
            category_sizes=candidate.lookup_sizes,
        )
        arrays = (a + prepared.intercept for a in (outputs, prepared.Y))
        outputs, targets = (backend.to_numpy(a).astype(np.float64) for a in arrays)
        weight = backend.to_numpy(prepared.weight).astype(np.float64)
        time("score", self._criterion.score, outputs, targets, weight)
        return gram

    def _round_of_few_rows(self):
        """Fit a round that takes hardly more than its calls of functions."""
        fitted = fit_round(
            self._few,
            replace(self._candidate, alpha=_RIDGE, solver="cholesky"),
            FeatureMetric(),
            number=0,
            backend=self._backend,
            workspace=Workspace(),
            with_agop=True,
        )
        next_metric(fitted, self._backend)

    def _gradient_rows(self, n):
        """Return the number of rows that gradients are averaged over."""
        d, c = self._data.X.shape[1], self._data.Y.shape[1]
        return min(n, most_gradient_rows(self._candidate.max_agop_samples, n, d, c))

    def preparation(self, n):
        """Return the seconds of preparing n rows, once for all rounds."""
        return self._watch["prepare"] * n / self._n_rows

    def fit(self, n, *, with_agop):
        """Return the seconds of a round on n rows, but for the solver."""
        watch, size = self._watch, self._n_rows
        seconds = watch["calls"] + watch["bandwidth"]
        seconds = seconds + watch["gram"] * (n / size) ** 2
        if with_agop:
            pairs = n * self._gradient_rows(n)
            measured = size * self._gradient_rows(size)
            seconds = seconds + watch["metric"] + watch["agop"] * pairs / measured
        return seconds

    def predict(self, n, m):
        """Return the seconds of m predictions by a machine of n rows."""
        return self._watch["predict"] * n * m / self._n_rows**2

    def score(self, m):
        """Return the seconds of one score of m outputs."""
        return self._watch["score"] * m / self._n_rows


class SolverCosts:
    """Seconds of the solver of a round, which depend little on the kernel.

    Parameters
    ----------
    data : Data
        The training rows, in the precision of the rounds.
    candidate : Candidate
    backend : Backend
    """

    def __init__(self, data, candidate, backend):
        self._data = data.scaled(candidate.scaling, backend)
        self._candidate, self._backend = candidate, backend
        self._measured = {}

    def seconds(self, n, *, leave_one_out=False):
        """Return the seconds of one solution of a system of n rows.

        A factorisation grows with the third power of the rows. A preconditioner grows
        with the second, as products with the kernel matrix do, but from some number of
        rows on with the first; it takes most of the seconds.
        """
        solver, streamed = self._choose(n, leave_one_out)
        is_direct = solver in DIRECT.values()
        most = _DIRECT_ROWS if is_direct else _ITERATIVE_ROWS
        size = min(n, most, self._data.X.shape[0])
        key = solver, streamed, leave_one_out, size
        if key not in self._measured:
            self._measured[key] = self._measure(*key)
        growth = n / size
        if is_direct:
            return self._measured[key] * growth**3
        saturated = max(min(n, ROWS_OF_MOST_LANDMARKS), size) / size
        return self._measured[key] * growth * saturated

    def memory(self, n, *, leave_one_out=False):
        """Return the bytes of the kernel matrix of n rows and of its solver."""
        solver, streamed = self._choose(n, leave_one_out)
        itemsize = self._backend.xp.finfo(self._data.X.dtype).bits // 8
        numbers = 0 if streamed else n**2
        if solver is DIRECT["eigh"]:
            numbers += 2 * n**2  # the eigenvectors, and what LAPACK works on
        elif solver not in DIRECT.values():
            numbers += _PRECONDITIONER * n * min(n, MOST_LANDMARKS)
        return itemsize * numbers

    def _choose(self, n, leave_one_out):
        """Return the solver of n rows, and whether it streams the kernel matrix."""
        row = self._data.X[:1, :]
        rows = self._backend.xp.broadcast_to(row, (n, row.shape[1]))
        candidate = self._candidate
        return choose_solver(
            candidate.solver,
            candidate.kernel,
            rows,
            self._backend,
            want_diagonal=leave_one_out,
        )

    def _measure(self, solver, streamed, leave_one_out, size):
        """Return the seconds of a solution of a system of some of the rows."""
        candidate, backend, watch = self._candidate, self._backend, Stopwatch()
        prepared = prepared_rows(self._data, candidate, size, backend)
        bandwidth = _bandwidth(prepared, candidate, backend)
        ridge = max(candidate.ridge, _LEAST_RIDGE) / prepared.weight
        options = {"want_diagonal": leave_one_out, "seed": candidate.seed}
        gram = None
        for _ in range(_REPETITIONS_OF_MANY if size > _MOST_ROWS else REPETITIONS):
            if streamed:
                gram = backend.streamed_gram(
                    candidate.kernel,
                    prepared.X,
                    bandwidth,
                    category_sizes=candidate.lookup_sizes,
                )
            else:
                gram = _gram(
                    prepared, candidate, bandwidth, backend, gram, solver=solver
                )
            watch.time("solve", solver, gram, prepared.Y, ridge, backend, **options)
        return watch["solve"]
