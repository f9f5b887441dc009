"""What a fit ends with: a kernel machine, the coding of its table and targets."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from .._backend import Array, IntArray
from .._recursion import Candidate
from .._search import Calibration, weighted_sum
from .._sklearn import warn
from .._tables import (
    ClassTargets,
    Coding,
    LevelStatistics,
    NumericTargets,
    Placement,
    TableEncoder,
    placement_of,
    to_host,
)
from ..agop import FeatureMetric
from ..exceptions import NumericalWarning
from ._deviation import ResidualRows, variance_of_machine

# a residual of an iterative solver that is warned of: ten times what it stops at where
# rows are many
_LARGE_RESIDUAL = 1e-1


class Predictor(Protocol):
    """What predicts: one kernel machine, or an average of several."""

    def outputs(self, X: Array, placement: Placement) -> Array:
        """Return the outputs (m, c) at rows that were read, not yet encoded."""
        ...

    def deviation(self, X: Array, placement: Placement) -> Array:
        """Return the standard deviations (m, c) of the outputs, noise included."""
        ...

    def map_arrays(self, function: Callable[[Array], Array]) -> "Predictor":
        """Return the same with a function applied to every fitted array."""
        ...

    @property
    def first(self) -> "KernelMachine":
        """The machine whose attributes the estimator shows."""
        ...


@dataclass(frozen=True, kw_only=True)
class KernelMachine:
    """A fitted round with the encoding of its rows: everything that prediction needs.

    Attributes
    ----------
    candidate : Candidate
        The parameters.
    best_iter : int
        The number of the round.
    bandwidth : float
        The bandwidth of the round.
    encoder : TableEncoder
    statistics : LevelStatistics or None
        What the encoded rows have of the levels of large categories.
    X_fit : array of shape (n, d)
        The encoded training rows.
    mapped_fit : array of shape (n, k)
        The training rows mapped by the metric, as the kernel takes them.
    weight : array of shape (n,)
    center : array of shape (d,)
    metric : FeatureMetric
        In the precision of X; the identity is a diagonal of ones.
    importances : array of shape (n_features,)
    coef : array of shape (n, c)
        Coefficients of the coded targets.
    intercept : array of shape (c,)
        Intercept of the coded targets.
    dual_coef : array of shape (n, c)
        The coefficients in the units of y.
    constant : array of shape (c,)
        The intercept in the units of y.
    targets : NumericTargets or ClassTargets
        The coding of the targets.
    residual_rows : ResidualRows or None
        Of a regressor with fewer centres than rows: what deviations are computed from.
    validation_errors : tuple of float
        As in `Solution`.
    """

    candidate: Candidate
    best_iter: int
    bandwidth: float
    encoder: TableEncoder
    statistics: LevelStatistics | None
    X_fit: Array
    mapped_fit: Array
    weight: Array
    center: Array
    metric: FeatureMetric
    importances: Array
    coef: Array
    intercept: Array
    dual_coef: Array
    constant: Array
    targets: NumericTargets | ClassTargets
    residual_rows: ResidualRows | None = None
    validation_errors: tuple[float, ...] = ()

    @classmethod
    def from_round(cls, fitted, training):
        """Return the machine of a Round that was fitted to a TrainingSet."""
        placement, candidate = training.placement, fitted.candidate
        backend = placement.backend
        data, statistics = training.data.represented(candidate, backend)
        residual_rows = None
        if candidate.has_centers(data.n_rows) and training.targets.classes is None:
            rows = ResidualRows.of(fitted, data, backend)
            residual_rows = rows.map_arrays(placement.to_caller)
        data = _data_of_centers(fitted, data, backend)
        encoder = training.coding.encoder.scaled(candidate.scaling)
        metric = fitted.metric
        if metric.components is None:
            metric = FeatureMetric(components=np.ones(data.X.shape[1]))
        origins = _origins(encoder, statistics)
        importances = np.bincount(origins, _importances(fitted, metric))
        targets, coef = training.targets, fitted.solution.coef
        dual_coef = targets.rescale(coef, backend)
        constant = targets.decode(fitted.intercept[None, :], backend)

        def array(a):
            return placement.to_caller(backend.asarray(a, data.X.dtype))

        return cls(
            candidate=candidate,
            best_iter=fitted.number,
            bandwidth=fitted.bandwidth,
            encoder=encoder,
            statistics=statistics,
            X_fit=array(backend.rows(data.X)),
            mapped_fit=array(fitted.T),
            weight=array(data.weight),
            center=array(fitted.center),
            metric=metric.map_arrays(array),
            importances=array(importances),
            coef=array(coef),
            intercept=array(fitted.intercept),
            dual_coef=placement.to_caller(dual_coef),
            constant=placement.to_caller(constant[0, :]),
            targets=targets,
            residual_rows=residual_rows,
            validation_errors=fitted.solution.validation_errors,
        )

    def __getstate__(self):
        """Leave out mapped rows that are as large as `X_fit` and quick to compute."""
        state = dict(self.__dict__)
        if self._is_diagonal:
            del state["mapped_fit"]
        return state

    def __setstate__(self, state):
        """Compute the mapped rows where they were left out."""
        self.__dict__.update(state)
        if "mapped_fit" not in state:
            mapped = (self.X_fit - self.center) * self.metric.components
            self.__dict__["mapped_fit"] = mapped

    @property
    def first(self):
        """The machine itself."""
        return self

    @property
    def _is_diagonal(self):
        """Whether the metric is diagonal."""
        components: Array = self.metric.components
        return components.ndim == 1

    @property
    def components(self) -> Array:
        """Aᵀ of shape (k, d), or the diagonal (d,) of a diagonal metric."""
        if self.metric.weights is None:
            return self.metric.components
        components = self.metric.map_arrays(to_host).to_array()
        return placement_of(None, self.X_fit).to_caller(components)

    @property
    def origins(self) -> IntArray:
        """The column of the table that each encoded column comes from."""
        return _origins(self.encoder, self.statistics)

    def encode(self, X, placement):
        """Return encoded rows, as arrays of the computing backend."""
        rows = self.encoder.transform(X, placement.input_backend.xp)
        if self.statistics is not None:
            rows = self.statistics.append(rows)
        return placement.to_backend(rows)

    def outputs(self, X, placement):
        """Return the outputs (m, c) at rows that were read, not yet encoded."""
        out = placement.backend.cross_dot(
            self.candidate.kernel,
            self.mapped(X, placement),
            placement.to_backend(self.mapped_fit),
            self.bandwidth,
            placement.to_backend(self.coef),
            category_sizes=self.candidate.lookup_sizes,
        )
        out += placement.to_backend(self.intercept)
        return self.targets.decode(out, placement.backend)

    def deviation(self, X, placement):
        """Return the standard deviations (m, c) of the outputs, noise included."""
        T = self.mapped(X, placement)
        variance = variance_of_machine(self, T, placement)
        return self.targets.rescale(
            placement.backend.xp.sqrt(variance), placement.backend
        )

    def mapped(self, X, placement):
        """Return rows as the kernel takes them: encoded, centred, mapped."""
        backend, center = placement.backend, placement.to_backend(self.center)
        rows = backend.asarray(self.encode(X, placement), center.dtype) - center
        metric = self.metric.map_arrays(placement.to_backend)
        return backend.rows(metric.transform(rows, backend))

    def transform(self, X, placement):
        """Return rows that were read, encoded and multiplied by Aᵀ.

        Columns that a truncated diagonal metric leaves out are dropped.
        """
        metric, xp = self.metric.map_arrays(placement.to_backend), placement.backend.xp
        rows = metric.transform(self.encode(X, placement), placement.backend)
        if not self._drops_columns:
            return rows
        return xp.take(rows, xp.nonzero(metric.components)[0], axis=1)

    @property
    def _drops_columns(self):
        """Whether `transform` leaves columns out."""
        truncated = self.candidate.n_components is not None
        return truncated and self.best_iter > 0 and self._is_diagonal

    @property
    def n_mapped(self):
        """The number of columns that `transform` returns."""
        if self._drops_columns:
            components: Array = to_host(self.metric.components)
            return int(np.count_nonzero(components))
        return self.mapped_fit.shape[1]

    def map_arrays(self, function):
        """Return the machine with a function applied to its arrays."""
        names = (
            "X_fit",
            "mapped_fit",
            "weight",
            "center",
            "importances",
            "coef",
            "intercept",
            "dual_coef",
            "constant",
        )
        arrays = {name: function(getattr(self, name)) for name in names}
        rows = self.residual_rows
        return replace(
            self,
            metric=self.metric.map_arrays(function),
            residual_rows=None if rows is None else rows.map_arrays(function),
            **arrays,
        )

    def attributes(self):
        """Return the public attributes of an estimator with this machine, by name."""
        single_output = self.targets.single_output
        coef, constant, errors = self.dual_coef, self.constant, self.validation_errors
        return {
            "X_fit_": self.X_fit,
            "dual_coef_": coef[:, 0] if single_output else coef,
            "intercept_": float(constant[0]) if single_output else constant,
            "bandwidth_": self.bandwidth,
            "alpha_": self.candidate.alpha,
            "kernel_": self.candidate.kernel,
            "scaling_": self.candidate.scaling,
            "level_statistics_": self.candidate.level_statistics,
            "best_iter_": self.best_iter,
            "validation_scores_": 1 - np.array(errors) if errors else None,
            "feature_importances_": self.importances,
            "_n_features_out": self.n_mapped,
        }


def _origins(encoder, statistics):
    """Return the column of the table that each encoded column comes from."""
    if statistics is None:
        return encoder.origins
    numbers = encoder.number_origins
    found = statistics.origins(numbers, encoder.categories)
    return np.insert(encoder.origins, len(numbers), found)


def _data_of_centers(fitted, data, backend):
    """Return the Data of the centres of a Round."""
    if fitted.centers is None:
        return data
    if fitted.candidate.centers != "given":
        return data.subset(fitted.centers, backend)
    X = backend.take(data.centers, fitted.centers)
    return replace(data, X=X, weight=backend.xp.ones_like(X[:, 0]))


def _importances(fitted, metric):
    """Return the share of each column in the trace of the AGOP; zeros without one."""
    diagonal = metric.diagonal()
    if fitted.metric.components is None and fitted.agop is not None:
        diagonal = fitted.agop.diagonal()
    total = diagonal.sum()
    return diagonal / total if total > 0 else np.zeros(len(diagonal))


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a fit ends with.

    Attributes
    ----------
    predictor : KernelMachine or MachineAverage
    coding : Coding
        How tables are read.
    targets : NumericTargets or ClassTargets
        How targets are coded.
    history : dict of ndarrays or None
        The rounds that were fitted; None for a round in the middle of a fit.
    calibration : Calibration
        From outputs to probabilities.
    unseen_outputs : array of shape (n, c) or None
        Outputs at training rows by fits that have not seen them.
    results : dict
        Further attributes of the estimator, by name.
    rivals : tuple of Candidate
        What was nearly as good as the chosen candidate.
    """

    predictor: Predictor
    coding: Coding
    targets: NumericTargets | ClassTargets
    history: dict[str, np.ndarray] | None
    calibration: Calibration
    unseen_outputs: Array | None
    results: dict = field(default_factory=dict)
    rivals: tuple[Candidate, ...] = ()

    def attributes(self):
        """Return the attributes of an estimator that was fitted so, by name."""
        found = self.coding.attributes()
        found |= self.predictor.first.attributes()
        found |= self.results
        found["_fitted"] = self
        if self.history is not None:
            found["history_"] = self.history
            found["n_iter_"] = max(1, int(self.history["iter"].max()))
        if self.targets.classes is not None:
            found["classes_"] = self.targets.classes
        return found

    def map_arrays(self, function):
        """Return the same with a function applied to every fitted array."""
        unseen = self.unseen_outputs
        return replace(
            self,
            predictor=self.predictor.map_arrays(function),
            unseen_outputs=None if unseen is None else function(unseen),
        )


@dataclass(frozen=True)
class MachineAverage:
    """Kernel machines whose outputs are averaged.

    Attributes
    ----------
    fits : tuple of Fit
        The machines, each with a fit of its own, the best first.
    weights : tuple of float
        Their shares, which sum to 1.
    """

    fits: tuple[Fit, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, fits, weights):
        """Return the average; the machine itself where there is only one."""
        if len(fits) == 1:
            return fits[0].predictor
        return cls(tuple(fits), tuple(weights))

    @property
    def first(self):
        """The best machine, whose attributes the estimator shows."""
        return self.fits[0].predictor.first

    def outputs(self, X, placement):
        """Return the outputs (m, c) at rows that were read, not yet encoded."""
        outputs = (fit.predictor.outputs(X, placement) for fit in self.fits)
        return weighted_sum(self.weights, outputs)

    def deviation(self, X, placement):
        """Return the standard deviation of a mixture of Gaussian processes."""
        means = [fit.predictor.outputs(X, placement) for fit in self.fits]
        mean = weighted_sum(self.weights, means)
        variances = (
            fit.predictor.deviation(X, placement) ** 2 + (own_mean - mean) ** 2
            for fit, own_mean in zip(self.fits, means, strict=True)
        )
        return weighted_sum(self.weights, variances) ** 0.5

    def map_arrays(self, function):
        """Return the same with a function applied to every fitted array."""
        return replace(self, fits=tuple(fit.map_arrays(function) for fit in self.fits))


def warn_of_trouble(fitted, data):
    """Warn where the fitted machine is not quite what was asked for."""
    dtype = str(data.X.dtype).rsplit(".", 1)[-1]
    jitter, residual = fitted.solution.jitter, fitted.solution.residual
    if fitted.agop is not None and not np.any(fitted.agop.diagonal()):
        message = (
            f"The predictor of round {fitted.number} is constant, so its average "
            "gradient outer product is zero and the metric stays as it is. Is y "
            "constant, are all rows equal, or is alpha too large?"
        )
    elif jitter:
        message = (
            "The kernel matrix with alpha on its diagonal is not positive definite in "
            f"{dtype}: {jitter:.1e} was added to the diagonal. Raise alpha"
            + (", or pass X in float64." if dtype == "float32" else ".")
        )
    elif residual > _LARGE_RESIDUAL:
        message = (
            f"solver='pcg' has stopped at a relative residual of {residual:.1e}. "
            "Raise alpha, or pass solver='cholesky'."
        )
    else:
        return
    warn(message, NumericalWarning)
