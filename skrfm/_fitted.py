"""What a user finds on a fitted estimator, and what he should be warned of."""

import warnings

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._device import DEVICES, off_gpu, on_host, place_of
from .exceptions import NumericalWarning

# what an iterative solver may leave without a word
LARGE_RESIDUAL = 1e-2

#: attributes that are arrays where the results go, or numbers, or None
ARRAYS = (
    "X_fit_",
    "dual_coef_",
    "intercept_",
    "components_",
    "metric_",
    "feature_importances_",
    "_center",
    "_mapped_fit",
    "_fit_weight",
    "_unseen_outputs",
)


class MovableMixin:
    """Mixin of estimators whose fitted arrays move between devices."""

    def to_device(self, device):
        """Move a fitted model.

        Predictions are computed on the device from then on. Pickles hold NumPy arrays:
        a model comes out of them on the CPU.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            What the parameter `device` becomes. With ``"cuda"`` fitted arrays become
            those of CuPy, and stay on the GPU between calls; inputs of NumPy give such
            outputs all the same.

        Returns
        -------
        self : object
            The estimator.
        """
        check_is_fitted(self)
        if device not in DEVICES:
            names = ", ".join(map(repr, DEVICES))
            raise ValueError(f"device must be one of {names}, got {device!r}.")
        place = place_of(device, None)
        for name in ARRAYS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, float):
                setattr(self, name, place.bring(on_host(value)))
        return self.set_params(device=device)

    def __getstate__(self):
        state = super().__getstate__()
        return state | {name: off_gpu(state[name]) for name in ARRAYS if name in state}


def fitted_attributes(model, data, place, encoder, *, single_output):
    """Return the fitted attributes of a kernel machine, by name.

    Parameters
    ----------
    model : Round
    data : Data
        The training rows.
    place : Place
    encoder : TableEncoder
        What the rows come from.
    single_output : bool
        Whether outputs are one-dimensional to the user.
    """
    backend, scaling = place.backend, model.recipe.scaling
    data, encoder = data.scaled(scaling, backend), encoder.scaled(scaling)
    d = data.X.shape[1]
    components = model.metric.dense_components(d)
    metric = components.T @ components
    importances = np.bincount(encoder.origins, _importances(model, metric))

    def give(a):
        return place.give(backend.asarray(a, data.X.dtype))

    coef, intercept = model.coef, model.intercept
    return {
        "X_fit_": give(data.X),
        "dual_coef_": give(coef[:, 0] if single_output else coef),
        "intercept_": float(intercept[0]) if single_output else give(intercept),
        "bandwidth_": model.bandwidth,
        "alpha_": model.recipe.alpha,
        "kernel_": model.recipe.kernel,
        "scaling_": scaling,
        "best_iter_": model.number,
        "components_": give(components),
        "metric_": give(metric),
        "feature_importances_": give(importances),
        "_n_features_out": components.shape[0],
        "_encoder": encoder,
        "_widths": model.recipe.looked_up,
        "_center": give(model.center),
        "_mapped_fit": give(model.T),
        "_fit_weight": give(data.weight),
    }


def _importances(model, metric):
    """Return the share of each column in the trace of the AGOP; zeros without one."""
    diagonal = np.diagonal(metric)
    if model.metric.components is None and model.agop is not None:
        diagonal = model.agop
    total = diagonal.sum()
    return diagonal / total if total > 0 else np.zeros(len(diagonal))


def warn_of_trouble(model, data, stacklevel):
    """Warn where the fitted machine is not quite what was asked for."""
    dtype = str(data.X.dtype).rsplit(".", 1)[-1]
    if model.agop is not None and not np.any(model.agop):
        message = (
            f"The predictor of round {model.number} is constant, so its average "
            "gradient outer product is zero and the metric stays as it is. Is y "
            "constant, are all rows equal, or is alpha too large?"
        )
    elif model.jitter:
        message = (
            "The kernel matrix with alpha on its diagonal is not positive definite in "
            f"{dtype}: {model.jitter:.1e} was added to the diagonal. Raise alpha"
            + (", or pass X in float64." if dtype == "float32" else ".")
        )
    elif model.residual > LARGE_RESIDUAL:
        message = (
            f"solver='pcg' has stopped at a residual of {model.residual:.1e} by the "
            "size of the targets. Raise alpha, or pass solver='cholesky'."
        )
    else:
        return
    warnings.warn(message, NumericalWarning, stacklevel=stacklevel)
