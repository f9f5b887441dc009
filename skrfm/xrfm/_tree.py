"""A binary tree that partitions the rows of a table, and the weights of its leaves.

Each node splits its rows at a weighted quantile along one direction: the median, or the
quantile that gives leaves of equal size where their number is odd. Directions come from
the caller, and leaves are numbers.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from scipy.linalg import block_diag
from scipy.special import expit

from .._backend import Array, BoolArray, FloatArray, IntArray
from .._tables import Coding

#: The most directions that are tried at a node. The best of five is better than the
#: first: clearly on a made-up table, a little on real ones (benchmarks/splits.py).
DIRECTIONS = 5
# Up to so many columns all directions are found, by an eigendecomposition of a square
# matrix; more columns would take time that grows as their third power.
_ALL_DIRECTIONS = 500
# Weights of a row in a leaf below this are dropped, which bounds the number of leaves
# that predict a row.
_LEAST_WEIGHT = 1e-3
# Rows that are projected at a time, which bounds the memory for levels of categories.
_BLOCK_ROWS = 16384
# The share of a side is rounded down by this: else rounding errors of the cumulative
# weights may send a row too many to the left.
_ROUNDING = 1e-9
# Positions along several columns that differ by a smaller share of their size are the
# same: the sum of the levels of a category is 1 for all rows, but for rounding errors.
_SAME_POSITION = 1e-12


@dataclass(frozen=True)
class Direction:
    """A direction in the space of encoded rows.

    Attributes
    ----------
    vector : ndarray of shape (n_columns,)
    coding : Coding or None
        From the rows of the table to those that the vector applies to; None where they
        are the same.
    sharp : bool
        Whether each row is predicted by one side, whatever the temperature.
    """

    vector: FloatArray
    coding: Coding | None = None
    sharp: bool = False

    def encoded(self, X):
        """Return the rows that the vector applies to."""
        return X if self.coding is None else self.coding.transform(X)

    def positions(self, X):
        """Return the projections (n,) of rows on the direction, in float64.

        Each row is summed by itself: sums by BLAS may depend on the number of rows, and
        a row near a threshold could go another way when it is read in another batch.
        """
        vector = self.vector.astype(np.float64)
        edges = [*range(0, len(X), _BLOCK_ROWS), len(X)]
        blocks = (
            np.einsum("ij,j->i", self.encoded(X[start:stop]), vector)
            for start, stop in pairwise(edges)
        )
        return np.concatenate([np.empty(0), *blocks])


@dataclass
class Leaf:
    """A leaf of the tree.

    Attributes
    ----------
    number : int
        Its index among the leaves.
    """

    number: int


@dataclass
class Node:
    """An inner node of the tree.

    Attributes
    ----------
    direction : Direction
    threshold : float
        Rows go left whose position along the direction is at most this.
    width : float
        The interquartile range of the positions of the training rows.
    left, right : Node, Leaf or None
        The children; None before the tree is complete.
    """

    direction: Direction
    threshold: float
    width: float
    left: "Node | Leaf | None" = None
    right: "Node | Leaf | None" = None

    def offset(self, X):
        """Return the distances of rows to the right of the threshold, in widths."""
        return (self.direction.positions(X) - self.threshold) / self.width

    def share_of_right(self, X, temperature):
        """Return the weights of the right side in the predictions of rows."""
        offset = self.offset(X)
        if temperature > 0 and not self.direction.sharp:
            return expit(offset / temperature)
        return (offset > 0).astype(float)

    def slopes_of_right(self, share, temperature, is_number):
        """Return the gradients (n, d) of `share_of_right`, given its values (n,).

        Parameters
        ----------
        share : ndarray of shape (n,)
        temperature : float
        is_number : boolean ndarray of shape (d,)
            The columns of numbers, in which positions along the direction are linear.
            Those of the others have no gradient.
        """
        slopes = np.zeros((len(share), len(is_number)))
        if is_number.any() and temperature > 0 and not self.direction.sharp:
            units = np.eye(len(is_number))[is_number]
            ends = self.direction.positions(np.concatenate([units, -units]))
            first, last = np.split(ends, 2)
            by_offset = share * (1 - share) / (temperature * self.width)
            slopes[:, is_number] = np.outer(by_offset, (first - last) / 2)
        return slopes


@dataclass(frozen=True)
class LeafRows:
    """The rows that reach a leaf.

    Attributes
    ----------
    number : int
        The index of the leaf.
    rows : ndarray of shape (m,)
        The indices of the rows.
    weight : ndarray of shape (m,)
        The weights of the leaf in the predictions of these rows.
    slopes : ndarray of shape (m, n_columns)
        The gradients of these weights; no columns where they are not asked for.
    """

    number: int
    rows: IntArray
    weight: FloatArray
    slopes: FloatArray


@dataclass(frozen=True)
class _Branch:
    """Rows whose Node or Leaf is still to be made, and where it belongs."""

    rows: IntArray
    parent: Node | None = None
    side: str = ""

    def attach(self, child):
        """Make a Node or Leaf the child of the parent, and return it."""
        if self.parent is not None:
            setattr(self.parent, self.side, child)
        return child


def halved_to(most, n_rows):
    """Return n_rows, halved and rounded up until it is at most `most`."""
    while n_rows > most:
        n_rows = -(-n_rows // 2)
    return n_rows


def weighted_quantiles(values, weight, shares):
    """Return the smallest values at which shares of the total weight are reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    indices = np.searchsorted(reached, np.asarray(shares) * reached[-1])
    return values[order][np.minimum(indices, len(order) - 1)]


def split_rows(
    X: Array, weight: FloatArray, direction: Direction, *, share: float = 0.5
) -> tuple[Node, BoolArray] | None:
    """Return the Node that splits rows along a direction, and which rows go left.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    direction : Direction
    share : float, default=0.5
        The share of the weight that goes left.

    Returns
    -------
    tuple of (Node, boolean ndarray of shape (n,)) or None
        None if one side would be empty, or positions differ by rounding errors only.
    """
    position = direction.positions(X)
    errors = _SAME_POSITION if len(direction.vector) > 1 else 0.0
    if np.ptp(position) <= errors * np.abs(position).max():
        return None
    low, middle, high = weighted_quantiles(position, weight, (0.25, share, 0.75))
    left = position <= middle
    if left.all():  # the quantile is the largest position: ties with it go right
        left = position < middle
        if not left.any():
            return None
    # between the rows: with a threshold on a row, soft routing shares all rows that are
    # tied with it half and half
    threshold = midpoint(position[left].max(), position[~left].min())
    width = high - low if high > low else position.max() - position.min()
    return Node(direction, float(threshold), float(width)), left


def midpoint(low, high):
    """Return the midpoint of two numbers, or the lower if rounding gives the upper."""
    middle = low + (high - low) / 2
    return middle if middle < high else low


def principal_directions(root, weights=None):
    """Return eigenvectors of RᵀR as rows, by decreasing eigenvalue.

    Their signs are fixed: the entry of largest absolute value is positive.

    Parameters
    ----------
    root : ndarray of shape (k, d) or (d,)
        R, or the diagonal of a diagonal R.
    weights : ndarray of shape (l,), default=None
        The diagonal of R for l more columns, which are not mixed with the others.

    Returns
    -------
    ndarray of shape (m, d + l)
        All eigenvectors of few columns; of many the first `DIRECTIONS` at most.
    """
    root = np.asarray(root, dtype=np.float64)
    weights = np.zeros(0) if weights is None else np.asarray(weights, np.float64)
    if root.ndim == 1:
        root, weights = np.zeros((0, 0)), root
    d, n_columns = root.shape[1], root.shape[1] + len(weights)
    if n_columns <= _ALL_DIRECTIONS or (len(root) >= d and len(weights) == 0):
        whole: Array = root
        if len(weights) > 0:
            whole = block_diag(root, np.diag(weights))
        return _with_signs(np.linalg.eigh(whole.T @ whole)[1].T[::-1])
    values, vectors = np.zeros(0), root
    if root.size > 0:
        _, values, vectors = np.linalg.svd(root, full_matrices=False)
    axes = np.argsort(-weights, kind="stable")[:DIRECTIONS]
    directions = np.zeros((len(values) + len(axes), n_columns))
    directions[: len(values), :d] = vectors
    directions[np.arange(len(values), len(directions)), d + axes] = 1
    order = np.argsort(-np.concatenate([values, weights[axes]]), kind="stable")
    return _with_signs(directions[order[:DIRECTIONS]])


def _with_signs(vectors):
    """Return vectors whose entries of largest absolute value are positive."""
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return vectors * signs[:, None]


def grow(X, weight, *, max_rows, find_directions):
    """Grow a tree.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    max_rows : int
        The largest number of rows of a leaf.
    find_directions : callable
        Maps a list of the row indices of some nodes to a list with the Directions of
        each node, the best first. A node that no direction splits is a leaf.

    Returns
    -------
    root : Node or Leaf
    leaves : list of ndarray
        The row indices of each leaf.
    """
    root, leaves = None, []
    level = [_Branch(np.arange(len(X)))]
    while level:
        large = [branch.rows for branch in level if len(branch.rows) > max_rows]
        directions = iter(find_directions(large) if large else [])
        next_level = []
        for branch in level:
            rows, split = branch.rows, None
            if len(rows) > max_rows:
                n_leaves = ceil(len(rows) / max_rows)
                split = first_split(X[rows], weight[rows], next(directions), n_leaves)
            if split is None:
                child = branch.attach(Leaf(len(leaves)))
                leaves.append(rows)
            else:
                child, left = split
                branch.attach(child)
                next_level.append(_Branch(rows[left], child, "left"))
                next_level.append(_Branch(rows[~left], child, "right"))
            root = child if root is None else root
        level = next_level
    return root, leaves


def first_split(X, weight, directions, n_leaves):
    """Return the split along the first direction that has one, or None."""
    share = (n_leaves // 2 / n_leaves) * (1 - _ROUNDING)
    for direction in directions[:DIRECTIONS]:
        split = split_rows(X, weight, direction, share=share)
        if split is not None:
            return split
    return None


def route(
    root: Node | Leaf | None,
    X: Array,
    temperature: float,
    *,
    is_number: BoolArray | None = None,
) -> list[LeafRows]:
    """Return the rows that reach each leaf, with their weights there.

    Parameters
    ----------
    root : Node or Leaf
    X : ndarray of shape (n, d)
    temperature : float
        With 0 a row reaches one leaf. Otherwise a node divides the weight of a row
        between its sides by the logistic function of offset / temperature.
    is_number : boolean ndarray of shape (d,), default=None
        The columns of numbers, for gradients of the weights; None computes none.

    Returns
    -------
    list of LeafRows
        One for each leaf that is reached, by number. The weights of a row sum to 1.
    """
    is_number = np.zeros(0, dtype=bool) if is_number is None else is_number
    reached, slopes = [], np.zeros((len(X), len(is_number)))
    stack: list[tuple] = [(root, np.arange(len(X)), np.ones(len(X)), slopes)]
    while stack:
        node, rows, weight, slopes = stack.pop()
        if len(rows) == 0:
            continue
        if isinstance(node, Leaf):
            reached.append(LeafRows(node.number, rows, weight, slopes))
            continue
        right = node.share_of_right(X[rows], temperature)
        change = node.slopes_of_right(right, temperature, is_number)
        for child, share, sign in ((node.left, 1 - right, -1), (node.right, right, 1)):
            # the larger side is always followed, so that every row reaches a leaf
            kept = (share >= 0.5) | (weight * share > _LEAST_WEIGHT)
            along = slopes * share[:, None] + sign * weight[:, None] * change
            stack.append((child, rows[kept], (weight * share)[kept], along[kept]))
    reached.sort(key=lambda leaf: leaf.number)
    return _normalised(reached, len(X), len(is_number))


def _normalised(reached, n_rows, n_columns):
    """Return LeafRows whose weights sum to 1 for each row, some having been dropped."""
    total, slopes = np.zeros(n_rows), np.zeros((n_rows, n_columns))
    for leaf in reached:
        total[leaf.rows] += leaf.weight
        slopes[leaf.rows] += leaf.slopes
    found = []
    for leaf in reached:
        share = leaf.weight / total[leaf.rows]
        change = leaf.slopes - share[:, None] * slopes[leaf.rows]
        change /= total[leaf.rows, None]
        found.append(LeafRows(leaf.number, leaf.rows, share, change))
    return found
