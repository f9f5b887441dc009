"""The models of the methods: the target alone or with scores, or a correction."""

from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator

from .._backend import FloatArray
from .._search import Calibration
from ._rows import take_rows
from ._source import TransferRows
from ._target import (
    ClassOutputs,
    NumericOutputs,
    Task,
    estimator_of_inputs,
    fit_model,
    residual_regressor,
)

METHODS = ("none", "projection", "concat", "translation", "both")
# Corrected probabilities may be negative: their logarithms are taken of at least this.
MIN_PROBABILITY = 1e-3


class TransferModel(Protocol):
    """The model of a method.

    Attributes
    ----------
    unseen : ndarray of shape (n, c) or None
        Outputs at the training rows by fits that have not seen them.
    """

    unseen: Any

    def fit(
        self,
        task: Task,
        rows: TransferRows,
        y: np.ndarray,
        weight: FloatArray | None,
        *,
        leave_out: bool,
    ) -> "TransferModel":
        """Fit the model; with `leave_out`, set the outputs `unseen`."""
        ...

    def outputs(self, rows: TransferRows) -> FloatArray:
        """Return the outputs (m, c) in the coding of the task."""
        ...

    def decision_function(self, rows: TransferRows) -> FloatArray:
        """Return the scores of the classes."""
        ...

    def models(self) -> list[BaseEstimator]:
        """Return the fitted estimators."""
        ...


class Direct:
    """No transfer, projection or concat: the target model on inputs of the method."""

    def __init__(self, method, classes):
        self.method = method
        self.kind = NumericOutputs() if classes is None else ClassOutputs(classes)
        self.model: Any = None
        self.unseen: Any = None

    def fit(self, task, rows, y, weight, *, leave_out):
        """Fit the target model; with `leave_out`, set the outputs `unseen`."""
        n_features, n_scores = rows.X.shape[1], rows.scores.shape[1]
        self.model, self.unseen = fit_model(
            estimator_of_inputs(
                task.estimator, self.method, n_features=n_features, n_scores=n_scores
            ),
            rows.inputs(self.method),
            y,
            weight,
            task=task,
            kind=self.kind,
            folds=task.folds(y) if leave_out else None,
        )
        return self

    def models(self):
        """Return the fitted estimators."""
        return [self.model]

    def outputs(self, rows):
        """Return the outputs (m, c) in the coding of the task."""
        return self.kind.predict(self.model, rows.inputs(self.method))

    def decision_function(self, rows):
        """Return the scores of the target model."""
        return self.model.decision_function(rows.inputs(self.method))


class Translation:
    """The outputs of a base model plus a correction that is fitted to its residuals.

    The base is the source, or a projection for the method "both". The residuals of a
    projection are taken on unseen rows, because on its training rows they are nearly
    zero.

    Parameters
    ----------
    classifies : bool
        Whether outputs are probabilities.
    projection : Direct or None, default=None
        The base model in place of the source; it is fitted if it is not yet.
    """

    def __init__(self, classifies, projection=None):
        self.classifies, self.projection = classifies, projection
        self.model: Any = None
        self.unseen: Any = None
        self.calibration: Any = None

    def fit(self, task, rows, y, weight, *, leave_out):
        """Fit the correction; with `leave_out`, set the outputs `unseen`.

        For classes they are set in any case, for the calibration of probabilities.
        """
        leave_out = leave_out or self.classifies
        self.unseen = self._fit_correction(task, rows, y, weight, leave_out=leave_out)
        if self.classifies:
            self._calibrate(task, self.unseen, y, weight)
            self.unseen = self._probabilities(self.unseen)
        return self

    def _base_of_training_rows(self, task, rows, y, weight) -> tuple[Any, np.ndarray]:
        """Return the base outputs (n, c) to correct, and the mask of rows with them."""
        if self.projection is None:
            return rows.source_outputs, np.ones(len(y), dtype=bool)
        if self.projection.unseen is None:
            self.projection.fit(task, rows, y, weight, leave_out=True)
        base: Any = self.projection.unseen
        return base, np.isfinite(base).all(axis=1)

    def _fit_correction(self, task, rows, y, weight, *, leave_out):
        """Fit the correction to the rows that have base outputs.

        Return the sums (n, c) of base outputs and correction on unseen rows, NaN where
        there are none, or None without `leave_out`.
        """
        base, has_base = self._base_of_training_rows(task, rows, y, weight)
        residuals = task.code(y) - base
        if not residuals[has_base].any():  # nothing to correct
            return base
        residuals = residuals[:, 0] if residuals.shape[1] == 1 else residuals
        self.model, unseen = fit_model(
            residual_regressor(task.estimator),
            take_rows(rows.X, has_base),
            residuals[has_base],
            None if weight is None else weight[has_base],
            task=task,
            kind=NumericOutputs(),
            folds=task.folds(y[has_base], has_base) if leave_out else None,
        )
        if unseen is None:
            return None
        sums = np.full_like(base, np.nan)
        sums[has_base] = base[has_base] + unseen
        return sums

    def _calibrate(self, task, sums, y, weight):
        """Set the calibration of the sums on unseen rows."""
        scored = np.isfinite(sums).all(axis=1)
        self.calibration = Calibration.fit(
            _clipped_logarithms(sums[scored]),
            task.code(y)[scored],
            np.ones(scored.sum()) if weight is None else weight[scored],
            softnesses=(np.inf,),
        )

    def models(self):
        """Return the fitted estimators."""
        base = [] if self.projection is None else self.projection.models()
        return base if self.model is None else [*base, self.model]

    def outputs(self, rows):
        """Return the outputs (m, c) in the coding of the task."""
        sums = self._sums(rows)
        return self._probabilities(sums) if self.classifies else sums

    def decision_function(self, rows):
        """Return the sums (m, c), or their difference (m,) for two classes."""
        sums = self._sums(rows)
        return sums[:, 1] - sums[:, 0] if sums.shape[1] == 2 else sums

    def _sums(self, rows):
        """Return the base outputs (m, c) plus the correction."""
        base = rows.source_outputs
        if self.projection is not None:
            base = self.projection.outputs(rows)
        if self.model is None:
            return base
        return base + NumericOutputs().predict(self.model, rows.X)

    def _probabilities(self, sums):
        return self.calibration.probabilities(_clipped_logarithms(sums))


def _clipped_logarithms(sums):
    """Return logarithms of sums that would be probabilities without the correction."""
    return np.log(np.clip(sums, MIN_PROBABILITY, None))


def make_model(method: str, classes, projection: Direct | None = None) -> TransferModel:
    """Return the unfitted model of a method.

    Parameters
    ----------
    method : str
    classes : ndarray of shape (n_classes,) or None
        The classes of the target.
    projection : Direct or None, default=None
        A fitted projection for the method "both"; None to fit one with it.
    """
    if method == "translation":
        return Translation(classes is not None)
    if method == "both":
        if projection is None:
            projection = Direct("projection", classes)
        return Translation(classes is not None, projection)
    return Direct(method, classes)


def fit_models(task, methods, rows, y, weight):
    """Return the fitted models of all methods, with outputs on unseen rows."""
    models = {}
    for method in methods:
        model = make_model(method, task.classes, models.get("projection"))
        models[method] = model.fit(task, rows, y, weight, leave_out=True)
    return list(models.values())
