"""Where a table is read, where it is computed with, and where results go."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from ._backend import CudaBackend, NumpyBackend, get_backend
from ._compat import (
    check_same_namespace,
    get_namespace_and_device,
    is_gpu_array,
    move_to,
)
from ._cuda import find_runtime

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Place:
    """The backends that read a table, compute with it, and have the results.

    Tables are read on the host, but for arrays of libraries that have no backend of
    their own.
    """

    reader: object
    backend: object
    home: object

    def read(self, X):
        """Return X where it is read."""
        return on_host(X) if isinstance(self.reader, NumpyBackend) else X

    def bring(self, a):
        """Return an array of the reader, or of a model, where it is computed with."""
        return self.backend.asarray(a)

    def give(self, a):
        """Return an array that was computed, or a NumPy one, where results go."""
        if self.home is not self.backend:
            a = self.backend.to_numpy(a)
        return self.home.asarray(a)

    def give_labels(self, labels):
        """Return labels of classes where results go; what are no numbers stay here."""
        return self.give(labels) if labels.dtype.kind in "biuf" else labels

    @property
    def on_gpu(self):
        """Whether a GPU computes."""
        return isinstance(self.backend, CudaBackend)


def place_of(device, X):
    """Return the Place of input X for an estimator's `device`.

    The device None follows X. "cpu" computes with NumPy whatever X is, "cuda" on the
    GPU; arrays of CuPy then give such arrays, all others those of NumPy.
    """
    host, gpu = NumpyBackend(), is_gpu_array(X)
    if device == "cuda" or (device is None and gpu):
        cuda = CudaBackend(find_runtime())
        return Place(host, cuda, cuda if gpu else host)
    if device == "cpu":
        return Place(host, host, host)
    backend = get_backend(*get_namespace_and_device(X)[::2])
    return Place(backend, backend, backend)


def outer_place_of(device, X):
    """Return the Place of input X for an estimator whose inner ones compute.

    It reads and works with NumPy itself.
    """
    host, gpu = NumpyBackend(), is_gpu_array(X)
    if device == "cuda" or (device is None and gpu):
        place = place_of("cuda", X)
        return Place(host, place.backend, place.home)
    return Place(host, host, host)


def off_gpu(a):
    """Return an array as it is, or as NumPy if it is on the GPU."""
    return find_runtime().to_host(a) if is_gpu_array(a) else a


def on_host(a):
    """Return an array as it is, or as NumPy if it is another library's."""
    a = off_gpu(a)
    if a is None or isinstance(a, np.ndarray):
        return a
    xp, is_array_api, _ = get_namespace_and_device(a)
    return move_to(a, xp=np, device="cpu") if is_array_api and xp is not np else a


class InnerDeviceMixin:
    """Mixin of estimators whose inner ones, `_inner_models`, compute."""

    def to_device(self, device):
        """Have what is fitted inside compute on another device, if it can.

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


class HostScoreMixin:
    """Mixin of estimators that score predictions on the host, wherever they are."""

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of a classifier, or R² of a regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        score = accuracy_score if is_classifier(self) else r2_score
        found, y, weight = map(on_host, (self.predict(X), y, sample_weight))
        return score(y, found, sample_weight=weight)


def warn_of_jobs(n_jobs, place, stacklevel):
    """Warn where several jobs would share one GPU; return how many there are to be."""
    if n_jobs in (None, 1) or not place.on_gpu:
        return n_jobs
    warnings.warn(
        f"n_jobs={n_jobs} has no effect on a GPU, which computes one fit after the "
        "other: pass n_jobs=None.",
        UserWarning,
        stacklevel=stacklevel,
    )
    return None


def require_same_place(X, estimator, method):
    """Raise ValueError where X is elsewhere than a model that follows its input."""
    if estimator.device is not None:
        return
    gpu, fitted = is_gpu_array(X), is_gpu_array(estimator.X_fit_)
    if gpu == fitted:
        check_same_namespace(X, estimator, attribute="X_fit_", method=method)
        return
    places = {True: "on the GPU", False: "on the host"}
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same "
        "namespace and the same device as those passed to fit(): the input is "
        f"{places[gpu]}, the model {places[fitted]}. Move the model by "
        f"to_device({'cuda' if gpu else 'cpu'!r}), or the input."
    )
