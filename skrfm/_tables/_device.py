"""Which libraries and devices read the input, compute, and hold the results."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._backend import Backend, CudaBackend, NumpyBackend, get_backend, is_numpy
from .._jit._cuda import find_runtime
from .._sklearn import (
    check_same_namespace,
    get_namespace_and_device,
    is_gpu_array,
    move_to,
    warn,
)

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Placement:
    """The backends that read the input, compute with it, and hold the results.

    Tables are read by NumPy, except arrays of libraries that have no backend of their
    own, which are read where they are.
    """

    input_backend: Backend
    backend: Backend
    output_backend: Backend

    def read(self, X):
        """Return X as an array or table of the input backend."""
        return to_host(X) if isinstance(self.input_backend, NumpyBackend) else X

    def to_backend(self, a):
        """Return an array of the input, or of a fitted model, for the computation."""
        return self.backend.asarray(a)

    def to_caller(self, a):
        """Return a computed array, or a NumPy array, in the library of the results."""
        if self.output_backend is not self.backend:
            a = self.backend.to_numpy(a)
        return self.output_backend.asarray(a)

    def labels_to_caller(self, labels):
        """Return class labels as `to_caller` does; labels of other kinds stay NumPy."""
        return self.to_caller(labels) if labels.dtype.kind in "biuf" else labels

    @property
    def on_gpu(self):
        """Whether a GPU computes."""
        return isinstance(self.backend, CudaBackend)


def placement_of(device, X):
    """Return the Placement of input X for an estimator's `device`.

    None follows X: results are arrays of its library. "cpu" computes with NumPy
    whatever X is; "cuda" computes on the GPU, and results are CuPy arrays if X is one,
    else NumPy arrays.
    """
    host, gpu = NumpyBackend(), is_gpu_array(X)
    if device == "cuda" or (device is None and gpu):
        cuda = CudaBackend(find_runtime())
        return Placement(host, cuda, cuda if gpu else host)
    if device == "cpu":
        return Placement(host, host, host)
    xp, _, array_device = get_namespace_and_device(X)
    backend = host if is_numpy(xp) else get_backend(xp, array_device)
    return Placement(backend, backend, backend)


def outer_placement_of(device, X):
    """Return the Placement of input X for a meta-estimator.

    Its inner estimators may compute on a GPU; it reads X and computes with NumPy.
    """
    host, gpu = NumpyBackend(), is_gpu_array(X)
    if device == "cuda" or (device is None and gpu):
        placement = placement_of("cuda", X)
        return Placement(host, placement.backend, placement.output_backend)
    return Placement(host, host, host)


def from_gpu(a):
    """Return an array, copied to NumPy if it is on the GPU."""
    return find_runtime().to_host(a) if is_gpu_array(a) else a


def to_host(a):
    """Return an array or frame; arrays of other libraries become NumPy arrays."""
    a = from_gpu(a)
    if a is None or isinstance(a, np.ndarray):
        return a
    xp, is_array_api, _ = get_namespace_and_device(a)
    return move_to(a, xp=np, device="cpu") if is_array_api and xp is not np else a


class InnerDeviceMixin:
    """Mixin of meta-estimators whose `_inner_models` can move between devices."""

    set_params: Callable

    def _inner_models(self):
        """Return the fitted inner estimators."""
        raise NotImplementedError

    def to_device(self, device):
        """Move the fitted inner estimators to a device, those that can move.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            What the parameter `device` becomes.

        Returns
        -------
        self : object
            The estimator.
        """
        check_is_fitted(self)
        for model in self._inner_models():
            if hasattr(model, "to_device"):
                model.to_device(device)
        return self.set_params(device=device)


def check_n_jobs(n_jobs, placement):
    """Return the number of jobs; None, with a warning, where they would share a GPU."""
    if n_jobs in (None, 1) or not placement.on_gpu:
        return n_jobs
    warn(
        f"n_jobs={n_jobs} has no effect on a GPU, which computes one fit after the "
        "other: pass n_jobs=None."
    )
    return None


def require_same_placement(X, estimator, method):
    """Raise ValueError if X is not on the device of a model that follows its input."""
    if estimator.device is not None:
        return
    gpu, fitted = is_gpu_array(X), is_gpu_array(estimator.X_fit_)
    if gpu == fitted:
        check_same_namespace(X, estimator, attribute="X_fit_", method=method)
        return
    where = {True: "on the GPU", False: "on the host"}
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
        "namespace and the same device as those passed to fit(): the input is "
        f"{where[gpu]}, the model {where[fitted]}. Move the model by "
        f"to_device({'cuda' if gpu else 'cpu'!r}), or the input."
    )
