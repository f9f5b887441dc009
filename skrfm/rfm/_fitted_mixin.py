"""What fitted kernel RFM estimators do: outputs, transform, moving and pickling."""

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._backend import Array, FloatArray, Table, own_threads
from .._tables import (
    DEVICES,
    from_gpu,
    in_batches,
    names_of_columns,
    placement_of,
    to_host,
    validate_rows,
)
from ._fitted import Fit

# a full metric of more columns, 32 MB in float64, is computed on demand only
_MAX_LISTED_COLUMNS = 2000


class FittedMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """The methods of kernel RFM estimators after `fit`."""

    # set by `fit`
    X_fit_: Array
    _fitted: Fit
    set_params: Any
    _set_fitted: Any

    @property
    def components_(self) -> FloatArray:
        """A square root of the metric."""
        check_is_fitted(self)
        return self._fitted.predictor.first.components

    @property
    def metric_(self) -> FloatArray:
        """The metric between the columns of `X_fit_`, computed from `components_`."""
        components = self.components_
        return components**2 if components.ndim == 1 else components.T @ components

    @property
    def metric_names_(self) -> np.ndarray:
        """The names of the columns of `metric_` and of `X_fit_`, as an array of str."""
        check_is_fitted(self)
        first = self._fitted.predictor.first
        return names_of_columns(self._fitted.coding, first.encoder, first.statistics)

    def __dir__(self):
        """Return the names of attributes; an HTML representation reads all of them."""
        names = list(super().__dir__())
        shape = self.components_.shape if "_fitted" in vars(self) else (0,)
        if len(shape) == 2 and shape[1] > _MAX_LISTED_COLUMNS:
            names.remove("metric_")
        return names

    def _read_rows(self, X, method):
        """Return new rows, not encoded, and their Placement, after the usual checks."""
        check_is_fitted(self)
        return validate_rows(self, self._fitted.coding.reader, X, method)

    def _outputs(self, X, method):
        """Return the outputs (m, c) at new rows, and their Placement."""
        X, placement = self._read_rows(X, method)
        with self._threads(placement):
            return self._fitted.predictor.outputs(X, placement), placement

    def _kernel_rows(self, X, method):
        """Return the kernel of the first machine, rows as it takes them, its bandwidth.

        The rows (m, k) are encoded, centred and mapped, in NumPy and double precision.
        """
        X, placement = self._read_rows(X, method)
        machine = self._fitted.predictor.first
        mapped = to_host(machine.mapped(X, placement))
        kernel = machine.candidate.kernel
        return kernel, np.asarray(mapped, dtype=np.float64), machine.bandwidth

    def _squeezed(self, outputs):
        """Return outputs (m, c), or (m,) where there is one."""
        return outputs[:, 0] if self._fitted.targets.single_output else outputs

    def _threads(self, placement):
        """Return the context that predictions are computed in."""
        return own_threads(self.X_fit_.shape[0] if placement.backend.threads else 0)

    @in_batches
    def transform(self, X: Table) -> FloatArray:
        """Map rows by the square root of the metric.

        Rows are encoded as in `X_fit_` and multiplied by ``components_.T``, or by the
        diagonal that `components_` is. Columns that `n_components` leaves out of a
        diagonal metric are dropped. Euclidean distances of the mapped rows are
        distances in the learned metric.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what `fit` reads in batches

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        X, placement = self._read_rows(X, "transform")
        return placement.to_caller(self._fitted.predictor.first.transform(X, placement))

    def to_device(self, device):
        """Move a fitted model.

        Predictions are computed on that device from then on. Pickles hold NumPy arrays,
        so an unpickled model is on the CPU.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            The new value of the parameter `device`. With ``"cuda"`` fitted arrays
            become CuPy arrays and stay on the GPU between calls; NumPy input still
            gives NumPy output.

        Returns
        -------
        self : object
            The estimator.
        """
        check_is_fitted(self)
        if device not in DEVICES:
            names = ", ".join(map(repr, DEVICES))
            raise ValueError(f"device must be one of {names}, got {device!r}.")
        placement = placement_of(device, None)
        fit = self._fitted.map_arrays(lambda a: placement.to_backend(to_host(a)))
        return self._set_fitted(fit).set_params(device=device)

    def __getstate__(self):
        """Pickle NumPy arrays, wherever they are."""
        # a copy: scikit-learn returns the dictionary of the estimator itself
        state: Any = super().__getstate__()
        state = dict(state)
        if "_fitted" in state:
            on_host = self._fitted.map_arrays(from_gpu).attributes()
            state |= {name: on_host[name] for name in on_host if name in state}
        return state
