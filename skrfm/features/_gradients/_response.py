"""The numbers that an estimator predicts, as a function of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from ..._backend import FloatArray
from ..._tables import to_host

RESPONSE_METHODS = ("predict_proba", "decision_function", "predict")


@dataclass(frozen=True)
class Response:
    """A method of a fitted estimator whose results are numbers.

    Attributes
    ----------
    estimator : estimator
    method : {"predict_proba", "decision_function", "predict"}
    """

    estimator: Any
    method: str

    @classmethod
    def of(cls, estimator, response_method):
        """Return the response that a parameter `response_method` names.

        Raises
        ------
        ValueError
            For an estimator that is not fitted, or has no such method.
        """
        check_is_fitted(estimator)
        name, classifies = type(estimator).__name__, is_classifier(estimator)
        methods = RESPONSE_METHODS[:2] if classifies else RESPONSE_METHODS[1:][::-1]
        possible = [method for method in methods if hasattr(estimator, method)]
        if not possible:
            raise ValueError(
                f"estimator, {name}, has no numbers to differentiate: it needs a "
                f"method {' or '.join(methods)}."
            )
        if response_method == "auto":
            return cls(estimator, possible[0])
        if response_method not in possible:
            raise ValueError(
                f"response_method={response_method!r}, but {name} "
                + ("is a classifier that " if classifies else "")
                + f"has {' and '.join(possible)}."
            )
        return cls(estimator, response_method)

    def __call__(self, X) -> FloatArray:
        """Return the numbers (n, c) at the rows of a table."""
        found = getattr(self.estimator, self.method)(X)
        if isinstance(found, list):  # of several targets, each with classes of its own
            found = np.hstack([np.asarray(part) for part in found])
        found = np.asarray(to_host(found))
        return found.reshape(len(found), -1).astype(np.float64)
