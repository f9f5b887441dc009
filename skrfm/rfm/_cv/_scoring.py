"""Any scorer of scikit-learn on outputs that are already there."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import check_scoring

from ..._backend import NumpyBackend
from ..._search import Calibration, HoldOut, PartCriterion


@dataclass
class FoldCriterion:
    """Scores pooled outputs part by part, as cross-validation does.

    Attributes
    ----------
    parts : list of slice
        The validation rows of each fold.
    criterion : RegressionCriterion or ClassificationCriterion
        What scores without a scorer.
    scoring : str, callable or None
        A scorer of scikit-learn.
    estimator_of : callable
        Maps (outputs, targets, weight) to an estimator with these outputs, and labels.
    name : str
        The name of the estimator in messages.
    scores : list of list of float
        The scores of the parts of all outputs that `score` was called with.
    """

    parts: list[slice]
    criterion: PartCriterion
    scoring: str | Callable | None
    estimator_of: Callable[..., tuple[Any, np.ndarray]]
    name: str
    scores: list[list[float]] = field(default_factory=list)

    def score(self, outputs, targets, weight):
        """Return the mean score of the parts, and record all of them in `scores`."""
        self.scores.append(self._part_scores(outputs, targets, weight))
        return float(np.mean(self.scores[-1])), None

    def mean(self, outputs, targets, weight):
        """Return the mean score of the parts."""
        return float(np.mean(self._part_scores(outputs, targets, weight)))

    def _part_scores(self, outputs, targets, weight):
        if self.scoring is None:
            return self.criterion.part_scores(outputs, targets, weight, self.parts)
        estimator, y = self.estimator_of(outputs, targets, weight)
        scorer: Any = check_scoring(estimator, scoring=self.scoring)
        rows = np.arange(len(outputs))[:, None]
        uniform = weight.min() == weight.max()
        options = [{} if uniform else {"sample_weight": weight[p]} for p in self.parts]
        try:
            return [
                float(scorer(estimator, rows[part], y[part], **option))
                for part, option in zip(self.parts, options, strict=True)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"scoring={self.scoring!r} cannot score the predictions of "
                f"{self.name}: {error}. Pass a scorer of its task, that takes "
                "sample_weight where fit got weights."
            ) from error


def parts_of(judging):
    """Return the validation rows of each fold as slices; all rows without folds."""
    if not isinstance(judging, HoldOut):
        return [slice(None)]
    edges = np.cumsum([0, *(len(test) for _, test in judging.folds)])
    return list(starmap(slice, pairwise(edges)))


class _Unseen(BaseEstimator):
    """Outputs on validation rows as an estimator; its X is the numbers of the rows."""

    def __init__(self, outputs):
        self.outputs = outputs

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y):
        """Do nothing: the outputs are there."""
        return self

    def _outputs_of(self, X):
        return self.outputs[X[:, 0]]


class UnseenRegressor(RegressorMixin, _Unseen):
    """Outputs on validation rows as a regressor."""

    def predict(self, X):
        """Return predictions of the rows."""
        outputs = self._outputs_of(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


class UnseenClassifier(ClassifierMixin, _Unseen):
    """Outputs on validation rows as a classifier."""

    def __init__(self, outputs, classes, calibration):
        self.outputs, self.classes_, self.calibration = outputs, classes, calibration

    def predict(self, X):
        """Return labels of the rows."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        """Return probabilities of the rows."""
        return self.calibration.probabilities(self._outputs_of(X))

    def decision_function(self, X):
        """Return outputs of the rows."""
        outputs = self._outputs_of(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def regressor_of(outputs, targets, weight, *, coding):
    """Return outputs as a regressor, and the targets as its y."""
    outputs, y = (coding.decode(a, NumpyBackend()) for a in (outputs, targets))
    return UnseenRegressor(outputs), y[:, 0] if coding.single_output else y


def classifier_of(outputs, targets, weight, *, coding):
    """Return outputs as a classifier, and the class labels as its y."""
    calibration = Calibration.fit(outputs, targets, weight)
    labels = coding.classes[coding.strata(targets).astype(int)]
    return UnseenClassifier(outputs, coding.classes, calibration), labels
