"""Training rows, targets and weights as the recursion takes them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._backend import Array, Backend, FloatArray
from .._sklearn import check_array, check_sample_weight
from ._blocks import RowBlocks
from ._device import to_host
from ._level_statistics import LevelStatistics, with_level_statistics

# predictions are in float64 where float32 would round y by more than this share of its
# standard deviation
_LOST_DIGITS = 1e-3


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
    blocks : RowBlocks or None
        All rows of a table that is read in batches, if these are a sample of it. What
        is learned from the sample is applied to each block.
    centers : array of shape (p, d) or None
        The centres of the kernel machine that the user gave, encoded.
    """

    X: Array
    Y: Array
    weight: Array
    n_levels: int = 0
    quantiles: tuple[int, int] | None = None
    blocks: RowBlocks | None = None
    centers: Array | None = None

    @property
    def n_rows(self):
        """The number of rows of the whole table."""
        return self.X.shape[0] if self.blocks is None else self.blocks.n_rows

    @property
    def sample(self):
        """The data without the blocks of other rows."""
        return self if self.blocks is None else replace(self, blocks=None)

    def with_step(self, step):
        """Return the same data, with a step that each block has to take."""
        if self.blocks is None:
            return self
        return replace(self, blocks=self.blocks.then(step))

    def subset(self, rows, backend):
        """Return the data of some rows."""
        X, Y, weight = (backend.take(a, rows) for a in (self.X, self.Y, self.weight))
        return replace(self, X=X, Y=Y, weight=weight, blocks=None)

    def astype(self, dtype, backend):
        """Return the data in a precision."""
        names = ["X", "Y", "weight", *(["centers"] if self.centers is not None else [])]
        arrays: dict[str, Any] = {
            name: backend.xp.astype(getattr(self, name), dtype) for name in names
        }
        return replace(self, **arrays, blocks=None)

    def scaled(self, scaling, backend):
        """Return the data with the columns that a scaling has."""
        if self.quantiles is None or scaling == "quantile":
            return self
        start, stop = self.quantiles

        def without(X):
            X = backend.xp.concat([X[:, :start], X[:, stop:]], axis=1)
            return backend.rows(X)

        scaled = replace(self.map_rows(without), quantiles=None)
        return scaled.with_step(_Scaled(scaling, backend))

    def map_rows(self, function):
        """Return the data with a function applied to the rows, and the centres."""
        centers = None if self.centers is None else function(self.centers)
        return replace(self, X=function(self.X), centers=centers)

    def represented(self, candidate, backend):
        """Return training rows as a candidate takes them, and LevelStatistics or None.

        Rows to predict take `scaled`, and the columns that the statistics append.
        """
        data = self.scaled(candidate.scaling, backend)
        if candidate.level_statistics is None:
            return data, None
        data, statistics = with_level_statistics(
            data,
            candidate.level_statistics,
            candidate.category_sizes,
            discrete=candidate.discrete_numbers,
            seed=candidate.seed,
            backend=backend,
        )
        step = _WithStatistics(statistics, backend)
        if data.centers is not None:
            data = replace(data, centers=step.append(data.centers))
        return data.with_step(step), statistics


@dataclass(frozen=True)
class _Scaled:
    """A step of blocks: the columns that a scaling has."""

    scaling: str | None
    backend: Backend

    def __call__(self, data):
        return data.scaled(self.scaling, self.backend)


@dataclass(frozen=True)
class _WithStatistics:
    """A step of blocks: the columns of statistics, learned from other rows or few."""

    statistics: LevelStatistics
    backend: Backend

    def __call__(self, data):
        return data.map_rows(self.append)

    def append(self, X):
        """Return rows with the columns of the statistics."""
        rows = self.statistics.append(self.backend.to_numpy(X))
        return self.backend.rows(self.backend.asarray(rows))


@dataclass(frozen=True, kw_only=True)
class NumericTargets:
    """The coding of the targets of a regressor: centred numbers of order 1 in columns.

    They are centred and scaled in float64 before they take the precision of X, which
    may not have the digits or the range of y.

    Attributes
    ----------
    n_outputs : int
    single_output : bool
        Whether y has one dimension.
    center : ndarray of shape (n_outputs,)
        What is subtracted: the weighted means, or zeros.
    scale : float
        What all columns are then divided by: a power of 2, so that no digit is lost.
    wide : bool
        Whether predictions are in float64 even if X is in float32, which would lose the
        digits of y or not have its range.
    """

    n_outputs: int
    single_output: bool
    center: FloatArray
    scale: float
    wide: bool

    #: the names of the classes, which numbers do not have
    classes = None

    @classmethod
    def fit(cls, y, weight, *, centred):
        """Return the coding of targets (n,) or (n, c), with or without a center."""
        Y = _as_columns(y)
        present = weight > 0
        top = np.abs(Y[present]).max(initial=0.0)
        unit = _power_of_2(top)
        share = weight[present] / weight[present].sum()
        mean = share @ (Y[present] / unit)
        deviation = np.sqrt((share @ (Y[present] / unit - mean) ** 2).max(initial=0.0))
        narrow = np.finfo(np.float32)
        digits = narrow.eps * top > _LOST_DIGITS * deviation * unit > 0
        return cls(
            n_outputs=Y.shape[1],
            single_output=y.ndim == 1,
            center=mean * unit if centred else np.zeros(Y.shape[1]),
            scale=unit * _power_of_2(deviation if centred else 1.0),
            wide=bool(digits or top > narrow.max or 0 < top < narrow.tiny),
        )

    def code(self, y, weight):
        """Return coded targets (n, c) in float64, and their weights."""
        return (_as_columns(y) - self.center) / self.scale, weight

    def code_validation(self, y, weight):
        """Return further targets, checked and coded, and their weights."""
        y = check_array(y, ensure_2d=False, input_name="y_val", dtype=np.float64)
        Y = y.reshape(len(y), -1)
        if Y.shape[1] != self.n_outputs:
            raise ValueError(f"y_val has {Y.shape[1]} outputs, y has {self.n_outputs}.")
        return self.code(y, weight)

    def strata(self, Y):
        """Return what splits are stratified by: nothing, so all rows are equal."""
        return np.zeros(len(Y))

    def decode(self, outputs, backend):
        """Return outputs (m, c) of a model in the units of y."""
        exact = backend.asarray(outputs, backend.xp.float64) * self.scale
        exact += backend.asarray(self.center, backend.xp.float64)
        return exact if self.wide else backend.asarray(exact, outputs.dtype)

    def rescale(self, a, backend):
        """Return coefficients or standard deviations (m, c) in the units of y."""
        exact = backend.asarray(a, backend.xp.float64) * self.scale
        return exact if self.wide else backend.asarray(exact, a.dtype)


def _as_columns(y):
    """Return targets as a float64 array (n, c)."""
    try:
        return y.reshape(len(y), -1).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"y must be numeric: {error}.") from error


def _power_of_2(size):
    """Return the power of 2 at or below a positive number; 1 for zero."""
    return float(2.0 ** np.floor(np.log2(size))) if size > 0 else 1.0


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

    def decode(self, outputs, backend):
        """Return outputs of a model, which stay as they are."""
        return outputs

    def rescale(self, a, backend):
        """Return coefficients of a model, which stay as they are."""
        return a

    def labels(self, outputs):
        """Return the class labels that outputs (m, c) of a model stand for."""
        if self.single_output:
            return self.classes[(outputs[:, 0] > 0).astype(int)]
        return self.classes[outputs.argmax(1)]


def validate_weight(sample_weight, rows, *, may_be_zero=False):
    """Return float64 weights of rows, ones by default.

    `may_be_zero` says whether all of them may be, as those of a part of the rows.
    """
    weight = to_host(sample_weight)
    # scikit-learn refuses other numbers, such as complex ones, by name, but not text
    if weight is not None and np.asarray(weight).dtype.kind not in "biufc":
        try:
            weight = np.asarray(weight, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"sample_weight must be an array of numbers, one per row: {error}."
            ) from error
    return check_sample_weight(
        weight,
        rows,
        dtype=np.float64,
        ensure_non_negative=True,
        allow_all_zero_weights=may_be_zero,
    )


def weight_unit_of(weight, sample_weight):
    """Return what weights are divided by, so that only their ratios count.

    Weights that are whole numbers count equal rows, and stay as they are: the unit is
    1. Of others the unit is the mean weight of a row, with the rows counted by sample
    weights that are whole numbers.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Sample weights times the factors of the classes.
    sample_weight : ndarray of shape (n,)
    """
    top = weight.max(initial=0)
    if top == 0 or np.array_equal(weight, np.round(weight)):
        return 1.0
    counts = sample_weight
    if not np.array_equal(counts, np.round(counts)):
        counts = (sample_weight > 0).astype(float)
    return float((weight / top).sum() / counts.sum() * top)


def weight_unit_of_totals(totals, sample_totals, n_rows, whole):
    """Return what `weight_unit_of` does, from sums of the weights of many rows.

    Parameters
    ----------
    totals : ndarray of shape (n_labels,)
        Sums of sample weights times the factors of the classes.
    sample_totals : ndarray of shape (n_labels,)
        Sums of sample weights.
    n_rows : int
        The number of rows of positive weight.
    whole : bool
        Whether all sample weights are whole numbers.
    """
    if whole and np.array_equal(totals, np.round(totals)):
        return 1.0
    return float(totals.sum() / (sample_totals.sum() if whole else n_rows))
