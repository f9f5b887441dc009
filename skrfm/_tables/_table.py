"""From numbers and codes of categories to the rows of a kernel."""

import sys
from dataclasses import dataclass, replace

import numpy as np

from .._backend import Array, IntArray
from ._device import to_host
from ._quantiles import Quantiles, quantiles_of, with_quantiles
from ._reader import TableReader

# Standard deviations at which numbers are softly clipped, as in D. Holzmüller et al.,
# "Better by default", 2024; benchmarks/scaling.py compares the scalings.
_CLIP = 3.0

SCALINGS = ("auto", "clipped", "quantile", "standard")


@dataclass(frozen=True, kw_only=True)
class TableEncoder:
    """From a matrix of numbers and codes to the rows of a kernel.

    Numbers come first, in their order: missing values at the mean, centred, in units of
    the standard deviation, softly clipped. Their quantiles follow, scaled in the same
    way, if the scaling has them. Then there is a missing-value indicator for each
    number that had missing values. Levels come last, a block of indicator columns for
    each category, small categories first; a missing value is a level of its own, and a
    level that was not there at the fit has zeros in the whole block.

    Attributes
    ----------
    numbers, categories : ndarray of int
        The indices of the columns.
    mean : array of shape (n_columns,)
        What missing numbers are set to.
    center, factor : arrays of shape (n_columns,)
        What is subtracted from the numbers, and what they are then multiplied by.
    indicators : ndarray of int
        Which of the numbers have a missing-value indicator.
    category_sizes : tuple of int
        Numbers of levels of the categories.
    missing_codes : tuple of int
        The codes of missing values of the categories; -1, as an unknown level, where
        none was missing.
    scaling : {"auto", "clipped", "quantile", "standard"} or None
        "auto" has the columns of "quantile".
    quantiles : tuple of Quantiles
        Those of the numbers, if the scaling has them.
    """

    numbers: IntArray
    categories: IntArray
    mean: Array
    center: Array
    factor: Array
    indicators: IntArray
    category_sizes: tuple[int, ...]
    missing_codes: tuple[int, ...]
    scaling: str | None
    quantiles: tuple[Quantiles, ...] = ()

    @classmethod
    def fit(cls, X, is_categorical, weight, *, scaling, xp, names=None):
        """Learn from rows of positive weight.

        Parameters
        ----------
        X : array of shape (n, d)
            Numbers, NaN where they are missing, and codes.
        is_categorical : boolean ndarray of shape (d,) or None
        weight : array of shape (n,)
        scaling : {"auto", "clipped", "quantile", "standard"} or None
        xp : namespace
        names : sequence, default=None
            The names of the columns, for messages.

        Raises
        ------
        ValueError
            For numbers whose squares leave the range of the dtype.
        """
        d = X.shape[1]
        is_categorical = np.zeros(d, bool) if is_categorical is None else is_categorical
        numbers = np.flatnonzero(~is_categorical)
        part = X if len(numbers) == d else X[:, numbers]
        quantiles = ()
        if scaling in ("auto", "quantile"):
            quantiles = quantiles_of(part, weight)
            part = with_quantiles(part, quantiles, xp)
        mean, deviation, has_missing = moments(part, weight, xp)
        center, factor = xp.zeros_like(mean), xp.ones_like(mean)
        if scaling is not None:
            center = mean
            positive = deviation > 0
            factor = 1 / xp.where(positive, deviation, factor)
            factor = xp.where(positive, factor, xp.zeros_like(factor))
        _check_range(numbers, mean, deviation, factor, X.dtype, xp=xp, names=names)
        categories, sizes, missing_codes = _categories(X, is_categorical)
        return cls(
            numbers=numbers,
            categories=categories,
            mean=mean,
            center=center,
            factor=factor,
            indicators=has_missing[has_missing < len(numbers)],
            category_sizes=sizes,
            missing_codes=missing_codes,
            scaling=scaling,
            quantiles=quantiles,
        )

    @property
    def scalings(self):
        """The scalings that candidates may have, the simplest first.

        A number of two values is its own quantile, but for a factor.
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
        """Return the encoder with a chosen scaling in place of "auto"."""
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
        levels = np.repeat(self.categories, self.category_sizes)
        return np.concatenate([self.number_origins, levels])

    @property
    def number_origins(self):
        """The column that each column of `encode_numbers` comes from."""
        copies = [self.numbers, self.numbers] if self.quantiles else [self.numbers]
        return np.concatenate([*copies, self.numbers[self.indicators]])

    def transform(self, X, xp):
        """Return the rows of a matrix of numbers and codes."""
        Z = self.encode_numbers(X, xp)
        if self.categories.size == 0:
            return Z
        levels = (block.astype(Z.dtype) for block in self._levels(X))
        return np.concatenate([Z, *levels], axis=1)

    def encode_numbers(self, X, xp):
        """Return the columns of the numbers and of their missing-value indicators."""
        Z = X if self.categories.size == 0 else X[:, self.numbers]
        Z = xp.astype(Z, xp.float64, copy=False)
        if self.quantiles:
            Z = with_quantiles(Z, self.quantiles, xp)
        indicators = None
        if xp is np:  # other libraries have no missing values
            missing = np.isnan(Z)
            Z = np.where(missing, self.mean, Z) if missing.any() else Z
            indicators = missing[:, self.indicators]
        Z = (Z - self.center) * self.factor
        if self.scaling in ("auto", "clipped", "quantile"):
            Z = Z / xp.sqrt(1 + (Z / _CLIP) ** 2)
        Z = xp.astype(Z, X.dtype, copy=False)
        if indicators is None or not self.indicators.size:
            return Z
        return np.concatenate([Z, indicators.astype(Z.dtype)], axis=1)

    def _levels(self, X):
        """Yield the blocks of zeros and ones of the categories."""
        for column, size, missing_code in zip(
            self.categories, self.category_sizes, self.missing_codes, strict=True
        ):
            codes = X[:, column]
            codes = np.where(np.isnan(codes), missing_code, codes)
            yield codes[:, None] == np.arange(size)


@dataclass(frozen=True)
class Coding:
    """From a table to the rows of a kernel, and what is known of its columns.

    Attributes
    ----------
    reader : TableReader
    encoder : TableEncoder
    n_features : int or None
    feature_names : ndarray of str or None
        The names of the columns, where the training table had names.
    """

    reader: TableReader
    encoder: TableEncoder
    n_features: int | None = None
    feature_names: np.ndarray | None = None

    @classmethod
    def of_scaled_rows(cls, X, categories, weight):
        """Learn from scaled numbers, with categories in the columns of some indices."""
        reader, read = TableReader(), X
        if categories is not None:
            mask = np.zeros(X.shape[1], dtype=bool)
            mask[categories] = True
            reader = TableReader(mask).fit(X, weight)
            read = reader.transform(X)
        encoder = TableEncoder.fit(
            read, reader.is_categorical, weight, scaling=None, xp=np
        )
        return cls(reader, encoder)

    def attributes(self):
        """Return the attributes of an estimator for tables of this kind, by name."""
        found = {
            "n_features_in_": self.n_features,
            "is_categorical_": self.reader.is_categorical,
        }
        if self.feature_names is not None:
            found["feature_names_in_"] = self.feature_names
        return found

    def transform(self, X):
        """Return the rows of a table."""
        return self.encoder.transform(self.reader.transform(X), np)


def _categories(X, is_categorical):
    """Return the columns of categories, small ones first, their sizes, missing codes.

    A missing value is the last level of its category.
    """
    categories = np.flatnonzero(is_categorical)
    if not categories.size:
        return categories, (), ()
    missing = np.isnan(X[:, categories])
    largest = np.where(missing, -1, X[:, categories]).max(axis=0, initial=-1)
    has_missing = missing.any(axis=0)
    sizes = largest.astype(int) + 1 + has_missing
    order = np.argsort(sizes, kind="stable")
    codes = np.where(has_missing, sizes - 1, -1)
    return categories[order], tuple(sizes[order].tolist()), tuple(codes[order].tolist())


def _check_range(numbers, mean, deviation, factor, dtype, *, xp, names):
    """Raise ValueError for columns whose scaled numbers have no finite squares."""
    largest = float(xp.finfo(dtype).max) ** 0.5 / (1 + len(numbers)) ** 0.5
    scaled = xp.where(factor > 0, deviation * factor, xp.zeros_like(factor))
    fits = xp.isfinite(mean) & xp.isfinite(factor) & (scaled < largest)
    for column in np.flatnonzero(~np.asarray(to_host(fits)))[:1]:
        number = numbers[column % len(numbers)]
        name = number if names is None else repr(names[number])
        raise ValueError(
            f"Column {name} of X has numbers too large or too small for {dtype}: "
            "divide it by its order of magnitude"
            + (", or pass X in float64." if largest < 1e100 else ".")
        )


def moments(X, weight, xp):
    """Return weighted means and deviations, and which columns have missing values.

    They are in float64 and do not leave its range, whatever the unit of a column is.
    The deviation of a column that is constant but for rounding errors is 0.
    """
    # the mean of n equal numbers is off by n rounding errors at most
    rounding = max(X.shape[0] * sys.float_info.epsilon, float(xp.finfo(X.dtype).eps))
    X = xp.astype(X, xp.float64, copy=False)
    weight = xp.astype(weight, xp.float64, copy=False)[:, None]
    no_missing = np.array([], dtype=int)
    if X.shape[0] == 0:
        zeros = xp.zeros_like(xp.sum(X, axis=0))
        return zeros, zeros, no_missing
    if xp is np and np.isnan(X).any():
        known = ~np.isnan(X)
        has_missing = np.flatnonzero(~known.all(axis=0))
        weight, X = weight * known, np.where(known, X, 0)
    else:
        known, has_missing = xp.isfinite(X), no_missing
    total = xp.sum(weight + xp.zeros_like(X), axis=0)
    share = weight / xp.where(total > 0, total, xp.ones_like(total))
    mean = xp.sum(share * X, axis=0)
    centred = xp.where(known, X - mean, xp.zeros_like(X))
    size = xp.max(xp.abs(centred), axis=0)
    unit = _powers_of_2(size, xp)
    deviation = unit * xp.sqrt(xp.sum(share * (centred / unit) ** 2, axis=0))
    constant = size <= rounding * xp.max(xp.abs(X), axis=0)
    return mean, xp.where(constant, xp.zeros_like(size), deviation), has_missing


def _powers_of_2(sizes, xp):
    """Return the powers of 2 at or below positive numbers; 1 for zeros."""
    ones = xp.ones_like(sizes)
    positive = sizes > 0
    return xp.where(
        positive, 2.0 ** xp.floor(xp.log2(xp.where(positive, sizes, ones))), ones
    )
