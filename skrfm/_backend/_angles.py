"""Angles between rows, to all digits where they are nearly parallel or opposite."""

# beyond this size of the cosine, gaps come from differences of unit vectors
_NEAR = 0.99
# elements of the largest temporary
_BLOCK = 1 << 22


class Directions:
    """Rows as unit vectors and square norms."""

    def __init__(self, X, xp):
        self.squares = xp.sum(X * X, axis=1)
        norms = xp.sqrt(self.squares)
        self.units = X / xp.where(norms > 0, norms, xp.ones_like(norms))[:, None]

    def part(self, rows):
        """Return those of some rows, a slice or an array of indices."""
        other = object.__new__(Directions)
        other.squares, other.units = self.squares[rows], self.units[rows, ...]
        return other


def gaps(T, Z, xp):
    """Return om = 1 − cos and op = 1 + cos of all pairs of rows, and their squares.

    The squares are (m, 1) and (1, n) arrays of the square norms.
    """
    cos = T.units @ Z.units.T
    om, op = _gap(cos, T, Z, 1, xp), _gap(-cos, T, Z, -1, xp)
    return om, op, T.squares[:, None], Z.squares[None, :]


def _gap(cos, T, Z, sign, xp):
    """Return 1 − cos, from ½‖u − sign · v‖² where that is small."""
    gap, near = 1 - cos, cos > _NEAR
    i, j = xp.nonzero(near)
    count, step = i.shape[0], max(1, _BLOCK // max(T.units.shape[1], 1))
    exact = []
    for start in range(0, count, step):
        pairs = slice(start, min(start + step, count))
        u, v = xp.take(T.units, i[pairs], axis=0), xp.take(Z.units, j[pairs], axis=0)
        exact.append(xp.sum((u - sign * v) ** 2, axis=1) / 2)
    if count:
        gap[near] = xp.concat(exact)
    return gap


def inner_gradients(kernel, T, Z, bandwidth, xp):
    """Return (value, W, D) of all pairs: ∇_t k(t, z) = D t − W z."""
    value, by_product, by_square = kernel.gradient_of_angles(*gaps(T, Z, xp), xp)
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
    """Return the kernel of each row with itself; that of no distance is 1."""
    if not kernel.of_inner_products:
        return xp.ones_like(T[:, 0])
    rows = Directions(kernel.augment(T, bandwidth, xp), xp)
    return self_pairs(kernel, rows, bandwidth, xp)[0]
