"""The fitted trees of an XRFM estimator."""

from dataclasses import dataclass

import numpy as np

from .._backend import FloatArray, IntArray
from .._tables import ClassTargets, NumericTargets
from ._fitting import FittedTree
from ._leaves import LeafCoding


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Fitted trees, with the coding of their table and targets.

    Attributes
    ----------
    coding : LeafCoding
        From a table to the rows that trees and leaves take.
    targets : NumericTargets or ClassTargets
        The coding of the targets.
    trees : list of FittedTree
    """

    coding: LeafCoding
    targets: NumericTargets | ClassTargets
    trees: list[FittedTree]

    @property
    def n_outputs(self) -> int:
        """The number of outputs: of a classifier, of the classes."""
        if isinstance(self.targets, ClassTargets):
            return len(self.targets.classes)
        return self.targets.n_outputs

    @property
    def class_numbers(self) -> IntArray | None:
        """The numbers of the classes, which leaves are fitted to; None of numbers."""
        return numbers_of_classes(self.targets)

    @property
    def feature_importances(self) -> FloatArray:
        """Those of the leaves, averaged over their rows, for each feature."""
        origins = self.coding.origins
        total = np.zeros(len(origins))
        for tree in self.trees:
            for model, n_rows in zip(tree.models, tree.n_rows, strict=True):
                total += n_rows * model.feature_importances_
        total = np.bincount(origins, total)
        return total / (total.sum() or 1.0)


def numbers_of_classes(targets):
    """Return the numbers of the classes of a coding of targets; None of numbers."""
    if isinstance(targets, ClassTargets):
        return np.arange(len(targets.classes))
    return None
