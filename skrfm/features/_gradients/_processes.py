"""Probabilities of Gaussian process classifiers, by Laplace's approximation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import erf
from sklearn.gaussian_process import GaussianProcessClassifier

from ..._sklearn import logistic_as_error_functions
from ._links import shares_of_sum
from ._pairs import PairKernel, Pairs, process_kernel


@dataclass(frozen=True)
class BinaryProcess:
    """A latent Gaussian process f, whose logistic function is a probability.

    Attributes
    ----------
    fitted : estimator
        The fitted binary classifier of scikit-learn.
    kernel : PairKernel
        Its kernel.
    """

    fitted: Any
    kernel: PairKernel

    def jacobian(self, X):
        """Return the probabilities (b,) of the second class, and gradients (b, d).

        They are the expectation of the logistic function of a normal number with the
        mean and the variance of f, the function being a sum of five error functions.
        """
        mean, variance, mean_slope, variance_slope = self._latent(X)
        coefs, slopes = logistic_as_error_functions()
        scale = np.sqrt(1 + 2 * slopes**2 * variance)
        u = slopes * mean / scale
        proba = (coefs * (1 + erf(u)) / 2).sum(axis=0)
        density = coefs * np.exp(-(u**2)) / np.sqrt(np.pi)
        by_mean = (density * slopes / scale).sum(axis=0)
        by_variance = -(density * u * (slopes / scale) ** 2).sum(axis=0)
        gradient = by_mean[:, None] * mean_slope
        return proba, gradient + by_variance[:, None] * variance_slope

    def _latent(self, X):
        """Return mean and variance (b,) of f, and their gradients (b, d)."""
        fitted, Z = self.fitted, self.fitted.X_train_
        pairs, root = self.kernel(X, Z), fitted.W_sr_[:, None]
        coef = (fitted.y_train_ - fitted.pi_)[:, None]
        v = solve_triangular(fitted.L_, root * pairs.value.T, lower=True)
        weights = (root * solve_triangular(fitted.L_, v, lower=True, trans=1)).T
        variance = fitted.kernel_.diag(X) - (v**2).sum(axis=0)
        # the kernel of a row with itself changes by both of its arguments
        diagonal = _weighted_gradients(self.kernel(X, X), np.eye(len(X)), X, X)
        others = _weighted_gradients(pairs, weights, X, Z)
        mean_slope = pairs.gradients(X, Z, coef)[:, 0]
        return pairs.value @ coef[:, 0], variance, mean_slope, 2 * (diagonal - others)


def _weighted_gradients(pairs, weights, X, Z):
    """Return Σ_j weights_ij ∇k(x_i, z_j), of shape (b, d)."""
    weighted = Pairs(pairs.value, pairs.times(weights))
    return weighted.gradients(X, Z, np.ones((len(Z), 1)))[:, 0]


@dataclass(frozen=True)
class ProcessClassifier:
    """Probabilities of the classes, from one process or one for each class.

    Attributes
    ----------
    processes : list of BinaryProcess
        Probabilities of several are divided by their sum.
    """

    processes: list[BinaryProcess]

    @classmethod
    def of(cls, classifier: GaussianProcessClassifier) -> "ProcessClassifier | None":
        """Return the model of a fitted classifier, or None if a kernel is not known."""
        base: Any = classifier.base_estimator_
        parts = base.estimators_ if hasattr(base, "estimators_") else [base]
        processes = []
        for fitted in parts:
            known = hasattr(fitted, "kernel_") and hasattr(fitted, "W_sr_")
            kernel = process_kernel(fitted.kernel_) if known else None
            if kernel is None:
                return None
            processes.append(BinaryProcess(fitted, kernel))
        return cls(processes)

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        n, d = np.shape(self.processes[0].fitted.X_train_)
        return 12 * n + 4 * len(self.processes) * d

    def jacobian(self, X):
        """Return the probabilities at rows, and their Jacobian."""
        found = [process.jacobian(X) for process in self.processes]
        F, J = (np.stack(parts, axis=1) for parts in zip(*found, strict=True))
        if len(found) == 1:
            return np.hstack([1 - F, F]), np.concatenate([-J, J], axis=1)
        return shares_of_sum(F, J)
