"""Any scorer of scikit-learn on outputs that are already there."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import check_scoring


class PartCriterion:
    """Scores pooled outputs part by part, as cross-validation does."""

    def __init__(self, search, judging):
        self.search, self.scores = search, []
        sizes = [len(test) for _, test in getattr(judging, "folds", [])]
        edges = np.cumsum([0, *sizes])
        self.parts = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def score(self, outputs, targets, weight):
        """Return the mean score of the parts, and note all of them in `scores`."""
        self.scores.append(self._part_scores(outputs, targets, weight))
        return float(np.mean(self.scores[-1]))

    def mean(self, outputs, targets, weight):
        """Return the mean score of the parts."""
        return float(np.mean(self._part_scores(outputs, targets, weight)))

    def _part_scores(self, outputs, targets, weight):
        parts, search = self.parts or [slice(None)], self.search
        if search.scoring is None:
            return search._criterion.part_scores(outputs, targets, weight, parts)
        return self._by_scorer(outputs, targets, weight, parts)

    def _by_scorer(self, outputs, targets, weight, parts):
        unseen, y = self.search._unseen(outputs, targets, weight)
        scorer = check_scoring(unseen, scoring=self.search.scoring)
        rows = np.arange(len(outputs))[:, None]
        uniform = weight.min() == weight.max()
        options = [{} if uniform else {"sample_weight": weight[p]} for p in parts]
        try:
            return [
                float(scorer(unseen, rows[part], y[part], **option))
                for part, option in zip(parts, options, strict=True)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"scoring={self.search.scoring!r} cannot score the predictions of "
                f"{type(self.search).__name__}: {error}. Pass a scorer of its task, "
                "that takes sample_weight where fit got weights."
            ) from error


class _Unseen(BaseEstimator):
    """Outputs on unseen rows as an estimator, of which X is the numbers of the rows."""

    def __init__(self, outputs):
        self.outputs = outputs

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y):
        """Do nothing: outputs are there."""
        return self

    def _of(self, X):
        return self.outputs[X[:, 0]]


class UnseenRegressor(RegressorMixin, _Unseen):
    def predict(self, X):
        """Return predictions of the rows."""
        outputs = self._of(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


class UnseenClassifier(ClassifierMixin, _Unseen):
    def __init__(self, outputs, classes, calibration):
        self.outputs, self.classes_, self.calibration = outputs, classes, calibration

    def predict(self, X):
        """Return labels of the rows."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        """Return probabilities of the rows."""
        return self.calibration.probabilities(self._of(X))

    def decision_function(self, X):
        """Return outputs of the rows."""
        outputs = self._of(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
