"""Models of ratings, each with its own small grid, for ratings.py.

A model is fitted by ``fit(rows, cols, values, shape, **parameters)``, which returns a
function that predicts ratings of pairs. Other libraries are imported where a model of
theirs is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from skrfm import LinRFMCompleter


@dataclass(frozen=True)
class RatingModel:
    """A model of ratings.

    Attributes
    ----------
    fit : callable
    grid : dict of str to sequence
        The values that are tried on hidden ratings, by parameter.
    """

    fit: Callable
    grid: dict = field(default_factory=dict)

    def settings(self):
        """Return all parameters of the grid, as dictionaries."""
        return [dict(zip(self.grid, one, strict=True)) for one in self._products()]

    def _products(self):
        return product(*self.grid.values())


def fit_completer(rows, cols, values, shape, **parameters):
    """Fit a LinRFMCompleter."""
    completer = LinRFMCompleter(random_state=0, **parameters)
    return completer.fit_entries(rows, cols, values, shape).predict_entries


def fit_gibbs(rows, cols, values, shape):
    """Fit the average of drawn matrices, nothing chosen."""
    return fit_completer(rows, cols, values, shape, solver="gibbs")


def fit_means(rows, cols, values, shape):
    """Fit the mean and biases shrunk by a constant of users and items alone."""
    return fit_surprise(rows, cols, values, shape, name="BaselineOnly")


def fit_cmf(rows, cols, values, shape, *, lambda_, bias_lambda=None, **parameters):
    """Fit a collective matrix factorisation of cmfrec, by alternating least squares.

    `bias_lambda` is the ridge of the biases, None that of the factors.
    """
    import pandas as pd
    from cmfrec import CMF

    if bias_lambda is not None:
        lambda_ = [bias_lambda, bias_lambda, *[lambda_] * 4]
    frame = pd.DataFrame({"UserId": rows, "ItemId": cols, "Rating": values})
    model = CMF(lambda_=lambda_, verbose=False, nthreads=1, **parameters).fit(frame)
    mean = values.mean()

    def predict(rows, cols):
        predicted = model.predict(rows, cols)
        return np.where(np.isnan(predicted), mean, predicted)

    return predict


def fit_surprise(rows, cols, values, shape, *, name, **parameters):
    """Fit an algorithm of Surprise."""
    import pandas as pd
    import surprise

    frame = pd.DataFrame({"user": rows, "item": cols, "rating": values})
    reader = surprise.Reader(rating_scale=(values.min(), values.max()))
    data = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
    seed = {"random_state": 0} if name.startswith("SVD") else {"verbose": False}
    model = getattr(surprise, name)(**seed, **parameters).fit(data)

    def predict(rows, cols):
        pairs = zip(rows.tolist(), cols.tolist(), strict=True)
        return np.array([model.predict(i, j).est for i, j in pairs])

    return predict


_CMF = {"lambda_": (8, 10, 12, 14, 17), "k": (40, 100)}
MODELS = {
    "LinRFMCompleter, gibbs": RatingModel(fit_gibbs),
    "LinRFMCompleter": RatingModel(fit_completer),
    "biases (Surprise)": RatingModel(fit_means),
    "cmfrec": RatingModel(fit_cmf, _CMF),
    "cmfrec, ridge of biases": RatingModel(fit_cmf, _CMF | {"bias_lambda": (3,)}),
    "cmfrec, implicit features": RatingModel(
        fit_cmf,
        {
            "lambda_": (10, 12, 14, 17),
            "k": (40,),
            "bias_lambda": (3,),
            "w_implicit": (0.5, 1.0, 2.0),
            "add_implicit_features": (True,),
        },
    ),
    "SVD (Surprise)": RatingModel(
        fit_surprise,
        {
            "name": ("SVD",),
            "n_epochs": (40, 80),
            "reg_all": (0.08, 0.1, 0.12),
        },
    ),
    "KNNBaseline (Surprise)": RatingModel(
        fit_surprise, {"name": ("KNNBaseline",), "k": (20, 40, 80)}
    ),
}
