"""A binary tree of the rows of a table: how it is grown, and where rows go.

Each node parts its rows at a weighted quantile of one direction: the median, or what
makes leaves of equal size where their number is odd. Nothing here knows what is in the
leaves, nor where directions come from.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from scipy.special import expit

#: directions of a node that are tried before it becomes a leaf
DIRECTIONS = 5
# leaves of less than this share of a row's weight are left out
_LEAST_WEIGHT = 1e-3
# rows that a coding takes at a time
_ROWS = 16384


class Direction:
    """A direction in the rows that a coding makes of a table; None leaves them."""

    def __init__(self, vector, coding=None):
        self.vector, self.coding = vector, coding

    def positions(self, X):
        """Return where rows are along the direction."""
        vector = self.vector.astype(X.dtype)
        if self.coding is None:
            return X @ vector
        edges = [*range(0, len(X), _ROWS), len(X)]
        parts = (
            self.coding.transform(X[start:stop]) @ vector
            for start, stop in pairwise(edges)
        )
        return np.concatenate([np.empty(0, X.dtype), *parts])


@dataclass
class Leaf:
    """The end of a path: the number of its model."""

    number: int


@dataclass
class Node:
    """Rows at most at the threshold along the direction go left.

    `width` is the spread of the rows.
    """

    direction: Direction
    threshold: float
    width: float
    left: object = None
    right: object = None

    def offset(self, X):
        """Return how far rows are to the right, in units of the width."""
        return (self.direction.positions(X) - self.threshold) / self.width


def weighted_quantiles(values, weight, shares):
    """Return the least values at which shares of the weight are reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    places = np.searchsorted(reached, np.asarray(shares) * reached[-1])
    return values[order][np.minimum(places, len(order) - 1)]


def split_rows(X, weight, direction, share=0.5):
    """Return the Node that parts rows along a direction, and what goes left.

    `share` of the weight does. None if nothing would be left on one of the sides.
    """
    position = direction.positions(X)
    low, middle, high = weighted_quantiles(position, weight, (0.25, share, 0.75))
    left = position <= middle
    if left.all():  # as many rows are at the median as above it, or more
        left = position < middle
        if not left.any():
            return None
    threshold = _between(position[left].max(), position[~left].min())
    width = high - low if high > low else position.max() - position.min()
    return Node(direction, float(threshold), float(width)), left


def _between(low, high):
    """Return what is between two numbers, as far from both as can be, or the lower."""
    middle = low + (high - low) / 2
    return middle if middle < high else low


def principal_directions(metric):
    """Return the eigenvectors of a metric as rows, that of the largest value first.

    Their signs are fixed: the entry of the largest size is positive.
    """
    vectors = np.linalg.eigh(np.asarray(metric, dtype=np.float64))[1].T[::-1]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return vectors * signs[:, None]


def grow(X, weight, most, directions_of):
    """Return the root of a tree, and the rows of each leaf.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    most : int
        The largest number of rows of a leaf.
    directions_of : callable
        Of the rows of some nodes, in a list: for each its Directions, the best first. A
        node that none of them splits is a leaf.

    Returns
    -------
    tuple of Node or Leaf, and list of ndarray
    """
    top, leaves = Node(None, 0.0, 1.0), []
    level = [(top, "left", np.arange(len(X)))]
    while level:
        large = [rows for _, _, rows in level if len(rows) > most]
        directions = iter(directions_of(large) if large else [])
        following = []
        for parent, side, rows in level:
            split = None
            if len(rows) > most:
                split = _first_split(X, weight, rows, next(directions), most)
            if split is None:
                setattr(parent, side, Leaf(len(leaves)))
                leaves.append(rows)
                continue
            node, left = split
            setattr(parent, side, node)
            following += [(node, "left", rows[left]), (node, "right", rows[~left])]
        level = following
    return top.left, leaves


def _first_split(X, weight, rows, directions, most):
    """Return the split along the first direction that there is one for, or None."""
    part, part_weight = X[rows], weight[rows]
    n_leaves = ceil(len(rows) / most)
    # rounded down, for no row too many would go left
    share = (n_leaves // 2 / n_leaves) * (1 - 1e-9)
    for direction in directions[:DIRECTIONS]:
        split = split_rows(part, part_weight, direction, share)
        if split is not None:
            return split
    return None


def route(root, X, temperature):
    """Return (leaf number, rows, weights) of all leaves that some of the rows reach.

    Parameters
    ----------
    root : Node or Leaf
    X : ndarray of shape (n, d)
    temperature : float
        0 sends each row to one leaf. Else both sides of a node get a share of it, a
        logistic function of its offset by the temperature.

    Returns
    -------
    list of tuple
        Weights of a row sum to 1 over the leaves.
    """
    found = []
    stack = [(root, np.arange(len(X)), np.ones(len(X)))]
    while stack:
        node, rows, weight = stack.pop()
        if not len(rows):
            continue
        if isinstance(node, Leaf):
            found.append((node.number, rows, weight))
            continue
        offset = node.offset(X[rows])
        if temperature > 0:
            share = expit(offset / temperature)
        else:
            share = (offset > 0).astype(float)
        for side, own in ((node.left, 1 - share), (node.right, share)):
            kept = (own >= 0.5) | (weight * own > _LEAST_WEIGHT)
            stack.append((side, rows[kept], (weight * own)[kept]))
    total = np.zeros(len(X))
    for _, rows, weight in found:
        total[rows] += weight
    return sorted(
        ((number, rows, weight / total[rows]) for number, rows, weight in found),
        key=lambda part: part[0],
    )
