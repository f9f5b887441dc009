"""Tables as they are: categories, missing values and units, made rows of a kernel."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import _safe_indexing, check_array

from ._quantiles import quantiles_of, with_quantiles

# the commonest levels of a category count; the others are one level
MAX_LEVELS = 1000
# standard deviations that values are softly clipped at
_CLIP = 3.0

SCALINGS = ("auto", "clipped", "quantile", "standard")


class TableReader:
    """One matrix of floats of a table: categories as codes, in their columns.

    A code counts the sorted levels from 0. It is -1 for a level that was not there
    when the reader was fitted, NaN for a missing value.

    Parameters
    ----------
    is_categorical : boolean ndarray of shape (n_features,)
    """

    def __init__(self, is_categorical):
        self.is_categorical = is_categorical

    def fit(self, X):
        """Learn the levels of the categories of some rows."""
        self._encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            max_categories=MAX_LEVELS,
        ).set_output(transform="default")
        self._encoder.fit(_columns(X, self.is_categorical))
        return self

    def transform(self, X):
        """Return the matrix of some rows."""
        codes = self._encoder.transform(_columns(X, self.is_categorical))
        if self.is_categorical.all():
            return codes
        numbers = check_array(
            _columns(X, ~self.is_categorical),
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            input_name="X",
        )
        out = np.empty((len(codes), len(self.is_categorical)), dtype=numbers.dtype)
        out[:, ~self.is_categorical] = numbers
        out[:, self.is_categorical] = codes
        return out


def _columns(X, mask):
    """Return some columns of an array or a data frame."""
    return _safe_indexing(X, np.flatnonzero(mask), axis=1)


@dataclass(frozen=True)
class TableEncoder:
    """From a matrix of numbers and codes to the rows of a kernel.

    Numbers come first, in their order: missing values at the mean, centred, in units of
    the standard deviation, softly clipped. Their quantiles follow, treated as they are,
    if the scaling has them. Then there is a column of zeros and ones for each number
    that may be missing. Levels come last, a block of columns for each
    category, those of few levels first; a missing value is a level of its own, and a
    level that was not there at the fit has zeros in the whole block.

    Attributes
    ----------
    numbers, categories : ndarray of int
        The places of the columns.
    center, factor : arrays of shape (n_numbers,)
        What is taken from the numbers, and what they are multiplied by then.
    gaps : ndarray of int
        Which of the numbers have a column of missing values.
    widths : tuple of int
        Numbers of levels of the categories.
    absences : tuple of int
        The codes of missing values of the categories; -1, a level that was not there,
        where none was missing.
    scaling : {"auto", "clipped", "quantile", "standard"} or None
        "auto" has the columns of "quantile".
    quantiles : tuple of Quantiles
        Those of the numbers, if the scaling has them.
    """

    numbers: np.ndarray
    categories: np.ndarray
    absences: tuple
    mean: object
    center: object
    factor: object
    gaps: np.ndarray
    widths: tuple
    scaling: str | None
    quantiles: tuple = ()

    @classmethod
    def fit(cls, X, is_categorical, weight, scaling, xp):
        """Learn from rows of positive weight.

        Parameters
        ----------
        X : array of shape (n, d)
            Numbers, NaN where they are missing, and codes.
        is_categorical : boolean ndarray of shape (d,) or None
        weight : array of shape (n,)
        scaling : {"auto", "clipped", "quantile", "standard"} or None
        xp : namespace
        """
        d = X.shape[1]
        is_categorical = np.zeros(d, bool) if is_categorical is None else is_categorical
        numbers, categories = (
            np.flatnonzero(mask) for mask in (~is_categorical, is_categorical)
        )
        widths = [_n_levels(X[:, place]) for place in categories]
        order = np.argsort(widths, kind="stable")
        part = X if len(numbers) == d else X[:, numbers]
        quantiles = ()
        if scaling in ("auto", "quantile"):
            quantiles = quantiles_of(part, weight)
            part = with_quantiles(part, quantiles, xp)
        mean, deviation, gaps = _moments(part, weight, xp)
        center, factor = xp.zeros_like(mean), xp.ones_like(mean)
        if scaling is not None:
            center = mean
            positive = deviation > 0
            factor = 1 / xp.where(positive, deviation, factor)
            factor = xp.where(positive, factor, xp.zeros_like(factor))
        categories = categories[order]
        missing = np.isnan(X[:, categories]).any(axis=0) if len(categories) else []
        widths = tuple(int(widths[place]) for place in order)
        return cls(
            numbers,
            categories,
            tuple(w - 1 if gap else -1 for w, gap in zip(widths, missing, strict=True)),
            mean,
            center,
            factor,
            gaps[gaps < len(numbers)],
            widths,
            scaling,
            quantiles,
        )

    @property
    def scalings(self):
        """The scalings that recipes may have, the simplest first.

        Numbers of two values are quantiles as they are.
        """
        if self.scaling != "auto":
            return (self.scaling,)
        other = any(quantile.values.size > 2 for quantile in self.quantiles)
        return ("clipped", "quantile") if other else ("clipped",)

    @property
    def quantile_columns(self):
        """The first column of quantiles and the one after the last, or None."""
        n = len(self.numbers)
        return (n, 2 * n) if self.quantiles else None

    def scaled(self, scaling):
        """Return the encoder with one scaling in place of "auto"."""
        if self.scaling != "auto":
            return self
        if scaling == "quantile":
            return replace(self, scaling=scaling)
        n = len(self.numbers)
        parts = {name: getattr(self, name)[:n] for name in ("mean", "center", "factor")}
        return replace(self, **parts, scaling=scaling, quantiles=())

    @property
    def origins(self):
        """The column that each column of the rows comes from."""
        levels = np.repeat(self.categories, self.widths)
        return np.concatenate([self.number_origins, levels])

    @property
    def number_origins(self):
        """The column that each column of `encode_numbers` comes from."""
        copies = [self.numbers, self.numbers] if self.quantiles else [self.numbers]
        return np.concatenate([*copies, self.numbers[self.gaps]])

    def transform(self, X, xp):
        """Return the rows of a matrix of numbers and codes."""
        Z = self.encode_numbers(X, xp)
        if self.categories.size == 0:
            return Z
        levels = (block.astype(Z.dtype) for block in self._levels(X))
        return np.concatenate([Z, *levels], axis=1)

    def encode_numbers(self, X, xp):
        """Return the columns of the numbers, and of their missing values."""
        Z = X if self.categories.size == 0 else X[:, self.numbers]
        if self.quantiles:
            Z = with_quantiles(Z, self.quantiles, xp)
        missing = np.isnan(Z) if xp is np else None
        if missing is not None and missing.any():
            Z = np.where(missing, self.mean, Z)
        Z = (Z - self.center) * self.factor
        if self.scaling in ("auto", "clipped", "quantile"):
            Z = Z / xp.sqrt(1 + (Z / _CLIP) ** 2)
        if not self.gaps.size:
            return Z
        return np.concatenate([Z, missing[:, self.gaps].astype(Z.dtype)], axis=1)

    def _levels(self, X):
        """Yield the blocks of zeros and ones of the categories."""
        what = zip(self.categories, self.widths, self.absences, strict=True)
        for place, width, absence in what:
            codes = X[:, place]
            codes = np.where(np.isnan(codes), absence, codes)
            yield codes[:, None] == np.arange(width)


@dataclass(frozen=True)
class Coding:
    """A reader and an encoder: from a table to the rows of a kernel."""

    reader: TableReader | None
    encoder: TableEncoder

    @classmethod
    def of(cls, X, categories, weight):
        """Learn from a table of scaled numbers, with categories at some places."""
        mask, reader, read = np.zeros(X.shape[1], dtype=bool), None, X
        if categories is not None:
            mask[categories] = True
            reader = TableReader(mask).fit(X)
            read = reader.transform(X)
        return cls(reader, TableEncoder.fit(read, mask, weight, None, np))

    def transform(self, X):
        """Return the rows of a table."""
        read = X if self.reader is None else self.reader.transform(X)
        return self.encoder.transform(read, np)


def _n_levels(codes):
    """Return the number of levels; missing values are the last one."""
    missing = np.isnan(codes)
    known = codes[~missing]
    return int(known.max(initial=-1)) + 1 + int(missing.any())


def _moments(X, weight, xp):
    """Return weighted means and deviations of columns, and which have missing values.

    The deviation of a column that is constant but for rounding errors is 0.
    """
    if xp is np and np.isnan(X).any():
        parts = [_moments(x[~np.isnan(x), None], weight[~np.isnan(x)], np) for x in X.T]
        mean, deviation = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
        return mean, deviation, np.flatnonzero(np.isnan(X).any(axis=0))
    gaps = np.array([], dtype=int)
    if X.shape[0] == 0:
        return np.zeros(X.shape[1], X.dtype), np.zeros(X.shape[1], X.dtype), gaps
    share = (weight / xp.sum(weight))[:, None]
    mean = xp.sum(share * X, axis=0)
    deviation = xp.sqrt(xp.sum(share * (X - mean) ** 2, axis=0))
    rounding = X.shape[0] * xp.finfo(X.dtype).eps * xp.abs(mean)
    zero = xp.zeros_like(deviation)
    return mean, xp.where(deviation > rounding, deviation, zero), gaps


__all__ = ["MAX_LEVELS", "SCALINGS", "Coding", "TableEncoder", "TableReader"]
