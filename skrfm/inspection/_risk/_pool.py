"""Labelled rows with the eigenvalues of their kernel matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..._backend import FloatArray, NumpyBackend, Table, Vector, own_threads
from ..._recursion import median_distance, parse_bandwidth
from ..._sklearn import check_array
from ..._tables import read_numbers, to_host
from ...kernels import Kernel, get_kernel
from ...rfm import RFMClassifier, RFMRegressor
from ._formulas import Spectrum

_MACHINES = RFMRegressor, RFMClassifier
# The least effective ridge, as a share of the largest eigenvalue, that residuals are
# divided by; both vanish without one, and their ratio has a limit.
_LEAST_RIDGE = 1e-13


def kernel_rows(
    estimator: Any, X: Table, bandwidth: float | str, *, name: str
) -> tuple[Any, FloatArray, float]:
    """Return a kernel, rows as it takes them, and its bandwidth.

    Parameters
    ----------
    estimator : fitted RFMRegressor or RFMClassifier, or kernel
    X : array-like of shape (n, d)
    bandwidth : float or str
        That of a kernel; an estimator has its own.
    name : str
        Of the function that a user has called.
    """
    if isinstance(estimator, _MACHINES):
        check_is_fitted(estimator)
        return estimator._kernel_rows(X, name)
    if not isinstance(estimator, (str, Kernel)):
        raise TypeError(
            f"{name} supports a fitted RFMRegressor or RFMClassifier, a kernel of "
            f"skrfm.kernels or its name; got {estimator!r}."
        )
    kernel = get_kernel(estimator)
    numbers = read_numbers(to_host(X))
    T = check_array(numbers, dtype=np.float64, ensure_min_samples=2, input_name="X")
    if kernel.of_inner_products:
        T = T - T.mean(axis=0)
    factor, is_multiple = parse_bandwidth(bandwidth)
    if is_multiple:
        weight = np.ones(len(T))
        factor *= median_distance(kernel, T, weight, NumpyBackend(), seed=0)
    return kernel, T, factor


def one_hot(y: Vector) -> tuple[np.ndarray, FloatArray]:
    """Return the numbers (n,) of the classes of labels, and their indicators (n, c)."""
    check_classification_targets(y)
    _, codes = np.unique(column_or_1d(to_host(y)), return_inverse=True)
    return codes, np.eye(codes.max() + 1)[codes]


@dataclass(frozen=True)
class Pool:
    """Labelled rows in the eigenvectors of their kernel matrix.

    Attributes
    ----------
    spectrum : Spectrum
        Eigenvalues of the kernel matrix by the number of rows, and the power of the
        targets.
    vectors : ndarray of shape (P, P)
        The unit eigenvectors, in columns.
    coefficients : ndarray of shape (P, c)
        Coefficients of the centred targets on them.
    """

    spectrum: Spectrum
    vectors: FloatArray
    coefficients: FloatArray

    @classmethod
    def of(cls, kernel, T, bandwidth, Y):
        """Return the pool of rows that a kernel takes, with targets (P, c)."""
        with own_threads(len(T)):
            K = NumpyBackend().cross(kernel, T, T, bandwidth)
            values, vectors = eigh(K.astype(np.float64, copy=False), overwrite_a=True)
            coefficients = vectors.T @ (Y - Y.mean(axis=0))
        power = coefficients**2 / len(T)
        return cls(Spectrum.of(values / len(T), power), vectors, coefficients)

    @property
    def n_rows(self) -> int:
        """The number P of rows."""
        return len(self.vectors)

    def leave_one_out(self, kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return leave-one-out residuals with the ridges P κ, and unscaled residuals.

        Both are divided by the same number at each ridge, so that they have limits as
        it vanishes.

        Parameters
        ----------
        kappa : ndarray of shape (k,)

        Returns
        -------
        residuals : ndarray of shape (k, P, c)
            Of each row with the machine that is fitted to the others.
        gcv : ndarray of shape (k,)
            The generalised cross-validation, summed over the outputs.
        """
        values = self.spectrum.values
        kappa = np.maximum(kappa, _LEAST_RIDGE * values.max())
        # 1 / κ of the residual share κ / (λ + κ): of residuals and 1 − leverages alike
        shares = 1 / (values[:, None] + kappa)
        weighted = shares[:, :, None] * self.coefficients[:, None, :]
        with own_threads(self.n_rows):
            freedom = (self.vectors**2 @ shares).T
            flat = self.vectors @ weighted.reshape(self.n_rows, -1)
        residuals = flat.reshape(weighted.shape).transpose(1, 0, 2)
        gcv = (residuals**2).mean(axis=1) / freedom.mean(axis=1)[:, None] ** 2
        return residuals / freedom[:, :, None], gcv.sum(axis=1)
