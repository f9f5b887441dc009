"""The Jacobian of fitted trees of RFMs: of the leaves, and of their weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import Array, FloatArray
from ..._tables import placement_of, read_rows
from ...xrfm._leaves import ConstantModel, leaf_outputs, share_of_unseen
from ...xrfm._tree import route
from ._machines import MachineModel, encoding_slopes, sums_by_origin


@dataclass(frozen=True)
class TreeModel:
    """The predictor of a fitted tree, or its probabilities.

    A row is predicted by a weighted sum of leaves, so its gradient has two parts: that
    of the predictions of the leaves, and that of the weights near the thresholds. With
    a temperature of 0 the weights are constant, and jumps of predictions at the
    thresholds are left out.

    Attributes
    ----------
    estimator : XRFMRegressor or XRFMClassifier
    method : {"predict", "predict_proba"}
    deviations : ndarray of shape (d,)
        The standard deviations of the columns, which the encoding is differentiated
        by; columns of 0 have no derivative.
    """

    estimator: Any
    method: str
    deviations: FloatArray

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        leaves = [model for tree in self.estimator.estimators_ for model in tree]
        n = max(len(getattr(model, "X_fit_", ())) for model in leaves)
        return 4 * n + 8 * self.estimator._fitted.n_outputs * len(self.deviations)

    def jacobian(self, X: Any) -> tuple[Array, Array]:
        """Return the response at rows of a table, and its Jacobian."""
        fitted = self.estimator._fitted
        coding, placement = fitted.coding, placement_of("cpu", X)
        codes = read_rows(self.estimator, coding.reader, placement.read(X))
        codes = codes.astype(np.float64)
        Z = coding.encode(codes)
        slopes = self._encoding_slopes(coding, codes)
        # deviations of the encoded numbers, for the encodings of the leaves
        deviations = np.abs(slopes).max(axis=0) * self.deviations[coding.origins]
        F = np.zeros((len(Z), fitted.n_outputs))
        encoded = np.zeros((len(Z), fitted.n_outputs, Z.shape[1]))
        is_number = np.ones(Z.shape[1], dtype=bool)
        if coding.categorical_columns is not None:
            is_number[coding.categorical_columns] = False
        for tree in fitted.trees:
            for leaf in route(
                tree.root, Z, self.estimator.temperature, is_number=is_number
            ):
                model, rows = tree.models[leaf.number], leaf.rows
                f, j = self._leaf(
                    model,
                    Z[rows],
                    deviations,
                    classes=fitted.class_numbers,
                    n_rows=tree.n_rows[leaf.number],
                )
                F[rows] += leaf.weight[:, None] * f
                encoded[rows] += leaf.weight[:, None, None] * j
                encoded[rows] += f[:, :, None] * leaf.slopes[:, None, :]
        encoded *= slopes[:, None, :]
        J = sums_by_origin(encoded, coding.origins, codes.shape[1])
        n_trees = len(fitted.trees)
        return F / n_trees, J / n_trees

    def _encoding_slopes(self, coding, codes):
        """Return the derivatives (b, n_columns) of the rows that leaves take."""
        deviations = self.deviations.copy()
        deviations[coding.encoder.categories] = 0.0
        return encoding_slopes(
            coding.encode,
            codes,
            deviations,
            origins=coding.origins,
            quantile_columns=coding.encoder.quantile_columns,
        )

    def _leaf(self, model, Z, deviations, *, classes, n_rows):
        """Return the outputs (m, c) of a leaf, and their gradients (m, c, k)."""
        if isinstance(model, ConstantModel):
            F = np.asarray(leaf_outputs(model, Z, classes, n_rows), np.float64)
            return F, np.zeros((*F.shape, Z.shape[1]))
        f, j = MachineModel(model, self.method, deviations).jacobian(Z)
        if classes is None:
            return f, j
        unseen, factor = share_of_unseen(model, classes, n_rows)
        F = np.full((len(Z), len(classes)), unseen)
        J = np.zeros((*F.shape, Z.shape[1]))
        F[:, model.classes_], J[:, model.classes_] = factor * f, factor * j
        return F, J
