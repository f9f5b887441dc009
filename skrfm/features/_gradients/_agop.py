"""The average gradient outer product of a fitted estimator."""

from dataclasses import dataclass

import numpy as np
from sklearn import get_config
from sklearn.utils import check_random_state

from ..._backend import FloatArray
from ..._tables import validate_weight
from ._differences import Differences, shares_of_steps
from ._families import find_model
from ._models import Mapped, Model
from ._response import Response
from ._table import InspectedTable

METHODS = ("auto", "analytic", "differences")
# rows whose Jacobians are averaged together
_BLOCK_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class GradientOptions:
    """How gradients of an estimator are computed, and over which rows.

    Attributes
    ----------
    response_method : {"auto", "predict_proba", "decision_function", "predict"}
    method : {"auto", "analytic", "differences"}
    step : float, sequence of float or "auto"
        Steps of differences, in standard deviations of the columns.
    max_samples : int or None
        The largest number of rows, drawn at random; None takes all.
    """

    response_method: str = "auto"
    method: str = "auto"
    step: object = "auto"
    max_samples: int | None = None


def average_outer_product(
    estimator,
    X,
    *,
    options: GradientOptions,
    features=None,
    sample_weight=None,
    matrix: FloatArray | None = None,
    random_state=None,
) -> FloatArray:
    """Return the AGOP (k, k) of an estimator with respect to columns of X.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    X : array-like or data frame of shape (n, d)
    options : GradientOptions
    features : array-like or None
        The columns; None takes all.
    sample_weight : array-like of shape (n,) or None
    matrix : ndarray of shape (k, d) or None
        What rows are mapped by before the estimator takes them.
    random_state : int, RandomState or None
        Seeds the choice of rows.
    """
    response = Response.of(estimator, options.response_method)
    table = InspectedTable.read(X, features)
    weight = validate_weight(sample_weight, table.numbers)
    deviations = _deviations(table.numbers, weight)
    rows = np.flatnonzero(weight > 0)
    if options.max_samples is not None and len(rows) > options.max_samples:
        random = check_random_state(random_state)
        rows = np.sort(random.permutation(rows)[: options.max_samples])
    table, weight = table.take(rows), weight[rows]
    model = None
    if options.method != "differences":
        model = _find_model(response, table, deviations, matrix)
    if model is None and options.method == "analytic":
        raise ValueError(
            f"The gradients of {response.method} of {type(estimator).__name__} are "
            'known by differences only: pass method="auto".'
        )
    if model is not None:
        return _average(_analytic(model, table), table, weight, model.floats_per_row)
    function = _with_map(response, matrix)
    shares = shares_of_steps(options.step, function, estimator, table, deviations)
    differences = Differences(function, np.outer(shares, deviations))
    # predictions are made in parts, so a block has enough rows for the largest of them
    return _average(differences.jacobian, table, weight, 3 * table.numbers.shape[1])


def _find_model(response, table, deviations, matrix) -> Model | None:
    """Return the model of an estimator of rows that a matrix maps, or None."""
    if matrix is None:
        return find_model(response, table, deviations)
    mapped = InspectedTable.read(table.X @ matrix.T)
    scale = np.sqrt(matrix**2 @ deviations**2)
    model = find_model(response, mapped, scale)
    return None if model is None else Mapped(model, matrix)


def _with_map(response, matrix):
    """Return the response at rows that a matrix maps first."""
    if matrix is None:
        return response
    return lambda X: response(X @ matrix.T)


def _analytic(model, table):
    """Return the function from rows to the Jacobian by the differentiated columns."""
    is_array, columns = not hasattr(model, "estimator"), table.columns

    def jacobian(block):
        X = block.as_array() if is_array else block.X
        return model.jacobian(X)[1][:, :, columns]

    return jacobian


def _average(jacobian, table, weight, floats_per_row):
    """Return Σ ω_i J_iᵀJ_i / Σ ω_i over the rows of a table."""
    n, k = table.numbers.shape
    most = get_config()["working_memory"] * 2**20 / (8 * max(1, floats_per_row))
    size = int(max(1, min(_BLOCK_ROWS, most)))
    total = np.zeros((k, k))
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        J = jacobian(table.take(rows)) * np.sqrt(weight[rows])[:, None, None]
        J = J.reshape(-1, k)
        total += J.T @ J
    total /= weight.sum()
    if not np.isfinite(total).all():
        raise ValueError(
            "The gradients are not finite: the estimator overflows near some rows of "
            "X, or does not take its missing values."
        )
    return total


def _deviations(numbers, weight):
    """Return the weighted standard deviations of columns, 0 of constant ones."""
    known = ~np.isnan(numbers)
    values = np.where(known, numbers, 0.0)
    share = weight[:, None] * known
    share /= np.maximum(share.sum(axis=0), np.finfo(float).tiny)
    mean = (share * values).sum(axis=0)
    deviations = np.sqrt((share * (values - mean) ** 2).sum(axis=0))
    rounding = len(numbers) * np.finfo(float).eps * np.abs(values).max(axis=0)
    return np.where(deviations > rounding, deviations, 0.0)
