"""Batches of rows of a kernel matrix by coefficients, epoch after epoch."""

from itertools import pairwise

from .._backend import for_each

# bytes of kernel values that are kept
_KEPT = 3e9
# columns of a kept batch that are taken at a time
_COLUMNS = 2048


class KernelRows:
    """Batches of rows of a streamed K by coefficients that start from zero.

    Where no batch has come yet coefficients are zero, but for the first few. So the
    first epoch takes only what is left of the diagonal of K. As much of that as there
    is room for is kept, and K is symmetric: it serves later epochs for the rest, too.

    Parameters
    ----------
    gram : streamed Gram
        K.
    n_first : int
        The first columns: coefficients that any batch may change.
    backend : backend
    """

    def __init__(self, gram, n_first, backend):
        self._gram, self._n_first, self._n = gram, n_first, gram.T.shape[0]
        self._visited, self._blocks = n_first, {}
        bits = int(backend.xp.finfo(gram.T.dtype).bits)
        most = min(self._n, int((2 * 8 * _KEPT / bits) ** 0.5))
        self._most = most if backend.fits_in_memory(gram.T[:most, :]) else 0

    def product(self, rows, coef):
        """Return K[rows] @ coef, and the first columns of K[rows], for a slice."""
        if rows.start in self._blocks:
            return self._kept_product(rows, coef)
        self._visited = max(self._visited, rows.stop)
        keep = rows.stop <= self._most
        width = self._visited if keep else self._n_first
        V = coef[: self._visited, :]
        out, block = self._gram.rows_product(rows, V, width)
        if keep:
            self._blocks[rows.start] = rows, block
        return out, block[:, : self._n_first]

    def _kept_product(self, rows, coef):
        own = self._blocks[rows.start][1]
        end = width = own.shape[1]
        edges = list(pairwise([*range(0, width, _COLUMNS), width]))
        parts = [(own[:, i:j], slice(i, j)) for i, j in edges]
        for below, block in self._blocks.values():
            if below.stop > width:
                first, end = max(below.start, width), below.stop
                part = block[first - below.start :, rows].T
                parts.append((part, slice(first, end)))
        out = sum(for_each(lambda part: part[0] @ coef[part[1], :], parts))
        if end < self._n:
            out += self._gram.rows_product(rows, coef[end:, :], start=end)[0]
        return out, own[:, : self._n_first]
