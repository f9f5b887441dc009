"""Untested pairs of a matrix, ranked by what a completer predicts for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, IntArray, Table
from .._tables import to_host
from ._entries import ObservedEntries
from ._input import require_entries, triplets_of
from ._side_features._labels import labels_of

_ORDERS = ("mean", "lower_bound", "expected_improvement")
_REFERENCES = ("all", "row", "column")
# Pairs that are predicted together: bounds the memory of a matrix of any size.
_BLOCK = 2_000_000
# Values count as equal up to this share of the largest: the rounding errors of single
# precision, and of means that a fit has subtracted.
_SAME_VALUE = 1e-5


def rank_untested(
    completer: Any,
    X: Table,
    *,
    n_pairs: int | None = 10,
    by: Literal["mean", "lower_bound", "expected_improvement"] = "mean",
    largest: bool = True,
    z: float = 1.0,
    best_of: Literal["all", "row", "column"] = "all",
) -> Any:
    """Rank the pairs of a row and a column that have not been measured.

    Parameters
    ----------
    completer : LinRFMCompleter, NTKMatrixCompleter or MatrixCompleter
        Fitted, with a method ``predict_entries(rows, cols, return_std=True)``.
    X : array-like or sparse matrix or array of shape (n_rows, n_features)
        The matrix that it was fitted to, with rows and columns in the same order. Its
        missing entries are the untested pairs; it may have further entries, of pairs
        that were measured since, or are not wanted.
    n_pairs : int, default=10
        The number of pairs; None returns all of them.
    by : {"mean", "lower_bound", "expected_improvement"}, default="mean"
        "mean" is the prediction. "lower_bound" is the prediction less `z` standard
        deviations, so that pairs that are little known come last; if the smallest
        values are wanted, it is the prediction plus as much. "expected_improvement" is
        the mean amount by which a measurement is better than the best one so far,
        which also favours pairs that are little known.
    largest : bool, default=True
        Whether large values are wanted, or small ones.
    z : float, default=1.0
        The number of standard deviations of "lower_bound"; 1.645 leaves 5 % below.
    best_of : {"all", "row", "column"}, default="all"
        The measurements that "expected_improvement" compares a pair with: all, or those
        of its row or column. Where there are none, all.

    Returns
    -------
    DataFrame or dict of ndarray
        The pairs, the best first: "row", "column", "mean" and "std"; unless `by` is
        "mean", also a column named `by` ("upper_bound" for the smallest). If X is a
        data frame of pandas or polars, a data frame with the labels of X; otherwise a
        dict of arrays with indices. Pairs without a standard deviation come last.

    Raises
    ------
    ValueError
        If X lacks entries of the fitted matrix, or has another shape or order of rows,
        if no pair is untested, or if a parameter has a value that is not listed.

    References
    ----------
    D. R. Jones, M. Schonlau and W. J. Welch, "Efficient global optimization of
    expensive black-box functions", Journal of Global Optimization 13, 1998,
    doi:10.1023/A:1008306431147.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import LinRFMCompleter
    >>> from skrfm.completion import rank_untested
    >>> rng = np.random.default_rng(0)
    >>> full = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    >>> X = np.where(rng.random(full.shape) < 0.5, full, np.nan)
    >>> completer = LinRFMCompleter(random_state=0).fit(X)
    >>> ranked = rank_untested(completer, X, n_pairs=3)
    >>> ranked["row"], ranked["column"], ranked["mean"].round(2)
    (array([49, 54,  6]), array([18, 39, 39]), array([5.88, 5.62, 5.45]))
    """
    _check_parameters(n_pairs=n_pairs, by=by, z=z, best_of=best_of)
    check_is_fitted(completer)
    X = to_host(X)
    entries = triplets_of(completer, X, reset=False).entries()
    require_entries(entries)
    _check_matrix(completer, entries)
    sign = 1.0 if largest else -1.0
    best = _best_measurements(entries, sign, best_of)
    criterion = _Criterion(completer, by=by, sign=sign, z=z, best=best)
    pairs = _best_pairs(entries, criterion.scores, n_pairs)
    if len(pairs) == 0:
        raise ValueError(
            "X has no missing entries, so there are no untested pairs to rank: pass "
            "the matrix of the fit."
        )
    return _labelled(X, criterion.columns(*pairs.T), pairs)


@dataclass(frozen=True)
class _Criterion:
    """What pairs are ranked by.

    Attributes
    ----------
    completer : completer
    by : str
    sign : float
        1 if large values are wanted, −1 for small ones.
    z : float
    best : callable
        Maps rows and columns to the best measurements, times the sign.
    """

    completer: Any
    by: str
    sign: float
    z: float
    best: Callable[[IntArray, IntArray], FloatArray]

    def scores(self, rows: IntArray, cols: IntArray) -> FloatArray:
        """Return scores of pairs, the larger the better."""
        if self.by == "mean":
            return self.sign * self.completer.predict_entries(rows, cols)
        mean, std = self.completer.predict_entries(rows, cols, return_std=True)
        return self._combine(mean, std, rows, cols)

    def _combine(self, mean, std, rows, cols):
        if self.by == "lower_bound":
            return self.sign * mean - self.z * std
        gain = self.sign * mean - self.best(rows, cols)
        # a pair that is known without error has the improvement max(gain, 0)
        ratio = gain / np.where(std == 0, 1, std)
        expected = gain * norm.cdf(ratio) + std * norm.pdf(ratio)
        return np.where(std == 0, np.maximum(gain, 0), expected)

    def columns(self, rows: IntArray, cols: IntArray) -> dict[str, FloatArray]:
        """Return the columns of the result."""
        mean, std = self.completer.predict_entries(rows, cols, return_std=True)
        if self.by == "mean":
            return {"mean": mean, "std": std}
        scores = self._combine(mean, std, rows, cols)
        name = self.by
        if name == "lower_bound":
            name = "lower_bound" if self.sign > 0 else "upper_bound"
            scores = self.sign * scores
        return {"mean": mean, "std": std, name: scores}


def _best_measurements(
    entries: ObservedEntries, sign: float, best_of: str
) -> Callable[[IntArray, IntArray], FloatArray]:
    """Return the best measurements that pairs are compared with, times a sign."""
    values = sign * entries.values.astype(np.float64)
    overall = float(values.max())
    if best_of == "all":
        return lambda rows, cols: np.full(len(rows), overall)
    axis = 0 if best_of == "row" else 1
    best = np.full(entries.shape[axis], -np.inf)
    np.maximum.at(best, (entries.rows, entries.cols)[axis], values)
    best[np.isinf(best)] = overall
    return lambda rows, cols: best[(rows, cols)[axis]]


def _best_pairs(
    entries: ObservedEntries,
    scores_of: Callable[[IntArray, IntArray], FloatArray],
    n_pairs: int | None,
) -> IntArray:
    """Return the untested pairs (n, 2) with the largest scores, the best first."""
    pairs, scores = np.zeros((0, 2), dtype=np.intp), np.zeros(0)
    for block in _untested(entries):
        if len(block) == 0:
            continue
        found = np.asarray(scores_of(*block.T), dtype=np.float64)
        pairs = np.concatenate([pairs, block])
        scores = np.concatenate([scores, np.where(np.isnan(found), -np.inf, found)])
        kept = np.argsort(-scores, kind="stable")[:n_pairs]
        pairs, scores = pairs[kept], scores[kept]
    return pairs


def _untested(entries: ObservedEntries) -> Iterator[IntArray]:
    """Yield the pairs (n, 2) that are not observed, some rows at a time."""
    m, n = entries.shape
    step = max(1, _BLOCK // n)
    for start in range(0, m, step):
        stop = min(start + step, m)
        first, end = np.searchsorted(entries.rows, [start, stop])
        missing = np.ones((stop - start, n), dtype=bool)
        missing[entries.rows[first:end] - start, entries.cols[first:end]] = False
        yield np.argwhere(missing) + [start, 0]


def _labelled(X, columns, pairs):
    """Return the columns of the result, in a data frame if X is one."""
    rows, cols = pairs.T
    is_frame = hasattr(X, "iloc") or hasattr(X, "with_columns")
    if not is_frame:
        return {"row": rows, "column": cols, **columns}
    found = {}
    for name, index, axis in (("row", rows, 0), ("column", cols, 1)):
        labels = labels_of(X, axis)
        found[name] = index if labels is None else labels.select(index).values
    return type(X)({**found, **columns})


def _check_matrix(completer: Any, entries: ObservedEntries) -> None:
    """Raise ValueError if a matrix lacks entries of the fit.

    A matrix with its rows in another order has the shape of the fit, and would give the
    predictions of other pairs.
    """
    fitted = getattr(completer, "_fitted", None)
    if fitted is None:
        return
    if fitted.shape != entries.shape:
        raise ValueError(
            f"X has the shape {entries.shape}, but the completer was fitted to a "
            f"matrix of the shape {fitted.shape}: pass the matrix of the fit."
        )
    of_fit = fitted.entries
    n = entries.shape[1]
    keys, wanted = (
        a.rows.astype(np.int64) * n + a.cols.astype(np.int64) for a in (entries, of_fit)
    )
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    tolerance = _SAME_VALUE * np.abs(of_fit.values).max()
    differs = keys[found] != wanted
    differs |= np.abs(entries.values[found] - of_fit.values) > tolerance
    if differs.any():
        first = int(np.flatnonzero(differs)[0])
        raise ValueError(
            f"X has no entry, or another value, for {differs.sum()} of the "
            f"{len(wanted)} entries of the fit (the first is in row "
            f"{of_fit.rows[first]}, column {of_fit.cols[first]}): pass the matrix of "
            "the fit, with its rows and columns in the same order."
        )


def _check_parameters(*, n_pairs: Any, by: Any, z: Any, best_of: Any) -> None:
    if n_pairs is not None and not (
        isinstance(n_pairs, Integral) and int(n_pairs) >= 1
    ):
        raise ValueError(
            f"n_pairs must be an integer above 0 or None, got {n_pairs!r}."
        )
    if by not in _ORDERS:
        raise ValueError(f"by must be one of {', '.join(_ORDERS)}, got {by!r}.")
    if best_of not in _REFERENCES:
        choices = ", ".join(_REFERENCES)
        raise ValueError(f"best_of must be one of {choices}, got {best_of!r}.")
    if not (isinstance(z, Real) and 0 <= float(z) < np.inf):
        raise ValueError(f"z must be a number of at least 0, got {z!r}.")
