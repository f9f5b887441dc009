"""Products of batches of rows of a kernel matrix with coefficients, over epochs."""

from itertools import pairwise

from .._backend import Array, Backend, for_each

# Bytes of kernel values that are cached: memory against computing them in every epoch.
# EigenPro is 5 to 7 times as fast as Cholesky at 20 000 rows (benchmarks/solvers.py).
CACHE_BYTES = 3e9
# Columns of a cached block in one product: the unit of work of a thread.
_COLUMNS = 2048


class CachedKernelRows:
    """Batches of rows of a streamed K times coefficients that start at zero.

    In the first epoch the coefficients of rows that no batch has updated yet are zero,
    except the first `n_first`, so the columns up to the end of the batch suffice: one
    triangle of K. These blocks are cached as far as memory allows, and since K is
    symmetric, they give later epochs the columns after the batch as well.

    Batches are slices of consecutive rows, the same ones in the same order in every
    epoch.

    Parameters
    ----------
    gram : streamed Gram
        K.
    n_first : int
        Number of the first coefficients, which every batch may update.
    backend : Backend
    """

    def __init__(self, gram, n_first: int, backend: Backend):
        self._gram, self._n_first, self._n = gram, n_first, gram.T.shape[0]
        # coefficients from here on are still zero
        self._n_updated = n_first
        self._blocks = {}
        bits = int(backend.xp.finfo(gram.T.dtype).bits)
        # a triangle of so many rows has half of their square in values
        n_rows = min(self._n, int((2 * 8 * CACHE_BYTES / bits) ** 0.5))
        fits = backend.fits_in_memory(gram.T[:n_rows, :])
        self._n_cached = n_rows if fits else 0

    def product(self, rows: slice, coef: Array) -> tuple[Array, Array]:
        """Return the product of a batch of rows, and its first columns.

        Parameters
        ----------
        rows : slice
            The batch.
        coef : array of shape (n, c)

        Returns
        -------
        product : array of shape (m, c)
            K[rows] @ coef.
        first : array of shape (m, n_first)
            K[rows, :n_first].
        """
        if rows.start in self._blocks:
            return self._cached_product(rows, coef)
        self._n_updated = max(self._n_updated, rows.stop)
        cached = rows.stop <= self._n_cached
        width = self._n_updated if cached else self._n_first
        updated = coef[: self._n_updated, :]
        product, block = self._gram.rows_product(rows, updated, width)
        if cached:
            self._blocks[rows.start] = rows, block
        return product, block[:, : self._n_first]

    def _cached_product(self, rows, coef):
        """Return the same from the cached blocks; columns beyond them are computed."""
        _, block = self._blocks[rows.start]
        width = block.shape[1]
        end, parts = width, []
        for start, stop in pairwise([*range(0, width, _COLUMNS), width]):
            parts.append((block[:, start:stop], slice(start, stop)))
        for other_rows, other in self._blocks.values():
            if other_rows.stop > width:
                start, end = max(other_rows.start, width), other_rows.stop
                values = other[start - other_rows.start :, rows].T
                parts.append((values, slice(start, end)))
        products = for_each(lambda part: part[0] @ coef[part[1], :], parts)
        product = sum(products)
        if end < self._n:
            product += self._gram.rows_product(rows, coef[end:, :], start=end)[0]
        return product, block[:, : self._n_first]
