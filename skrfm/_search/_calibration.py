"""Class probabilities from the outputs of kernel machines.

Least squares on coded classes estimates their probabilities, but nothing keeps the
estimates between 0 and 1. Everything here is NumPy in float64.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.interpolate import BSpline
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

# bounds of the search for the temperature
_TEMPERATURES = (0.1, 100.0)
# The smaller the softness, the more an estimate near 0 lowers a probability, as rare
# classes need. Chosen on the choosing half of the tables (benchmarks/calibration.py).
_SOFTNESSES = (0.05, 0.2, np.inf)
# below it softplus(x) equals exp(x) in float64, and its logarithm x
_EXPONENTIAL_BELOW = -40.0
# A spline of the log-odds has knots at so many quantiles. With 5 or 8 of them the mean
# log-loss on the choosing half differed by .00001.
_KNOTS, _DEGREE = 6, 3
# Its coefficients have a normal prior; these precisions are compared.
_PRECISIONS = (0.1, 1.0, 10.0, 100.0)
# the smallest slope of calibrated log-odds, and at how many places it is looked at
_LEAST_SLOPE, _PLACES = 0.1, 201


@dataclass(frozen=True)
class Calibration:
    """Probabilities are softmax(temperature · φ(q)) of the estimates q.

    φ(q) is log softplus(q / softness): about log q where q is far above the softness,
    and linear in q below 0. With an infinite softness φ(q) is q. Every φ keeps the
    order of the classes. Of two classes, the log-odds may be changed by a curve.
    """

    temperature: float = 1.0
    softness: float = np.inf
    curve: "LogOddsCurve | None" = None

    @classmethod
    def fit(cls, outputs, targets, weight, softnesses=_SOFTNESSES):
        """Return the calibration of the least log-loss.

        One more row is added, which belongs to each class in equal parts: however well
        n rows are separated, a probability of 1 / (n + 1) of an error remains.

        Parameters
        ----------
        outputs, targets : ndarray of shape (m, c)
            Outputs on validation rows, and their coded classes.
        weight : ndarray of shape (m,)
        softnesses : iterable of float
        """
        fits = [_temperature(outputs, targets, weight, s) for s in softnesses]
        best = int(np.argmin([loss for loss, _ in fits]))
        return cls(fits[best][1], softnesses[best])

    def with_curve(self, outputs, targets, weight):
        """Return the calibration with the likeliest curve of its log-odds, if any.

        Takes the arguments of `fit`; of more than two classes it returns itself.
        """
        if outputs.shape[1] > 1:
            return self
        odds = _log_odds(self._logits(outputs))
        curve = LogOddsCurve.fit(odds, targets[:, 0] > 0, weight)
        return replace(self, curve=curve)

    def probabilities(self, outputs):
        """Return class probabilities (m, n_classes) from outputs (m, c)."""
        return softmax(self._logits(outputs), axis=1)

    def logits(self, outputs):
        """Return the logits (m, n_classes), and their derivatives by the estimates."""
        q = _estimates(outputs)
        if np.isinf(self.softness):
            slopes = np.ones_like(q)
        else:
            # below the bound the derivative is 1 / softness, as at the bound
            z = np.maximum(q / self.softness, _EXPONENTIAL_BELOW)
            slopes = expit(z) / np.logaddexp(0, z) / self.softness
        slopes *= self.temperature
        if self.curve is not None:  # the estimates of two classes add up to 1
            odds = _log_odds(self.temperature * _features(outputs, self.softness))
            both = slopes.sum(axis=1, keepdims=True)
            slopes += (self.curve.slopes(odds)[:, None] - 1) * both / 2
        return self._logits(outputs), slopes

    def log_likelihood(self, outputs, targets):
        """Return the log-probabilities (m,) of the classes of the targets."""
        logs = log_softmax(self._logits(outputs), axis=1)
        return logs[np.arange(len(logs)), _classes(targets)]

    def _logits(self, outputs):
        logits = self.temperature * _features(outputs, self.softness)
        if self.curve is not None:
            odds = _log_odds(logits)
            change = (self.curve(odds) - odds)[:, None] / 2
            logits += np.hstack([-change, change])
        return logits


@dataclass(frozen=True)
class LogOddsCurve:
    """An increasing function of log-odds that is 0 at 0.

    It is the identity plus a cubic spline, which is linear beyond its outer knots.
    """

    spline: BSpline
    first: float
    last: float

    @classmethod
    def fit(cls, odds, is_second, weight) -> Self | None:
        """Return the curve of the largest evidence, None if that is the identity.

        The evidence of a precision of the prior is the likelihood of the classes, its
        coefficients integrated out by the approximation of Laplace. So few rows, or
        log-odds that are right, are not changed by what may be chance. As in
        `Calibration.fit` one more row belongs to each class in equal parts.

        Parameters
        ----------
        odds : ndarray of shape (m,)
        is_second : ndarray of bool of shape (m,)
            Whether the class is the second, of which the log-odds are.
        weight : ndarray of shape (m,)
        """
        basis = cls._basis(odds, weight)
        if basis is None:
            return None
        smoothing = 1 / (weight.sum() + 1)
        share = (1 - smoothing) * is_second + smoothing / 2
        design, best = basis._spline_at(odds) - basis._spline_at(np.zeros(1)), None
        most = -_losses(odds, share) @ weight
        for precision in _PRECISIONS:
            coef = _coefficients(design, odds, share, weight, precision)
            curve = replace(basis, spline=basis._combined(coef))
            if curve._least_slope() < _LEAST_SLOPE:
                continue
            changed = odds + design @ coef
            evidence = -_losses(changed, share) @ weight - precision * coef @ coef / 2
            spread = np.linalg.eigvalsh(_information(design, changed, weight))
            evidence -= np.log1p(spread.clip(0) / precision).sum() / 2
            if evidence > most:
                most, best = evidence, curve
        return best

    @classmethod
    def _basis(cls, odds, weight):
        """Return all B-splines at quantiles, or None with too few values for them.

        Log-odds that are not finite, as of a machine that diverged, have none.
        """
        if not np.isfinite(odds).all():
            return None
        shares = np.linspace(0, 1, _KNOTS)
        used = weight > 0
        knots = np.unique(
            np.quantile(odds[used], shares, weights=weight[used], method="inverted_cdf")
        )
        if len(knots) < _KNOTS:
            return None
        steps = np.arange(1, _DEGREE + 1)
        before = knots[0] - (knots[1] - knots[0]) * steps[::-1]
        after = knots[-1] + (knots[-1] - knots[-2]) * steps
        splines = np.eye(_KNOTS + _DEGREE - 1)
        spline = BSpline(np.concatenate([before, knots, after]), splines, _DEGREE)
        return cls(spline, knots[0], knots[-1])

    def _combined(self, coef):
        return BSpline(self.spline.t, coef, _DEGREE)

    def __call__(self, odds):
        """Return the calibrated log-odds."""
        return odds + self._spline_at(odds) - self._spline_at(np.zeros(1))

    def slopes(self, odds):
        """Return the derivatives of the calibrated log-odds."""
        return 1 + self.spline.derivative()(odds.clip(self.first, self.last))

    def _spline_at(self, odds):
        inside = odds.clip(self.first, self.last)
        values, slopes = self.spline(inside), self.spline.derivative()(inside)
        beyond = odds - inside
        return values + (slopes.T * beyond).T

    def _least_slope(self):
        return self.slopes(np.linspace(self.first, self.last, _PLACES)).min()


def _losses(odds, share):
    """Return the log-losses at log-odds of classes of which shares are the second."""
    return np.logaddexp(0, odds) - share * odds


def _information(design, odds, weight):
    """Return the second derivatives of the sum of the losses by the coefficients."""
    proba = expit(odds)
    return design.T @ ((weight * proba * (1 - proba))[:, None] * design)


def _coefficients(design, odds, share, weight, precision):
    """Return the coefficients of the largest likelihood times prior."""
    total = weight.sum()

    def loss(coef):
        changed = odds + design @ coef
        value = weight @ _losses(changed, share) + precision * coef @ coef / 2
        slope = design.T @ (weight * (expit(changed) - share)) + precision * coef
        return value / total, slope / total

    def curvature(coef):
        information = _information(design, odds + design @ coef, weight)
        return (information + precision * np.eye(len(coef))) / total

    start, options = np.zeros(design.shape[1]), {"gtol": 1e-10}
    found = minimize(
        loss, start, jac=True, hess=curvature, method="trust-exact", options=options
    )
    return found.x


def _log_odds(logits):
    return logits[:, 1] - logits[:, 0]


def _temperature(outputs, targets, weight, softness):
    """Return the least loss at a softness, and its temperature."""
    phi = _features(outputs, softness)
    share = weight / weight.sum()
    smoothing = 1 / (weight.sum() + 1)
    own = phi[np.arange(len(phi)), _classes(targets)]
    largest = phi.max(axis=1)
    slope = share @ ((1 - smoothing) * own + smoothing * phi.mean(axis=1) - largest)
    phi -= largest[:, None]

    def loss(log_temperature):
        temperature = np.exp(log_temperature)
        total = np.exp(temperature * phi).sum(axis=1)
        return share @ np.log(total) - temperature * slope

    bounds = np.log(_TEMPERATURES)
    options = {"xatol": 1e-4}
    minimum = minimize_scalar(loss, bounds=bounds, method="bounded", options=options)
    return minimum.fun, float(np.exp(minimum.x))


def _features(outputs, softness):
    """Return φ of the estimates, a new array (m, n_classes)."""
    q = _estimates(outputs)
    if np.isinf(softness):
        return q
    q /= softness
    # far below the bound the exponential would be 0, which has no logarithm
    softplus = np.logaddexp(0, np.maximum(q, _EXPONENTIAL_BELOW))
    return np.where(q < _EXPONENTIAL_BELOW, q, np.log(softplus))


def _estimates(outputs):
    """Return the estimates of the probabilities, a new array (m, n_classes)."""
    q = outputs.astype(np.float64)
    if q.shape[1] == 1:  # two classes, coded ±1
        q = np.hstack([1 - q, 1 + q]) / 2
    return q


def _classes(targets):
    """Return the numbers of the classes of coded targets."""
    if targets.shape[1] == 1:
        return (targets[:, 0] > 0).astype(int)
    return targets.argmax(axis=1)
