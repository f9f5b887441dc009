"""Angles between rows, to all digits where they are nearly parallel or opposite.

With θ the angle of two rows, om = 1 − cos θ and op = 1 + cos θ.
"""

# Cosines beyond this size get om or op from differences of unit vectors: 1 − cos would
# lose digits. The compiled loops have the same bound.
_NEAR = 0.99
# The most elements of an array of differences: a bound on memory.
_MOST_ELEMENTS = 1 << 22


class Directions:
    """Rows as unit vectors and squared norms.

    Parameters
    ----------
    X : array of shape (n, d)
    xp : namespace

    Attributes
    ----------
    units : array of shape (n, d)
        Rows of norm 1, or 0 where X is.
    squares : array of shape (n,)
        Squared norms.
    """

    def __init__(self, X, xp):
        self.squares = xp.sum(X * X, axis=1)
        norms = xp.sqrt(self.squares)
        self.units = X / xp.where(norms > 0, norms, xp.ones_like(norms))[:, None]

    def take(self, rows):
        """Return the directions of some rows, a slice or an array of indices."""
        taken = object.__new__(Directions)
        taken.squares, taken.units = self.squares[rows], self.units[rows, ...]
        return taken


def gaps(T, Z, xp):
    """Return om and op of all pairs of rows, and the squared norms of the rows.

    Parameters
    ----------
    T : Directions of m rows
    Z : Directions of n rows
    xp : namespace

    Returns
    -------
    om, op : arrays of shape (m, n)
    a : array of shape (m, 1)
    c : array of shape (1, n)
    """
    cos = T.units @ Z.units.T
    om, op = _gap(cos, T, Z, 1, xp), _gap(-cos, T, Z, -1, xp)
    return om, op, T.squares[:, None], Z.squares[None, :]


def _gap(cos, T, Z, sign, xp):
    """Return 1 − cos, from ½‖u − sign · v‖² where that is small."""
    gap, near = 1 - cos, cos > _NEAR
    i, j = xp.nonzero(near)
    count, step = i.shape[0], max(1, _MOST_ELEMENTS // max(T.units.shape[1], 1))
    exact = []
    for start in range(0, count, step):
        pairs = slice(start, min(start + step, count))
        u, v = xp.take(T.units, i[pairs], axis=0), xp.take(Z.units, j[pairs], axis=0)
        exact.append(xp.sum((u - sign * v) ** 2, axis=1) / 2)
    if count:
        gap[near] = xp.concat(exact)
    return gap


def inner_gradients(kernel, T, Z, bandwidth, xp):
    """Return (value, W, D) of all pairs of Directions: ∇_t k(t, z) = D t − W z."""
    om, op, a, c = gaps(T, Z, xp)
    value, by_product, by_square = kernel.gradient_of_angles(om, op, a, c, xp)
    scale = bandwidth**-2
    return value, -scale * by_product, 2 * scale * by_square


def self_pairs(kernel, T, bandwidth, xp):
    """Return the value and W of each row with itself."""
    zero = xp.zeros_like(T.squares)
    value, by_product, _ = kernel.gradient_of_angles(
        zero, 2 + zero, T.squares, T.squares, xp
    )
    return value, -by_product / bandwidth**2


def self_values(kernel, T, bandwidth, xp):
    """Return the kernel of each row with itself, 1 for kernels of a distance."""
    if not kernel.of_inner_products:
        return xp.ones_like(T[:, 0])
    rows = Directions(kernel.augment(T, bandwidth, xp), xp)
    return self_pairs(kernel, rows, bandwidth, xp)[0]
