"""Products with a symmetric matrix that is held in one triangle of a square buffer.

A BLAS packs the matrix anew for each product, which takes longer than the product
where there are few columns.
"""

from ._compile import jit

# rows that share the loads of a tile, and its columns: they fit the first cache
_ROWS, _COLUMNS = 32, 1024


@jit
def _row(packed, i, j0, j1, V, out):
    """Add what the pairs of row i with the columns j0… give both of them."""
    a = packed[i, j0:j1]
    for c in range(V.shape[0]):
        v, other, own = V[c, j0:j1], out[c, j0:j1], V[c, i]
        total = packed.dtype.type(0)
        for j in range(a.size):
            total += a[j] * v[j]
            other[j] += a[j] * own
        out[c, i] += total


@jit
def _four_rows(packed, i, j0, j1, V, out):
    """Do the same for four rows, which takes half the loads and stores."""
    a0, a1 = packed[i, j0:j1], packed[i + 1, j0:j1]
    a2, a3 = packed[i + 2, j0:j1], packed[i + 3, j0:j1]
    for c in range(V.shape[0]):
        v, other = V[c, j0:j1], out[c, j0:j1]
        v0, v1, v2, v3 = V[c, i], V[c, i + 1], V[c, i + 2], V[c, i + 3]
        t0 = t1 = t2 = t3 = packed.dtype.type(0)
        for j in range(v.size):
            t0 += a0[j] * v[j]
            t1 += a1[j] * v[j]
            t2 += a2[j] * v[j]
            t3 += a3[j] * v[j]
            other[j] += (a0[j] * v0 + a1[j] * v1) + (a2[j] * v2 + a3[j] * v3)
        out[c, i] += t0
        out[c, i + 1] += t1
        out[c, i + 2] += t2
        out[c, i + 3] += t3


@jit
def triangle_product(packed, i0, i1, upper, V, out):
    """Add the part of A @ V.T that comes from rows i0… to i1 to the transpose of `out`.

    A row has its entries right of the diagonal if `upper`, else left, and each counts
    for both of its places; the diagonal is left out. `V` and `out` are (c, n).
    """
    n = packed.shape[0]
    for b0 in range(i0, i1, _ROWS):
        b1 = min(b0 + _ROWS, i1)
        whole = b1 - (b1 - b0) % 4
        low, high = (b1, n) if upper else (0, b0)
        for j0 in range(low, high, _COLUMNS):
            j1 = min(j0 + _COLUMNS, high)
            for i in range(b0, whole, 4):
                _four_rows(packed, i, j0, j1, V, out)
            for i in range(whole, b1):
                _row(packed, i, j0, j1, V, out)
        for i in range(b0, b1):
            j0, j1 = (i + 1, b1) if upper else (b0, i)
            _row(packed, i, j0, j1, V, out)
