"""Training rows and targets as the recursion takes them."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._backend import Array, FloatArray
from .._sklearn import check_array


@dataclass(frozen=True)
class Data:
    """Encoded rows of positive weight, with coded targets.

    Attributes
    ----------
    X : array of shape (n, d)
    Y : array of shape (n, c)
    weight : array of shape (n,)
    n_levels : int
        The number of columns at the end that are levels of categories.
    quantiles : tuple of (int, int) or None
        The first column of quantiles and the one after the last, if there are any.
    """

    X: Array
    Y: Array
    weight: Array
    n_levels: int = 0
    quantiles: tuple[int, int] | None = None

    def subset(self, rows, backend):
        """Return the data of some rows."""
        arrays = (backend.take(a, rows) for a in (self.X, self.Y, self.weight))
        return Data(*arrays, n_levels=self.n_levels, quantiles=self.quantiles)

    def scaled(self, scaling, backend):
        """Return the data with the columns that a scaling has."""
        if self.quantiles is None or scaling == "quantile":
            return self
        start, stop = self.quantiles
        X = backend.xp.concat([self.X[:, :start], self.X[:, stop:]], axis=1)
        return replace(self, X=backend.rows(X), quantiles=None)


@dataclass(frozen=True)
class NumericTargets:
    """The coding of the targets of a regressor: numbers in columns."""

    n_outputs: int
    single_output: bool

    #: the names of the classes, which numbers do not have
    classes = None

    @classmethod
    def fit(cls, y, weight):
        """Return the coding of targets (n,) or (n, c)."""
        return cls(1 if y.ndim == 1 else y.shape[1], y.ndim == 1)

    def code(self, y, weight):
        """Return targets (n, c) as float64, and their weights."""
        try:
            return y.reshape(len(y), -1).astype(np.float64), weight
        except ValueError as error:
            raise ValueError(f"y must be numeric: {error}.") from error

    def code_validation(self, y, weight):
        """Return further targets, checked, and their weights."""
        y = check_array(y, ensure_2d=False, input_name="y_val", dtype=np.float64)
        Y = y.reshape(len(y), -1)
        if Y.shape[1] != self.n_outputs:
            raise ValueError(f"y_val has {Y.shape[1]} outputs, y has {self.n_outputs}.")
        return Y, weight

    def strata(self, Y):
        """Return what splits are stratified by: nothing, so all rows are equal."""
        return np.zeros(len(Y))

    def labels(self, outputs):
        """Return the targets that outputs (m, c) of a model stand for."""
        return outputs[:, 0] if self.single_output else outputs


@dataclass(frozen=True)
class ClassTargets:
    """The coding of the targets of a classifier.

    Two classes are ±1 in one column, more classes one column of zeros and ones each.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The sorted class labels.
    factors : ndarray of shape (n_classes,)
        Factors on the sample weights of each class.
    """

    classes: np.ndarray
    factors: FloatArray

    @classmethod
    def fit(cls, y, weight, *, class_weight=None, name="The classifier"):
        """Return the coding of the labels of the rows of positive weight."""
        check_classification_targets(y)
        present = weight > 0
        classes = np.unique(y[present])
        if len(classes) < 2:
            raise ValueError(
                f"{name} needs at least 2 classes; the rows of positive weight have "
                f"one class only: {classes.tolist()[0]!r}."
            )
        factors = compute_class_weight(
            class_weight, classes=classes, y=y[present], sample_weight=weight[present]
        )
        return cls(classes, factors)

    @property
    def single_output(self):
        """Whether there is one column of targets."""
        return len(self.classes) == 2

    def numbers(self, y):
        """Return the numbers of the classes; unknown labels get any number."""
        return np.searchsorted(self.classes, y).clip(max=len(self.classes) - 1)

    def code(self, y, weight):
        """Return targets (n, c), and weights times the factors of the classes."""
        numbers = self.numbers(y)
        weight = weight * self.factors[numbers]
        if self.single_output:
            return (2.0 * numbers - 1)[:, None], weight
        return np.eye(len(self.classes))[numbers], weight

    def code_validation(self, y, weight):
        """Return further targets, checked, and their weights."""
        y = column_or_1d(y, input_name="y_val")
        unknown = np.setdiff1d(y, self.classes)
        if unknown.size:
            raise ValueError(
                f"y_val holds labels that y does not have: {unknown.tolist()}."
            )
        return self.code(y, weight)

    def strata(self, Y):
        """Return what splits are stratified by, from coded targets: the classes."""
        return Y[:, 0] > 0 if Y.shape[1] == 1 else Y.argmax(1)

    def labels(self, outputs):
        """Return the class labels that outputs (m, c) of a model stand for."""
        if self.single_output:
            return self.classes[(outputs[:, 0] > 0).astype(int)]
        return self.classes[outputs.argmax(1)]
