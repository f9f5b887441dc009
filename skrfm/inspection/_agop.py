"""The AGOP of any estimator, its alignment, and the neural feature ansatz."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.linalg import eigh
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, Seed, Table, Vector
from .._sklearn import Interval, StrOptions, check_array, validated
from .._tables import validate_weight
from ..features._gradients import (
    METHODS,
    RESPONSE_METHODS,
    GradientOptions,
    average_outer_product,
    network_of,
)


@validated(
    {
        "estimator": "no_validation",
        "X": "no_validation",
        "features": ["array-like", None],
        "sample_weight": ["array-like", None],
        "response_method": [StrOptions({"auto", *RESPONSE_METHODS})],
        "method": [StrOptions(set(METHODS))],
        "step": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "max_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def agop(
    estimator: Any,
    X: Table,
    *,
    features: Vector | None = None,
    sample_weight: Vector | None = None,
    response_method: str = "auto",
    method: str = "auto",
    step: float | Vector = "auto",
    max_samples: int | None = 1000,
    random_state: Seed = None,
) -> FloatArray:
    """Return the average gradient outer product of a fitted estimator.

    With the Jacobian J(x) of the predictions f(x), of as many rows as there are outputs
    or classes, it is the average of J(x)ᵀJ(x) over rows [1]_. Its diagonal tells how
    much predictions vary along each column, and its leading eigenvectors along which
    directions they vary most.

    Gradients have a closed form for linear models, multi-layer perceptrons, kernel
    ridge regression, support vector machines, Gaussian processes and the RFM estimators
    of this package for tables, with the usual kernels; also as the last step of a
    pipeline of scalers or principal components, inside a search, and as the source or
    the target of a :class:`~skrfm.TransferKernel` on arrays of numbers. Of
    :class:`~skrfm.XRFMRegressor` and :class:`~skrfm.XRFMClassifier` the weights of
    leaves near the thresholds are differentiated too. Gradients of any other estimator
    are central differences of its predictions.

    Parameters
    ----------
    estimator : estimator
        A fitted regressor or classifier, or a pipeline that ends with one.
    X : array-like or data frame of shape (n_samples, n_features)
        The rows to average over, as the estimator takes them.
    features : array-like of {int, str, bool}, default=None
        The columns to differentiate by: indices, names, or a boolean mask. The others
        stay as they are, and may be categories. None is all columns.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the average.
    response_method : {"auto", "predict_proba", "decision_function", "predict"}, \
            default="auto"
        What is differentiated. ``"auto"`` is ``"predict"`` of a regressor, and of a
        classifier ``"predict_proba"``, or ``"decision_function"`` if there is none. The
        votes in the scores of a support vector machine of several classes are constant
        between the boundaries, and count as such.
    method : {"auto", "analytic", "differences"}, default="auto"
        How gradients are computed. ``"auto"`` takes closed forms where they are known
        and reproduce the predictions of the estimator.
    step : float, array-like of float or "auto", default="auto"
        The steps of differences, in standard deviations of each column; differences
        over several steps are averaged. ``"auto"`` is 0.001 for smooth predictions. For
        those of trees, which are piecewise constant, it is (0.2, 0.4) and for those of
        nearest neighbours (0.3, 0.6): the gradients are those of a smoothed
        predictor then. Predictions that turn out to be piecewise constant have the
        steps of trees.
    max_samples : int or None, default=1000
        The largest number of rows, drawn at random, that the average is taken over.
        None takes all.
    random_state : int, RandomState or None, default=None
        Seeds the choice of rows.

    Returns
    -------
    ndarray of shape (n_features, n_features)
        In the units of the predictions, squared, per units of two columns. Multiply by
        the standard deviations of the columns, ``std[:, None] * G * std``, to compare
        columns of different units.

    See Also
    --------
    agop_alignment : The cosine of two such matrices.
    skrfm.RecursiveFeatures : An estimator that takes its features from this matrix.

    References
    ----------
    .. [1] A. Radhakrishnan, D. Beaglehole, P. Pandit, M. Belkin, "Mechanism for feature
       learning in neural networks and backpropagation-free machine learning models",
       Science 383, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVR
    >>> from skrfm.inspection import agop
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> model = SVR(C=10).fit(X, np.sin(X[:, 0] + X[:, 1]))
    >>> agop(model, X).round(1)
    array([[ 0.5,  0.5, -0. ],
           [ 0.5,  0.5, -0. ],
           [-0. , -0. ,  0. ]])
    """
    steps = np.asarray(step) if not isinstance(step, str) else None
    if steps is not None and not (steps.size > 0 and (steps > 0).all()):
        raise ValueError(f"step must be positive, got {step!r}.")
    options = GradientOptions(
        response_method=response_method,
        method=method,
        step=step,
        max_samples=max_samples,
    )
    return average_outer_product(
        estimator,
        X,
        options=options,
        features=features,
        sample_weight=sample_weight,
        random_state=random_state,
    )


def agop_alignment(A: Vector, B: Vector, *, power: float = 1.0) -> float:
    """Return the cosine of the angle between A and a power of B.

    It is ⟨A, Bᵖ⟩ / (‖A‖ ‖Bᵖ‖) with the Frobenius inner product: 1 where the matrices
    are equal but for a factor, 0 where they share no direction.

    Parameters
    ----------
    A, B : array-like of shape (d, d)
        Symmetric matrices with eigenvalues that are not negative, such as AGOPs.
    power : float, default=1.0
        The power p of B. The neural feature ansatz compares weights with the square
        root of an AGOP, p = 1/2.

    Returns
    -------
    float
        Between 0 and 1; NaN if one of the matrices is zero.

    Raises
    ------
    ValueError
        If the matrices have different shapes, or are not symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.inspection import agop_alignment
    >>> agop_alignment(np.diag([2.0, 1.0]), np.diag([4.0, 1.0]), power=0.5)
    1.0
    >>> agop_alignment(np.diag([1.0, 0.0]), np.diag([0.0, 1.0]))
    0.0
    """
    if not power > 0:
        raise ValueError(f"power must be positive, got {power!r}.")
    first, second = _symmetric(A, "A"), _symmetric(B, "B")
    if first.shape != second.shape:
        raise ValueError(
            "A and B must have the same shape; theirs are "
            f"{first.shape} and {second.shape}."
        )
    if power != 1:
        values, vectors = eigh(second)
        second = (vectors * np.maximum(values, 0.0) ** power) @ vectors.T
    norms = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if 0.0 in norms:
        return float("nan")
    cosine = float(np.sum((first / norms[0]) * (second / norms[1])))
    return round(min(max(cosine, -1.0), 1.0), 15)


def _symmetric(matrix, name) -> FloatArray:
    """Return a symmetric matrix, divided by its largest entry, after checks."""
    matrix = check_array(matrix, dtype=np.float64, input_name=name)
    matrix = matrix / (np.abs(matrix).max() or 1.0)
    if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
        raise ValueError(
            f"{name} must be a symmetric matrix, such as the result of agop; its shape "
            f"is {matrix.shape}."
        )
    return matrix


def feature_ansatz(
    estimator: Any,
    X: Table,
    *,
    power: float = 0.5,
    initial_coefs: list | None = None,
    sample_weight: Vector | None = None,
) -> FloatArray:
    """Return how far the layers of a network obey the neural feature ansatz.

    The ansatz [1]_ is that training makes the Gram matrix of the weights of each layer
    proportional to a power of the AGOP of the network above, with respect to the input
    of the layer: W Wᵀ ∝ G^power, with W of shape (n_in, n_out). This function returns
    the cosines of the two matrices.

    Parameters
    ----------
    estimator : MLPRegressor, MLPClassifier or Pipeline
        A fitted network of scikit-learn, or a pipeline that ends with one. The outputs
        of a classifier are taken before their activation.
    X : array-like of shape (n_samples, n_features)
        The rows to average over, as the estimator takes them.
    power : float, default=0.5
        The power of the AGOP.
    initial_coefs : list of ndarray, default=None
        The weights before training, of the shapes of ``coefs_``. They are subtracted
        from the weights, so that what training has changed is compared. None subtracts
        nothing.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the average.

    Returns
    -------
    ndarray of shape (n_hidden_layers,)
        The cosine of each hidden layer, from the first on; NaN for a layer without any
        weight. The output layer has no layer above, and nothing to compare.

    References
    ----------
    .. [1] A. Radhakrishnan, D. Beaglehole, P. Pandit, M. Belkin, "Mechanism for feature
       learning in neural networks and backpropagation-free machine learning models",
       Science 383, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> from skrfm.inspection import feature_ansatz
    >>> X = np.random.default_rng(0).normal(size=(500, 10))
    >>> net = MLPRegressor(solver="lbfgs", alpha=1, max_iter=3000, random_state=0)
    >>> net = net.fit(X, np.sin(2 * X[:, 0]))
    >>> feature_ansatz(net, X).round(2)
    array([1.])
    """
    if isinstance(estimator, Pipeline):
        X, estimator = estimator[:-1].transform(X), estimator.steps[-1][1]
    if not isinstance(estimator, (MLPRegressor, MLPClassifier)):
        raise ValueError(
            "estimator must be an MLPRegressor, an MLPClassifier, or a pipeline that "
            f"ends with one; got {type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    network = network_of(estimator)
    rows = check_array(X, dtype=np.float64)
    weight = validate_weight(sample_weight, rows)
    initial = _initial_coefs(initial_coefs, network.coefs)
    inputs = network.activations(rows)
    cosines = []
    for layer in range(len(network.coefs) - 1):
        W = network.coefs[layer] - initial[layer]
        G = _agop_above(network.above(layer), inputs[layer], weight)
        cosines.append(agop_alignment(W @ W.T, G, power=power))
    return np.array(cosines)


def _agop_above(network, inputs, weight, block_rows=256):
    """Return the AGOP of a network with respect to its input."""
    total = np.zeros((inputs.shape[1], inputs.shape[1]))
    for start in range(0, len(inputs), block_rows):
        rows = slice(start, start + block_rows)
        J = network.jacobian(inputs[rows])[1] * np.sqrt(weight[rows])[:, None, None]
        J = J.reshape(-1, J.shape[2])
        total += J.T @ J
    return total / weight.sum()


def _initial_coefs(initial_coefs, coefs):
    """Return the weights before training, after a check of their shapes; or zeros."""
    if initial_coefs is None:
        return [0.0] * len(coefs)
    initial = [np.asarray(coef, np.float64) for coef in initial_coefs]
    shapes = [coef.shape for coef in coefs]
    if [coef.shape for coef in initial] != shapes:
        raise ValueError(
            f"initial_coefs must have the shapes of coefs_, {shapes}; got "
            f"{[coef.shape for coef in initial]}."
        )
    return initial
