"""Models whose Jacobian has a closed form: linear ones, networks, sums of kernels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..._backend import Array, FloatArray
from ._links import identity
from ._pairs import PairKernel


class Model(Protocol):
    """A model of rows.

    Attributes
    ----------
    floats_per_row : int
        About how many numbers its Jacobian takes for each row, which bounds blocks.
    """

    @property
    def floats_per_row(self) -> int: ...  # noqa: D102

    def jacobian(self, X: Any) -> tuple[Array, Array]:
        """Return the response (b, c) at rows of a table, and its Jacobian (b, c, d)."""
        ...


@dataclass(frozen=True)
class LinearModel:
    """A linear model, with a link to its response.

    Attributes
    ----------
    coef : ndarray of shape (c, d)
    intercept : ndarray of shape (c,)
    link : callable
    """

    coef: FloatArray
    intercept: FloatArray
    link: Callable = identity

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        return 3 * self.coef.size

    def jacobian(self, X):
        """Return the response at rows and its Jacobian."""
        F = X @ self.coef.T + self.intercept
        return self.link(F, np.broadcast_to(self.coef, (len(X), *self.coef.shape)))


# activations of hidden units, and their derivatives as functions of their values
_ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "identity": (lambda z: z, np.ones_like),
    "logistic": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(a.dtype)),
}


@dataclass(frozen=True)
class Network:
    """A fully connected network, differentiated by back-propagation of its outputs.

    Attributes
    ----------
    coefs : list of ndarray of shape (n_in, n_out)
    intercepts : list of ndarray of shape (n_out,)
    activation : str
        Of the hidden units.
    link : callable
        From the outputs to the response.
    """

    coefs: list[Array]
    intercepts: list[Array]
    activation: str
    link: Callable = identity

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        n_outputs = self.coefs[-1].shape[1]
        return 3 * n_outputs * max(len(coef) for coef in self.coefs)

    def activations(self, X):
        """Return the inputs (b, n_in) of all layers, and the outputs, last."""
        activate, found = _ACTIVATIONS[self.activation][0], [X]
        for coef, intercept in zip(self.coefs, self.intercepts, strict=True):
            sums = found[-1] @ coef + intercept
            is_last = len(found) == len(self.coefs)
            found.append(sums if is_last else activate(sums))
        return found

    def jacobian(self, X):
        """Return the response at rows and its Jacobian."""
        values = self.activations(X)
        slope = _ACTIVATIONS[self.activation][1]
        last = self.coefs[-1].T
        J: Array = np.broadcast_to(last, (len(X), *last.shape))
        for coef, value in zip(self.coefs[-2::-1], values[-2:0:-1], strict=True):
            J = (J * slope(value)[:, None, :]) @ coef.T
        return self.link(values[-1], J)

    def above(self, layer):
        """Return the network of the layers from `layer` on."""
        return replace(
            self, coefs=self.coefs[layer:], intercepts=self.intercepts[layer:]
        )


@dataclass(frozen=True)
class KernelSum:
    """A sum of kernels of points, with a link to its response.

    Attributes
    ----------
    kernel : PairKernel
    points : ndarray of shape (n, d)
    coef : ndarray of shape (n, c)
    intercept : ndarray of shape (c,)
    link : callable
    """

    kernel: PairKernel
    points: FloatArray
    coef: FloatArray
    intercept: FloatArray
    link: Callable = identity

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        return 8 * len(self.points) + 4 * self.coef.shape[1] * self.points.shape[1]

    def jacobian(self, X):
        """Return the response at rows and its Jacobian."""
        pairs = self.kernel(X, self.points)
        F = pairs.value @ self.coef + self.intercept
        return self.link(F, pairs.gradients(X, self.points, self.coef))


@dataclass(frozen=True)
class Mapped:
    """A model of rows that a matrix L maps: f(L x + l).

    Attributes
    ----------
    model : Model
    matrix : ndarray of shape (k, d)
    offset : ndarray of shape (k,)
    """

    model: Model
    matrix: FloatArray
    offset: FloatArray | float = 0.0

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        return self.model.floats_per_row + 2 * self.matrix.shape[1]

    def jacobian(self, X):
        """Return the response at rows and its Jacobian."""
        F, J = self.model.jacobian(X @ self.matrix.T + self.offset)
        return F, J @ self.matrix
