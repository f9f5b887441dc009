"""The normal equations of a kernel machine of few centres, as sums over rows.

With K the kernel values between rows and centres, W the weights of the rows and y their
targets less the mean, they are (KᵀWK + ridge K_zz) a = KᵀWy.
"""

from dataclasses import dataclass
from typing import Any

from .._backend import Array, Backend
from .._tables import Data, RowBlocks
from ..agop import FeatureMetric


@dataclass(frozen=True)
class CenterFunctions:
    """The functions of x that a machine combines: k(x, z) of each centre z.

    Attributes
    ----------
    candidate : Candidate
    metric : FeatureMetric
    Z : array of shape (p, k)
        The mapped centres.
    bandwidth : float
    backend : Backend
    """

    candidate: Any
    metric: FeatureMetric
    Z: Array
    bandwidth: float
    backend: Backend

    def gram(self, X):
        """Return the CrossGram of rows that are centred, not yet mapped."""
        return self.backend.cross_gram(
            self.candidate.kernel,
            self.metric.transform(X, self.backend),
            self.Z,
            self.bandwidth,
            category_sizes=self.candidate.lookup_sizes,
        )

    def kernel_values(self, T):
        """Return the kernel values of mapped rows, of shape (m, p)."""
        return self.backend.cross(
            self.candidate.kernel,
            T,
            self.Z,
            self.bandwidth,
            category_sizes=self.candidate.lookup_sizes,
        )


class EquationsInMemory:
    """The equations of rows that are held, whose targets are centred.

    Parameters
    ----------
    gram : CrossGram
    Y : array of shape (n, c)
    weight : array of shape (n,)
    mean : array of shape (c,)
        What was subtracted from the targets.
    backend : Backend
    """

    def __init__(self, gram, Y, weight, mean, backend):
        self._gram, self._Y, self._weight, self.mean = gram, Y, weight, mean
        self.n_rows = Y.shape[0]
        self.total_weight = float(backend.xp.sum(weight))

    def right(self):
        """Return KᵀWY, of shape (p, c)."""
        return self._gram.adjoint_product(self._weight, self._Y)

    def product(self, V):
        """Return KᵀWKV, of shape (p, c)."""
        return self._gram.normal_product(self._weight, V)


class StreamedEquations:
    """The equations of rows that are read in blocks, one pass for each product.

    Parameters
    ----------
    blocks : RowBlocks
        Rows that are centred, and their coded targets.
    functions : CenterFunctions
    """

    def __init__(self, blocks: RowBlocks, functions: CenterFunctions):
        self._blocks, self._functions = blocks, functions
        self.n_rows = blocks.n_rows
        self.mean: Any = None
        self.total_weight = 0.0

    def right(self):
        """Return KᵀWy, of shape (p, c); set the mean of the targets and the weight."""
        h, sums, total = self._blocks.sum(_RightSide(self._functions))
        self.total_weight = float(total)
        self.mean = sums / self.total_weight
        if not self._functions.candidate.fit_intercept:
            self.mean = 0 * self.mean
        return h[:, :-1] - h[:, -1:] * self.mean

    def product(self, V):
        """Return KᵀWKV, of shape (p, c)."""
        return self._blocks.sum(_Product(self._functions, V))[0]


@dataclass(frozen=True)
class _RightSide:
    """Sums over rows: KᵀW[Y, 1], of the weighted targets, and of the weights."""

    functions: CenterFunctions

    def __call__(self, block: Data):
        xp, gram = self.functions.backend.xp, self.functions.gram(block.X)
        Y, weight = block.Y, block.weight
        with_ones = xp.concat([Y, xp.ones_like(Y[:, :1])], axis=1)
        exact_Y, exact_weight = (xp.astype(a, xp.float64) for a in (Y, weight))
        sums = xp.sum(exact_weight[:, None] * exact_Y, axis=0)
        return gram.adjoint_product(weight, with_ones), sums, xp.sum(exact_weight)


@dataclass(frozen=True)
class _Product:
    """Sums over rows: KᵀWKV."""

    functions: CenterFunctions
    V: Array

    def __call__(self, block: Data):
        gram = self.functions.gram(block.X)
        return (gram.normal_product(block.weight, self.V),)
