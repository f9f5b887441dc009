"""What RecursiveFeatures does after `fit`: maps rows, and predicts by its estimator."""

from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, Table
from .._sklearn import check_feature_names_in
from .._tables import to_host, validate_numbers
from ._maps import FeatureMap

#: how rows are read
FLOATS: dict[str, Any] = {"dtype": [np.float64, np.float32]}


def _estimator_has(name):
    """Return the check of `available_if` for a method of the inner estimator."""

    def check(model):
        getattr(getattr(model, "estimator_", model.estimator), name)
        return True

    return check


class MappedMixin(TransformerMixin):
    """The methods of a fitted estimator of rows that a FeatureMap maps."""

    # set by `fit`
    estimator_: Any
    components_: FloatArray
    _map: FeatureMap

    def _mapped(self, X):
        """Return rows as the fitted estimator takes them, after the usual checks."""
        check_is_fitted(self)
        X = validate_numbers(self, to_host(X), reset=False, **FLOATS)
        return self._map.transform(X)

    def _linear_map(self):
        """Return the matrix that rows are multiplied by, and the fitted estimator."""
        return self.components_, self.estimator_

    def transform(self, X: Table) -> FloatArray:
        """Return rows as the fitted estimator takes them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            The rows times ``components_.T``.
        """
        return self._mapped(X)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            The names of the columns of X, as in `fit`.

        Returns
        -------
        ndarray of str
            Columns that are those of X but for a factor have their names.
        """
        check_is_fitted(self)
        names: Any = check_feature_names_in(self, input_features)
        kept, n_out = self._map.names_kept, len(self.components_)
        prefix = type(self).__name__.lower()
        new = [f"{prefix}{number}" for number in range(n_out - kept)]
        return np.concatenate([names[:kept], np.array(new, dtype=object)])

    def predict(self, X: Table, **predict_params) -> Any:
        """Predict by the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        **predict_params
            What else `predict` of that estimator takes: ``return_std=True`` for a
            Gaussian process.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            And what else that estimator returns.
        """
        rows = self._mapped(X)
        return self.estimator_.predict(rows, **predict_params)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Table) -> Any:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        rows = self._mapped(X)
        return self.estimator_.predict_proba(rows)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Table) -> Any:
        """Predict the logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        rows = self._mapped(X)
        return self.estimator_.predict_log_proba(rows)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Table) -> Any:
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        rows = self._mapped(X)
        return self.estimator_.decision_function(rows)
