"""The Jacobian of fitted kernel RFM estimators, through the encoding of tables."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import Array, FloatArray, pair_tiles
from ..._search import weighted_sum
from ..._tables import from_gpu, placement_of
from ...rfm._fitted import Fit, MachineAverage
from ._links import softmax_of_classes

# The step of the derivatives of the encoding of numbers, in deviations of their
# columns. All columns of an encoded row are functions of one number each, so two rows
# give all derivatives, to about ten digits.
_STEP = 1e-5
# That of quantiles, which are linear between the values of training rows: the slope of
# one such piece is the inverse of a gap between two rows, which is noise.
_QUANTILE_STEP = 0.1


@dataclass(frozen=True)
class MachineModel:
    """The predictor of a fitted RFM, or its calibrated probabilities.

    Attributes
    ----------
    estimator : RFM estimator
    method : {"predict", "decision_function", "predict_proba"}
    deviations : ndarray of shape (d,)
        The standard deviations of the columns, which the encoding is differentiated
        by; columns of 0 have no derivative.
    """

    estimator: Any
    method: str
    deviations: FloatArray

    @property
    def _fit(self):
        fit: Fit = self.estimator._fitted
        return fit.map_arrays(from_gpu)

    @property
    def floats_per_row(self):
        """Numbers that the Jacobian takes for each row."""
        machine: Any = self._fit.predictor.first
        (n, d), c = machine.X_fit.shape, machine.coef.shape[1]
        return 4 * n + 4 * c * (d + len(self.deviations))

    def jacobian(self, X: Any) -> tuple[Array, Array]:
        """Return the response at rows of a table, and its Jacobian."""
        fit = self._fit
        codes = self.estimator._read_rows(X, self.method)[0].astype(np.float64)
        outputs: Any = self._outputs(fit, codes)
        F, J = outputs
        if self.method != "predict_proba":
            return F, J
        logits, slopes = fit.calibration.logits(F)
        if F.shape[1] == 1:  # two classes, coded ±1
            J = np.concatenate([-J, J], axis=1) / 2
        return softmax_of_classes(logits, slopes[:, :, None] * J)

    def _outputs(self, fit, codes):
        """Return the outputs of a Fit at rows of numbers and codes, and gradients."""
        if isinstance(fit.predictor, MachineAverage):
            parts = [self._outputs(part, codes) for part in fit.predictor.fits]
            weights = fit.predictor.weights
            outputs, gradients = zip(*parts, strict=True)
            return weighted_sum(weights, outputs), weighted_sum(weights, gradients)
        machine: Any = fit.predictor
        placement = placement_of("cpu", codes)
        F = machine.outputs(codes, placement)
        J = self._chain(machine, codes, placement)
        return np.asarray(F, np.float64), fit.targets.rescale(J, placement.backend)

    def _chain(self, machine, codes, placement):
        """Return the gradients (b, c, d) of coded outputs at rows before encoding."""
        T = np.asarray(machine.mapped(codes, placement), np.float64)
        gradients = _mapped_gradients(machine, T)
        components = np.asarray(machine.components, np.float64)
        if components.ndim == 1:
            encoded = gradients * components
        else:
            encoded = gradients @ components
        encoded *= self._slopes(machine, codes, placement)[:, None, :]
        return sums_by_origin(encoded, machine.origins, codes.shape[1])

    def _slopes(self, machine, codes, placement):
        """Return the derivatives (b, n_encoded) of encoded columns by their origins."""
        deviations = self.deviations.copy()
        deviations[machine.encoder.categories] = 0.0
        return encoding_slopes(
            lambda rows: machine.encode(rows, placement),
            codes,
            deviations,
            origins=machine.origins,
            quantile_columns=machine.encoder.quantile_columns,
        )


def sums_by_origin(encoded, origins, n_columns):
    """Return the sums (b, c, d) of gradients over the columns of each origin."""
    J = np.zeros((*encoded.shape[:2], n_columns))
    for column, origin in enumerate(origins):
        J[:, :, origin] += encoded[:, :, column]
    return J


def encoding_slopes(encode, codes, deviations, *, origins, quantile_columns):
    """Return the derivatives (b, n_encoded) of encoded columns by their origins.

    Parameters
    ----------
    encode : callable
        From rows of numbers and codes to encoded rows, whose columns are functions of
        one number each.
    codes : ndarray of shape (b, d)
    deviations : ndarray of shape (d,)
        Of the numbers; columns of 0 have no derivative.
    origins : ndarray of int of shape (n_encoded,)
        The number that each encoded column is a function of.
    quantile_columns : tuple of (int, int) or None
        The first column of quantiles and the one after the last.
    """

    def slopes(step):
        steps = step * deviations
        low, high = (encode(codes + sign * steps) for sign in (-1, 1))
        divisor = np.where(steps > 0, 2 * steps, 1.0)[origins]
        return (high - low) / divisor

    found = slopes(_STEP)
    if quantile_columns is not None:
        quantiles = slice(*quantile_columns)
        found[:, quantiles] = slopes(_QUANTILE_STEP)[:, quantiles]
    return found


def _mapped_gradients(machine, T):
    """Return the gradients (b, c, k) of coded outputs at mapped rows T.

    Columns of levels that the kernel looks up have zeros.
    """
    kernel, sizes = machine.candidate.kernel, machine.candidate.lookup_sizes
    Z = np.asarray(machine.mapped_fit, np.float64)
    coef = np.asarray(machine.coef, np.float64)
    tiles = pair_tiles(kernel, T, Z, float(machine.bandwidth), sizes)
    every = (0, len(T), 0, len(Z))
    n_dense = T.shape[1] - sum(sizes)
    J = np.zeros((len(T), coef.shape[1], T.shape[1]))
    t, z = T[:, :n_dense], Z[:, :n_dense]
    if kernel.coordinatewise:
        W, power = tiles.slopes(*every), kernel.norm_order - 1
        for column in range(n_dense):
            difference = t[:, column, None] - z[:, column]
            J[:, :, column] = (W * _signed_power(difference, power)) @ coef
        return J
    if kernel.of_inner_products:
        _, W, D = tiles.gradients(*every)
    else:
        W = D = tiles.slopes(*every)
    weighted: Array = (coef[:, :, None] * z[:, None, :]).reshape(len(z), -1)
    product = (W @ weighted).reshape(len(t), coef.shape[1], n_dense)
    J[:, :, :n_dense] = (D @ coef)[:, :, None] * t[:, None, :] - product
    return J


def _signed_power(difference, power):
    """Return |δ|^power sign δ."""
    if power == 0:
        return np.sign(difference)
    return np.sign(difference) * np.abs(difference) ** power
