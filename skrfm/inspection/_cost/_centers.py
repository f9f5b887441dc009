"""What a round of a machine with fewer centres than rows takes."""

from dataclasses import replace

from ..._recursion import (
    clustered_rows,
    fit_centers,
    most_gradient_rows,
    place_centers,
    size_of_round,
)
from ..._tables import BYTES_OF_PAIR
from ...agop import AgopOptions, FeatureMetric, average_gradient_outer_product
from ...solvers import expected_steps, sample_size
from ._rounds import REPETITIONS, Stopwatch, prepared_rows

# The rows and centres that the parts are measured on, and rows of gradients. With fewer
# centres a factorisation runs at a lower speed.
_ROWS, _CENTERS, _GRADIENT_ROWS = 3000, 1500, 500
# Products of a pass beside those of the steps: with the targets, and the first one.
_FURTHER_PASSES = 1.0
# Copies of a block of rows in float64 while it is read and encoded.
_BLOCK_COPIES = 5


class CenterCosts:
    """Seconds and memory of the rounds of a machine of few centres.

    Parameters
    ----------
    data : Data
        The training rows, or a sample of them.
    candidate : Candidate
    backend : Backend
    """

    def __init__(self, data, candidate, backend):
        self._data, self._candidate = data.scaled(candidate.scaling, backend), candidate
        self._backend, self._watch = backend, Stopwatch()
        self._n = min(_ROWS, data.X.shape[0])
        self._p = min(_CENTERS, candidate.n_centers, max(1, self._n // 2))
        self._m = min(_GRADIENT_ROWS, self._n)
        for _ in range(REPETITIONS):
            self._measure()
        if data.blocks is not None:
            self._watch.time("read", self._read)

    def _measure(self):
        """Run the parts of a round once."""
        time, backend = self._watch.time, self._backend
        candidate = replace(self._candidate, n_centers=self._p)
        if candidate.centers == "given":
            candidate = replace(candidate, centers="random")
        prepared = prepared_rows(self._data, candidate, self._n, backend)
        prepared = replace(prepared, centers=None)
        fitted = fit_centers(prepared, candidate, FeatureMetric(), backend, early=True)
        if candidate.centers == "kmeans":
            given = prepared, candidate, FeatureMetric(), backend
            time("cluster", place_centers, *given, n_centers=self._p)
        gram = backend.cross_gram(
            candidate.kernel,
            prepared.X,
            fitted.Z,
            fitted.bandwidth,
            category_sizes=candidate.lookup_sizes,
        )
        coef = fitted.solution.coef
        time("product", gram.normal_product, prepared.weight, coef)
        H = time("matrix", gram.normal_matrix, prepared.weight)
        time("factor", backend.factorize, H, float(self._n))
        time("agop", self._agop, prepared, candidate, fitted)

    def _agop(self, prepared, candidate, fitted):
        gram, coef, rows, weight = fitted.gradients(
            prepared, candidate, self._m, self._backend
        )
        options = AgopOptions(
            diagonal=candidate.diagonal, rows=rows, n_unmixed=candidate.n_unmixed
        )
        return average_gradient_outer_product(
            gram, coef, weight, backend=self._backend, options=options
        )

    def _read(self):
        """Read and encode the first block of the rows."""
        blocks = self._data.blocks
        value = next(iter(blocks.source.batches(blocks.size)))
        self._rows_read = value.X.shape[0]
        for step in blocks.steps:
            value = step(value)

    def round(self, n, *, early, with_agop, n_centers=None):
        """Return the seconds of a round on n rows, by default with all centres."""
        watch, p = self._watch, n_centers or self._candidate.n_centers
        n, p, tolerance = size_of_round(n, min(p, n), early=early)
        streamed = self._data.blocks is not None and not early
        held = self._data.X.shape[0]
        size = min(sample_size(n, p, tolerance), held) if p < n else 0
        steps = max(1.0, expected_steps(n, p, size, tolerance)) if p < n else 1.0
        passes = steps + _FURTHER_PASSES
        seconds = passes * watch["product"] * n * p / (self._n * self._p)
        if size:
            of_matrix = (size + p) * p**2 / (self._n * self._p**2)
            seconds = seconds + watch["matrix"] * of_matrix
        seconds = seconds + watch["factor"] * (p / self._p) ** 3
        if streamed:
            seconds = seconds + passes * watch["read"] * n / self._rows_read
        if self._candidate.centers == "kmeans" and not early:
            pairs = p * clustered_rows(held, p)
            measured = self._p * clustered_rows(self._n, self._p)
            seconds = seconds + watch["cluster"] * pairs / measured
        if with_agop:
            d, c = self._data.X.shape[1], self._data.Y.shape[1]
            m = min(n, most_gradient_rows(self._candidate.max_agop_samples, n, d, c))
            seconds = seconds + watch["agop"] * m * p / (self._m * self._p)
        return seconds

    def memory(self):
        """Return the bytes that a round holds, beside the rows."""
        held = BYTES_OF_PAIR * self._candidate.n_centers**2
        if self._data.blocks is not None:
            numbers = self._data.blocks.size * self._data.X.shape[1]
            held += _BLOCK_COPIES * 8 * numbers
        return held
