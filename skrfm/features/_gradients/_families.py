"""The models of fitted estimators whose Jacobian is known.

What an estimator is taken for is checked by its predictions: a model counts only if its
values are those of the estimator, so a subclass that predicts otherwise is no harm.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from ..._backend import Array
from ...rfm._base import BaseRFM
from ...transfer import TransferKernel
from ...xrfm._base import BaseXRFM
from ._links import (
    LINKS_OF_MANY,
    LINKS_OF_ONE,
    exponential,
    identity,
    logistic,
    softmax_of_classes,
    two_classes,
    votes_of_pairs,
)
from ._machines import MachineModel
from ._models import KernelSum, LinearModel, Mapped, Model, Network
from ._pairs import pairwise_kernel, process_kernel
from ._processes import ProcessClassifier
from ._transfers import transfer_model
from ._trees import TreeModel

# Values of a model that differ by more than this share of their size are of another
# function. In single precision they differ by 1e-5.
_SAME = 1e-4
# rows on which a model is compared with the estimator
_COMPARED_ROWS = 10

_LINKS_OF_NETWORKS = {
    "identity": identity,
    "exp": exponential,
    "softmax": softmax_of_classes,
}


def find_model(response, table, deviations) -> Model | None:
    """Return the model of an estimator, or None if its Jacobian is not known.

    Parameters
    ----------
    response : Response
    table : InspectedTable
    deviations : ndarray of shape (k,)
        The standard deviations of its columns.
    """
    estimator, method = response.estimator, response.method
    few = table.take(np.arange(min(len(table.numbers), _COMPARED_ROWS)))
    if isinstance(estimator, (BaseRFM, BaseXRFM)):
        every = np.zeros(few.X.shape[1])
        every[table.columns] = deviations
        kind = MachineModel if isinstance(estimator, BaseRFM) else TreeModel
        model = kind(estimator, method, every)
        return model if _predicts(model, few.X, response(few.X)) else None
    X = few.as_array()
    if X is None or np.isnan(X).any():
        return None
    values = response(few.X)
    if isinstance(estimator, TransferKernel):
        model = None
        if few.is_array:
            model = transfer_model(estimator, method, table.X, find_model)
        return model if model is not None and _predicts(model, X, values) else None
    for model in _models(estimator, method, X, values):
        if _predicts(model, X, values):
            return model
    return None


def network_of(mlp) -> Network:
    """Return the layers of a fitted MLP, with its outputs before their activation."""
    coefs = [np.asarray(coef, np.float64) for coef in mlp.coefs_]
    intercepts = [np.asarray(b, np.float64) for b in mlp.intercepts_]
    return Network(coefs, intercepts, mlp.activation)


def _predicts(model, X, values):
    """Whether a model has the values of the estimator."""
    F = model.jacobian(X)[0]
    if F.shape != values.shape:
        return False
    size = np.abs(values).max(initial=0.0)
    return bool(np.all(np.abs(F - values) <= _SAME * size))


def _models(estimator, method, X, values) -> Iterator[Model]:
    """Yield what an estimator may be, given some of its values."""
    inner = _inner(estimator)
    if inner is not None:
        yield from _models(inner, method, X, values)
    elif hasattr(estimator, "_linear_map"):
        matrix, last = estimator._linear_map()
        for model in _models(last, method, X @ matrix.T, values):
            yield Mapped(model, matrix)
    elif isinstance(estimator, Pipeline):
        yield from _pipelines(estimator, method, X, values)
    elif isinstance(estimator, (MLPRegressor, MLPClassifier)):
        yield from _networks(estimator)
    elif isinstance(estimator, (SVC, SVR, NuSVC, NuSVR, OneClassSVM)):
        yield from _support_vectors(estimator)
    elif isinstance(estimator, KernelRidge):
        yield from _kernel_ridge(estimator)
    elif isinstance(estimator, GaussianProcessRegressor):
        yield from _gaussian_processes(estimator)
    elif isinstance(estimator, GaussianProcessClassifier):
        model = ProcessClassifier.of(estimator)
        if model is not None:
            yield model
    elif hasattr(estimator, "coef_"):
        yield from _linear_models(estimator, method, X, values)


def _inner(estimator):
    """Return the estimator that another one hands its rows to, or None."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    return getattr(estimator, "best_estimator_", None)


def _linear_models(estimator, method, X, values):
    coef = estimator.coef_
    if issparse(coef) or np.ndim(coef) > 2 or np.shape(coef)[-1] != X.shape[1]:
        return
    coef = np.atleast_2d(np.asarray(coef, np.float64))
    if method != "predict_proba" and len(coef) == values.shape[1]:
        # models of centred rows have intercepts of their own
        intercept = (values - X @ coef.T).mean(axis=0)
        yield LinearModel(coef, intercept)
    given = np.asarray(getattr(estimator, "intercept_", 0.0), np.float64)
    intercept = np.broadcast_to(np.atleast_1d(given), (len(coef),))
    if method == "predict_proba":
        for link in LINKS_OF_ONE if len(coef) == 1 else LINKS_OF_MANY:
            yield LinearModel(coef, intercept, link)
    elif method == "predict":
        yield LinearModel(coef, intercept, exponential)


def _networks(mlp):
    network, kind = network_of(mlp), mlp.out_activation_
    link = _LINKS_OF_NETWORKS.get(kind)
    if kind == "logistic":
        link = two_classes if mlp.n_outputs_ == 1 else logistic
    if link is not None:
        yield Network(network.coefs, network.intercepts, network.activation, link)


def _support_vectors(machine):
    kernel = pairwise_kernel(
        machine.kernel,
        gamma=machine._gamma,
        degree=machine.degree,
        coef0=machine.coef0,
    )
    if kernel is None or issparse(machine.support_vectors_):
        return
    points, link = machine.support_vectors_, identity
    coef = np.asarray(machine.dual_coef_).T
    if isinstance(machine, (SVC, NuSVC)) and len(machine.classes_) > 2:
        coef = _pair_coefs(coef, machine.n_support_)
        if machine.decision_function_shape == "ovr":
            link = votes_of_pairs(len(machine.classes_))
    yield KernelSum(kernel, points, coef, np.asarray(machine.intercept_), link)


def _pair_coefs(coef, counts):
    """Return the coefficients (n, n_pairs) of all pairs of classes.

    `coef` (n, n_classes − 1) has a column for each other class, and `counts` are the
    numbers of support vectors of the classes, which are in the order of the rows.
    """
    own = np.repeat(np.arange(len(counts)), counts)
    first, second = np.triu_indices(len(counts), k=1)
    pairs = np.zeros((len(coef), len(first)))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        pairs[own == i, pair] = coef[own == i, j - 1]
        pairs[own == j, pair] = coef[own == j, i]
    return pairs


def _kernel_ridge(machine):
    gamma = machine.gamma
    if gamma is None:
        gamma = 1.0 / machine.X_fit_.shape[1]
    kernel = pairwise_kernel(
        machine.kernel, gamma=gamma, degree=machine.degree, coef0=machine.coef0
    )
    if kernel is not None and not issparse(machine.X_fit_):
        coef = np.asarray(machine.dual_coef_).reshape(len(machine.X_fit_), -1)
        yield KernelSum(kernel, machine.X_fit_, coef, np.zeros(coef.shape[1]))


def _gaussian_processes(process):
    kernel = process_kernel(process.kernel_) if hasattr(process, "kernel_") else None
    if kernel is not None:
        coef = process.alpha_.reshape(len(process.alpha_), -1) * process._y_train_std
        mean = np.broadcast_to(process._y_train_mean, coef.shape[1])
        yield KernelSum(kernel, process.X_train_, coef, mean)


def _pipelines(pipeline, method, X, values):
    """Yield the last step after linear maps; none where another step comes before."""
    matrix: Array = np.eye(X.shape[1])
    offset: Array = np.zeros(X.shape[1])
    for _, step in pipeline.steps[:-1]:
        if step is None or step == "passthrough":
            continue
        found = _affine(step)
        if found is None:
            return
        L, shift = found
        matrix = L[:, None] * matrix if L.ndim == 1 else L @ matrix
        offset = (L * offset if L.ndim == 1 else L @ offset) + shift
    mapped = X @ matrix.T + offset
    for model in _models(pipeline.steps[-1][1], method, mapped, values):
        yield Mapped(model, matrix, offset)


def _standardised(step: Any):
    scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
    return 1 / scale, -step.mean_ / scale if step.with_mean else 0.0


def _between_bounds(step: Any):
    return None if step.clip else (step.scale_, step.min_)


def _below_bound(step: Any):
    return 1 / step.scale_, 0.0


def _robust(step: Any):
    scale = step.scale_ if step.with_scaling else np.ones(step.n_features_in_)
    return 1 / scale, -step.center_ / scale if step.with_centering else 0.0


def _principal(step: Any):
    if step.whiten:
        return None
    return step.components_, -step.components_ @ step.mean_


# (L, l) of transformers x → L x + l, where L may be a diagonal; None with other options
_AFFINE = {
    StandardScaler: _standardised,
    MinMaxScaler: _between_bounds,
    MaxAbsScaler: _below_bound,
    RobustScaler: _robust,
    PCA: _principal,
}


def _affine(step) -> Any:
    """Return (L, l) of a transformer x → L x + l, L by its diagonal, or None."""
    function = _AFFINE.get(type(step))
    return None if function is None else function(step)
