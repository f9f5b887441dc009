"""The rules of the nodes of a tree, set anew by the errors of its fitted leaves."""

from dataclasses import replace

import numpy as np

from ._leaves import leaf_outputs
from ._refine import OutputPair, as_columns, refined, scale_of
from ._tree import Leaf, midpoint, route

# Rows of a node that its rule is found on after leaves are fitted, and the fewest.
_ROUTED_ROWS, _LEAST_ROUTED_ROWS = 40_000, 1000


def reroute(root, models, data, classes, *, temperature, seed):
    """Set the rules of the nodes of a tree by the errors of its fitted leaves.

    From the leaves up: a node gets the direction and the threshold that send each row
    to the side whose leaves err less, if that lowers the error of other rows. Leaves
    must not interpolate their rows.

    Parameters
    ----------
    root : Node or Leaf
    models : list
        The models of the leaves.
    data : LeafData
    classes : ndarray or None
        The numbers of the classes.
    temperature : float
    seed : int
    """
    rng = np.random.default_rng(seed)
    scale = scale_of(data.y, data.weight, classes)

    def outputs(child, X):
        total = np.zeros((len(X), len(scale)))
        for leaf in route(child, X, temperature):
            found = leaf_outputs(models[leaf.number], X[leaf.rows], classes)
            total[leaf.rows] += leaf.weight[:, None] * found
        return total / scale

    def visit(node, rows):
        if isinstance(node, Leaf):
            return
        right = node.offset(data.X[rows]) > 0
        visit(node.left, rows[~right])
        visit(node.right, rows[right])
        if len(rows) >= _LEAST_ROUTED_ROWS:
            chosen = data.subset(rng.permutation(rows)[:_ROUTED_ROWS])
            pair = OutputPair(
                outputs(node.left, chosen.X),
                outputs(node.right, chosen.X),
                as_columns(chosen.y, classes) / scale,
                chosen.weight,
            )
            _set_rule(node, chosen.X, pair, temperature)

    visit(root, np.arange(len(data)))


def _set_rule(node, X, pair, temperature):
    """Give a node the rule that half of some rows tell, if the other half agrees."""
    half = len(X) // 2
    fitted, unseen = pair.subset(slice(half)), pair.subset(slice(half, None))
    direction = refined(node.direction, X[:half], fitted)
    position = direction.positions(X[:half])
    low, high = np.quantile(position, (0.25, 0.75))
    if high == low:
        return
    threshold = best_threshold(position, fitted.gain * fitted.weight)
    rule = replace(node, direction=direction, threshold=threshold, width=high - low)
    sharp = unseen.is_sharp(rule.offset(X[half:]), temperature)
    rule.direction = replace(direction, sharp=sharp)
    before, after = (
        unseen.error(each.share_of_right(X[half:], temperature))
        for each in (node, rule)
    )
    if after < before:
        node.direction, node.threshold = rule.direction, rule.threshold
        node.width = rule.width


def best_threshold(position, gain):
    """Return the threshold with the largest sum of gains beyond it.

    Parameters
    ----------
    position : ndarray of shape (m,)
        At least two different numbers.
    gain : ndarray of shape (m,)
        What is gained where a row is to the right of the threshold.
    """
    order = np.argsort(position, kind="stable")
    position, lost = position[order], np.cumsum(gain[order])[:-1]
    between = position[1:] > position[:-1]
    last = int(np.argmin(np.where(between, lost, np.inf)))
    return float(midpoint(position[last], position[last + 1]))
