"""The units of a sparse regression: rows and targets centred, and of order 1."""

from dataclasses import dataclass

import numpy as np

from .._backend import FloatArray

# A column is constant if it varies by no more than so many rounding units of its mean.
_CONSTANT = 16
# Bounds the exponent of 2 of the unit of alpha, so that products with it are finite.
_MAX_EXPONENT = 900


@dataclass(frozen=True, kw_only=True)
class Units:
    """What is subtracted from rows and targets, and what they are divided by.

    Everything is in float64, whatever the precision of X. Scales are powers of 2, so
    that no digit is lost, and one for all columns, because the penalty depends on their
    ratios.

    Attributes
    ----------
    x_center : ndarray of shape (d,)
    y_center : ndarray of shape (t,)
        The weighted means, or zeros without an intercept.
    x_exponent, y_exponent : int
        The exponents of the scales.
    """

    x_center: FloatArray
    y_center: FloatArray
    x_exponent: int
    y_exponent: int

    @classmethod
    def fit(cls, X, Y, weight, *, centred, dtype, names=None):
        """Learn from rows (n, d), targets (n, t) and weights (n,).

        Raise ValueError for columns that a precision `dtype` does not resolve beside
        the others; `names` are those of the columns of X.
        """
        x_center, x_size = _center_and_size(X, weight, centred=centred)
        y_center, y_size = _center_and_size(Y, weight, centred=centred)
        columns = range(len(x_size)) if names is None else names
        _require_resolved(x_size, [f"column {c!r} of X" for c in columns], dtype)
        _require_resolved(
            y_size, [f"column {k} of y" for k in range(len(y_size))], dtype
        )
        return cls(
            x_center=x_center,
            y_center=y_center,
            x_exponent=_exponent(x_size.max(initial=0.0)),
            y_exponent=_exponent(y_size.max(initial=0.0)),
        )

    def rows(self, X, dtype):
        """Return rows in these units."""
        return _in_units(X, self.x_center, self.x_exponent).astype(dtype)

    def targets(self, Y, dtype):
        """Return targets (n, t) in these units."""
        return _in_units(Y, self.y_center, self.y_exponent).astype(dtype)

    def alpha(self, order):
        """Return the unit of alpha for a penalty of an order p."""
        exponent = (2 - order) * self.y_exponent + order * self.x_exponent
        return float(2.0 ** np.clip(exponent, -_MAX_EXPONENT, _MAX_EXPONENT))

    def coef_from(self, coef):
        """Return coefficients (d, t) of the user as coefficients in these units."""
        return np.ldexp(np.float64(coef), self.x_exponent - self.y_exponent)

    def coef_to(self, coef):
        """Return coefficients in these units as those of the user.

        They are in their precision if that has the range, else in float64.
        """
        exact = np.ldexp(np.float64(coef), self.y_exponent - self.x_exponent)
        for dtype in (coef.dtype, np.float64):
            found = exact.astype(dtype)
            is_lost = (np.abs(found) < np.finfo(dtype).tiny) & (coef != 0)
            if np.isfinite(found).all() and not is_lost.any():
                return found
        raise ValueError(
            "The coefficients are out of the range of float64, because the units of X "
            f"(about 1e{self.x_exponent * 0.30103:.0f}) and of y (about "
            f"1e{self.y_exponent * 0.30103:.0f}) differ too much: scale X or y."
        )

    def intercept(self, coef):
        """Return the intercept (t,) in float64 for coefficients (d, t) of the user."""
        return self.y_center - self.x_center @ np.float64(coef)


def _center_and_size(A, weight, *, centred):
    """Return what is subtracted from columns, and the largest absolute results."""
    A = np.asarray(A, np.float64)
    if not centred:
        return np.zeros(A.shape[1]), np.abs(A).max(axis=0)
    exponent = _exponent(np.abs(A).max(initial=0.0))
    A = np.ldexp(A, -exponent)
    center = np.average(A, axis=0, weights=np.float64(weight))
    size = np.abs(_varying(A - center, center)).max(axis=0)
    return np.ldexp(center, exponent), np.ldexp(size, exponent)


def _varying(deviations, center):
    """Return deviations from a center, exact zeros for constant columns."""
    rounding = _CONSTANT * np.finfo(np.float64).eps * np.abs(center)
    return deviations * (np.abs(deviations).max(axis=0) > rounding)


def _in_units(A, center, exponent):
    """Return centred and scaled columns."""
    deviations = np.float64(A) - center
    return np.ldexp(_varying(deviations, center), -exponent)


def _exponent(size):
    """Return the exponent of the power of 2 at or below a positive number; 0 for 0."""
    return int(np.frexp(size)[1]) - 1 if size > 0 else 0


def _require_resolved(size, names, dtype):
    """Raise ValueError for a column that varies too little beside the largest."""
    top = size.argmax() if len(size) else 0
    lost = np.flatnonzero(
        (size > 0) & (size < np.finfo(dtype).eps * size.max(initial=0))
    )
    if len(lost):
        ratio = size[lost[0]] / size[top]
        raise ValueError(
            f"The range of {names[lost[0]]} is {ratio:.1g} times that of {names[top]}, "
            f"which {np.dtype(dtype)} does not resolve: scale the columns, for example "
            "by StandardScaler, or drop it."
        )
