"""The Jacobian of TransferKernel: of its source, and of the model of its method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from ..._backend import Array, FloatArray
from ..._search import Calibration
from ...transfer._methods import MIN_PROBABILITY, Translation
from ...transfer._source import AUTO_RESPONSES
from ._links import shares_of_sum, softmax_of_classes
from ._models import Model
from ._response import RESPONSE_METHODS, Response
from ._table import InspectedTable


@dataclass(frozen=True)
class Scores:
    """The scores of the source as features: its response, scaled.

    Attributes
    ----------
    model : Model
    columns : ndarray of int
        The outputs that are kept.
    mean : ndarray of shape (n_outputs,)
    factor : float
    """

    model: Model
    columns: Array
    mean: FloatArray
    factor: float

    def jacobian(self, X):
        """Return the scores (b, s) at rows, and their Jacobian."""
        F, J = self.model.jacobian(X)
        F = (F - self.mean)[:, self.columns] * self.factor
        return F, J[:, self.columns] * self.factor


@dataclass(frozen=True)
class SourceShares:
    """Probabilities of the classes of the target by the source, which may have more.

    Attributes
    ----------
    model : Model
        The probabilities of the classes of the source.
    columns : ndarray of int
        Those of the target, in their order.
    """

    model: Model
    columns: Array

    def jacobian(self, X):
        """Return the probabilities at rows, and their Jacobian."""
        F, J = self.model.jacobian(X)
        return shares_of_sum(F[:, self.columns], J[:, self.columns])


@dataclass(frozen=True)
class TargetModel:
    """The model of a target on rows, on scores, or on both.

    Attributes
    ----------
    model : Model
    method : str
    scores : Scores or None
        What the methods "projection" and "concat" need.
    order : ndarray of int
        The class of the target that each output belongs to.
    n_outputs : int
    """

    model: Model
    method: str
    scores: Scores | None
    order: Array
    n_outputs: int

    def jacobian(self, X):
        """Return the outputs at rows, and their Jacobian."""
        if self.scores is None:
            f, j = self.model.jacobian(X)
        else:
            S, slopes = self.scores.jacobian(X)
            own = 0 if self.method == "projection" else X.shape[1]
            f, j = self.model.jacobian(np.hstack([X, S]) if own else S)
            through = np.einsum("bcs,bsd->bcd", j[:, :, own:], slopes)
            j = through + j[:, :, :own] if own else through
        F = np.zeros((len(X), self.n_outputs))
        J = np.zeros((*F.shape, X.shape[1]))
        F[:, self.order], J[:, self.order] = f, j
        return F, J


@dataclass(frozen=True)
class Sum:
    """The outputs of a base plus a correction, as probabilities where it classifies.

    Attributes
    ----------
    base : model with a method `jacobian`
    correction : Model or None
    calibration : Calibration or None
    """

    base: Any
    correction: Model | None
    calibration: Calibration | None

    def jacobian(self, X):
        """Return the outputs at rows, and their Jacobian."""
        F, J = self.base.jacobian(X)
        if self.correction is not None:
            f, j = self.correction.jacobian(X)
            F, J = F + f, J + j
        if self.calibration is None:
            return F, J
        kept = F > MIN_PROBABILITY
        F = np.where(kept, F, MIN_PROBABILITY)
        logits, slopes = self.calibration.logits(np.log(F))
        return softmax_of_classes(logits, (slopes * kept / F)[:, :, None] * J)


@dataclass(frozen=True)
class TransferModel:
    """The predictor of a TransferKernel that was fitted to arrays of numbers.

    Attributes
    ----------
    model : TargetModel or Sum
    floats_per_row : int
    """

    model: Any
    floats_per_row: int

    def jacobian(self, X):
        """Return the response at rows, and its Jacobian."""
        return self.model.jacobian(X)


class _Unknown(Exception):
    """The gradients of a part are not known."""


def transfer_model(
    estimator: Any, method: str, X: FloatArray, find: Callable
) -> TransferModel | None:
    """Return the model of a fitted TransferKernel, or None if it is not known.

    Parameters
    ----------
    estimator : TransferKernel
    method : {"predict", "predict_proba", "decision_function"}
    X : ndarray of shape (n, d)
        Rows that tell the spread of the columns, and of the scores.
    find : callable
        `find_model`.
    """
    if estimator._form.frame_type is not None or method == "decision_function":
        return None
    try:
        builder = _Builder(estimator, X, find)
        model = builder.of(estimator._model)
    except _Unknown:
        return None
    return TransferModel(model, builder.floats)


class _Builder:
    """Finds the models of the parts of a TransferKernel."""

    def __init__(self, estimator, X, find):
        self._features, self._X, self._find = estimator._features, X, find
        self._classes = self._features.classes
        self.floats = 0

    def of(self, model):
        """Return the model of a method."""
        if not isinstance(model, Translation):
            return self._target(model)
        projection = model.projection
        base = self._source() if projection is None else self._target(projection)
        correction = None
        if model.model is not None:
            correction = self._part(model.model, "predict", self._X)
        return Sum(base, correction, model.calibration)

    def _part(self, estimator, method, X):
        """Return the model of an estimator of rows X."""
        table = InspectedTable.read(X)
        response = Response(estimator, method)
        model = None
        if method in RESPONSE_METHODS and hasattr(estimator, method):
            model = self._find(response, table, table.numbers.std(axis=0))
        if model is None:
            raise _Unknown
        self.floats += model.floats_per_row
        return model

    def _source_part(self, method):
        """Return the model of a method of the source."""
        source = self._features.source
        if hasattr(source, "feature_names_in_"):
            raise _Unknown
        if is_classifier(source) and method == "predict":
            raise _Unknown  # labels
        return self._part(source, method, self._X)

    def _scores(self):
        """Return the Scores."""
        source, response = self._features.source, self._features.response
        if response == "auto":
            response = next(name for name in AUTO_RESPONSES if hasattr(source, name))
        scaling = self._features.scaling
        return Scores(
            self._source_part(response), scaling.kept, scaling.mean, scaling.factor
        )

    def _source(self):
        """Return the model of the outputs of the source in the coding of the target."""
        if self._classes is None:
            return self._source_part("predict")
        found = np.asarray(self._features.source.classes_)
        columns = [int(np.flatnonzero(found == name)[0]) for name in self._classes]
        return SourceShares(self._source_part("predict_proba"), np.array(columns))

    def _target(self, direct):
        """Return the TargetModel of a method without a correction."""
        inner, scores, inputs = direct.model, None, self._X
        if direct.method in ("projection", "concat"):
            scores = self._scores()
            S = scores.jacobian(self._X)[0]
            inputs = S if direct.method == "projection" else np.hstack([inputs, S])
        if self._classes is None:
            model = self._part(inner, "predict", inputs)
            order = np.arange(self._features.n_outputs)
            return TargetModel(model, direct.method, scores, order, len(order))
        model = self._part(inner, "predict_proba", inputs)
        order = np.searchsorted(self._classes, inner.classes_)
        return TargetModel(model, direct.method, scores, order, len(self._classes))
