"""The kernel Recursive Feature Machine as a regressor and a classifier."""

from itertools import pairwise

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from ._backend import sized_for
from ._base import BaseRFM
from ._compat import StrOptions
from ._criteria import (
    ClassificationCriterion,
    RegressionCriterion,
    probabilities,
)
from .solvers import predictive_variance

# rows whose variance is computed together
_VARIANCE_ROWS = 1024


class RFMRegressor(RegressorMixin, BaseRFM):
    """Kernel ridge regression with a learned feature metric."""

    _criterion = RegressionCriterion()
    _multi_output = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _encode(self, y, weight):
        self._single_output = y.ndim == 1
        return y.reshape(len(y), -1).astype(np.float64), weight

    def _encode_more(self, y, weight):
        y = check_array(y, ensure_2d=False, input_name="y_val", dtype=np.float64)
        return y.reshape(len(y), -1), weight

    def predict(self, X, return_std=False):
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return standard deviations as well. They come from the Gaussian
            process with the learned kernel, noise included: its signal variance is
            estimated from the leave-one-out residuals, its noise variance is `alpha_`
            times that. The kernel matrix of the training rows is factorised for them
            anew, which takes as long as one round of the fit.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        std : ndarray of the same shape
            Their standard deviations; only with `return_std=True`.
        """
        out, backend = self._outputs(X, "predict")
        out = out[:, 0] if self._single_output else out
        if not return_std:
            return out
        X, backend = self._validate_rows(X, "predict")
        with sized_for(self.X_fit_.shape[0]):
            variance = self._variance(X, backend)
        std = backend.xp.sqrt(variance)
        return out, (std[:, 0] if self._single_output else std)

    def _variance(self, X, backend):
        T, Z, kernel, L = (
            self._map(X, backend),
            self._mapped_fit,
            self.kernel_,
            self.bandwidth_,
        )
        coef = backend.xp.reshape(self.dual_coef_, (Z.shape[0], -1))
        edges = [*range(0, T.shape[0], _VARIANCE_ROWS), T.shape[0]]
        blocks = (
            backend.cross(kernel, T[start:stop, :], Z, L)
            for start, stop in pairwise(edges)
        )
        return predictive_variance(
            backend.gram(kernel, Z, L),
            coef,
            self._fit_weight,
            self.alpha_,
            blocks,
            backend.xp,
        )


class RFMClassifier(ClassifierMixin, BaseRFM):
    """Least squares kernel classification with a learned feature metric."""

    _criterion = ClassificationCriterion()
    _calibrates = True
    _parameter_constraints = {
        **BaseRFM._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        *,
        kernel="auto",
        bandwidth="median",
        alpha="auto",
        alphas=(1e-3, 3e-2, 1.0),
        metric_type="auto",
        n_components=None,
        max_iter=5,
        validation="auto",
        cv=5,
        validation_fraction=0.2,
        fit_intercept=True,
        class_weight=None,
        center_gradients=False,
        max_agop_samples=20_000,
        solver="auto",
        device=None,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            kernel=kernel,
            bandwidth=bandwidth,
            alpha=alpha,
            alphas=alphas,
            metric_type=metric_type,
            n_components=n_components,
            max_iter=max_iter,
            validation=validation,
            cv=cv,
            validation_fraction=validation_fraction,
            fit_intercept=fit_intercept,
            center_gradients=center_gradients,
            max_agop_samples=max_agop_samples,
            solver=solver,
            device=device,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def _encode(self, y, weight):
        check_classification_targets(y)
        self.classes_ = np.unique(y[weight > 0])
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes; the rows of positive "
                f"weight have one class only: {self.classes_[0]!r}."
            )
        self._temperature = 1.0
        self._single_output = len(self.classes_) == 2
        present = weight > 0
        factors = compute_class_weight(
            self.class_weight,
            classes=self.classes_,
            y=y[present],
            sample_weight=weight[present],
        )
        self._class_factors = tuple(factors)
        return self._code(y), weight * factors[self._codes(y)]

    def _encode_more(self, y, weight):
        y = column_or_1d(y, input_name="y_val")
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"y_val holds labels that y does not have: {unknown.tolist()}."
            )
        return self._code(y), weight * np.take(self._class_factors, self._codes(y))

    def _codes(self, y):
        """Return class numbers; labels of rows without weight get any."""
        return np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)

    def _code(self, y):
        """Return ±1 in one column for two classes, else one column per class."""
        codes = self._codes(y)
        if self._single_output:
            return (2.0 * codes - 1)[:, None]
        return np.eye(len(self.classes_))[codes]

    def _labels(self, Y):
        return Y[:, 0] > 0 if Y.shape[1] == 1 else Y.argmax(1)

    def _learn_from(self, choice):
        judges = choice.judges
        self._temperature = self._criterion.temperature(
            choice.outputs, judges.targets, judges.weight
        )

    def decision_function(self, X):
        """Return the outputs of the machine.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            One score per class; for two classes the score of the second, whose sign
            is the prediction.
        """
        out, _ = self._outputs(X, "decision_function")
        return out[:, 0] if self._single_output else out

    def predict(self, X):
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        out, backend = self._outputs(X, "predict")
        out = backend.to_numpy(out)
        codes = (out[:, 0] > 0).astype(int) if self._single_output else out.argmax(1)
        labels = self.classes_[codes]
        return backend.asarray(labels) if labels.dtype.kind in "biuf" else labels

    def predict_proba(self, X):
        """Predict class probabilities.

        Outputs are turned into probabilities by a softmax (for two classes, a
        logistic function) with one temperature, fitted on the outputs that the
        choice of the round had on unseen rows. So the order of the classes is that
        of `decision_function`. With ``validation=None`` the temperature is fitted on
        leave-one-out outputs, which is optimistic, for the metric has seen all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        out, backend = self._outputs(X, "predict_proba")
        proba = probabilities(backend.to_numpy(out), self._temperature)
        return backend.asarray(proba, out.dtype)
