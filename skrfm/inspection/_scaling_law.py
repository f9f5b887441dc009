"""Scores against the number of rows: a scaling law, and its plot."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import linregress
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import (
    ShuffleSplit,
    StratifiedShuffleSplit,
    learning_curve,
)

from .._backend import FloatArray, Seed, Table, Vector
from .._sklearn import clone
from ..transfer import TransferKernel
from ._displays import new_axes


@dataclass(frozen=True, kw_only=True)
class _Line:
    """The least squares line of the scores of one estimator."""

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    error: float

    @classmethod
    def fit(cls, sizes, scores):
        """Fit the line to the mean scores (n_sizes,) of a table of scores."""
        means, x = np.nanmean(scores, axis=1), np.log(sizes)
        line: Any = linregress(x, means)
        # two sizes determine the line, and leave nothing to estimate its errors from
        has_errors = len(sizes) > 2
        residuals = means - line.slope * x - line.intercept
        return cls(
            slope=float(line.slope),
            intercept=float(line.intercept),
            slope_error=float(line.stderr) if has_errors else np.nan,
            intercept_error=float(line.intercept_stderr) if has_errors else np.nan,
            error=float(np.sqrt(np.mean(residuals**2))),
        )


@dataclass(frozen=True)
class ScalingLaw:
    """Scores that grow with the logarithm of the number of rows.

    Attributes
    ----------
    train_sizes : ndarray of shape (n_sizes,)
        Numbers of training rows.
    scores : dict of str to ndarray of shape (n_sizes, n_repeats)
        Scores on test rows, by name.
    slope, intercept : dict of str to float
        a and b of the least squares fit of a·log(n) + b, with the natural logarithm, to
        the mean scores.
    slope_error, intercept_error : dict of str to float
        Their standard errors; NaN for two sizes.
    error : dict of str to float
        Root mean square deviation of the mean scores from the law.
    """

    train_sizes: FloatArray
    scores: dict[str, FloatArray]
    slope: dict[str, float]
    intercept: dict[str, float]
    slope_error: dict[str, float]
    intercept_error: dict[str, float]
    error: dict[str, float]

    @classmethod
    def fit(cls, train_sizes: Vector, scores: dict[str, Vector]) -> "ScalingLaw":
        """Fit the law to scores.

        Parameters
        ----------
        train_sizes : array-like of shape (n_sizes,)
            Numbers of training rows.
        scores : dict of str to array-like of shape (n_sizes, n_repeats)
            NaN where there is no score.

        Returns
        -------
        ScalingLaw
        """
        sizes = np.asarray(train_sizes, dtype=float)
        if sizes.ndim != 1 or len(np.unique(sizes)) < 2 or sizes.min() < 1:
            raise ValueError(
                "train_sizes must hold two different sizes or more, each at least 1; "
                f"got {train_sizes!r}."
            )
        tables = {name: np.asarray(table, float) for name, table in scores.items()}
        lines = {name: _Line.fit(sizes, table) for name, table in tables.items()}

        def by_name(figure):
            return {name: getattr(line, figure) for name, line in lines.items()}

        return cls(
            train_sizes=sizes,
            scores=tables,
            slope=by_name("slope"),
            intercept=by_name("intercept"),
            slope_error=by_name("slope_error"),
            intercept_error=by_name("intercept_error"),
            error=by_name("error"),
        )

    def predict(self, name: str, n: Vector) -> FloatArray:
        """Predict the scores at numbers of training rows.

        Parameters
        ----------
        name : str
            One of the names of `scores`.
        n : array-like of float
            Numbers of training rows.

        Returns
        -------
        ndarray of the shape of n
        """
        return self.slope[name] * np.log(n) + self.intercept[name]


def scaling_law(
    estimator: BaseEstimator | dict[str, BaseEstimator],
    X: Table,
    y: Vector,
    *,
    train_sizes: Vector,
    n_repeats: int = 20,
    test_size: float | int = 0.25,
    scoring=None,
    n_jobs: int | None = None,
    random_state: Seed = None,
) -> ScalingLaw:
    """Score estimators that are fitted to more and more rows, and fit a law.

    Parameters
    ----------
    estimator : TransferKernel, other estimator, or dict of str to estimator
        What is fitted. A `TransferKernel` is compared with itself without transfer.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their targets.
    train_sizes : array-like of int
        Numbers of training rows, at least two.
    n_repeats : int, default=20
        Number of random splits. They are the same for all estimators, and the rows of a
        smaller training set are among those of a larger.
    test_size : float or int, default=0.25
        Share, or number, of the rows that are scored.
    scoring : str or callable, default=None
        As in scikit-learn; None is the score of the estimator.
    n_jobs : int or None, default=None
        Number of fits at the same time.
    random_state : int, RandomState or None, default=None
        Seeds the splits.

    Returns
    -------
    ScalingLaw

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skrfm import TransferKernel
    >>> from skrfm.inspection import scaling_law
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 20))
    >>> source = Ridge().fit(X, X.sum(axis=1))
    >>> y = X.sum(axis=1) + X[:, 0] + 0.5 * rng.normal(size=300)
    >>> model = TransferKernel(source, Ridge(), method="translation")
    >>> law = scaling_law(model, X, y, train_sizes=[10, 20, 40], random_state=0)
    >>> law.predict("transfer", [10, 20]).round(2)
    array([0.95, 0.96])
    >>> law.predict("no transfer", [10, 20]).round(2)
    array([0.44, 0.73])
    """
    estimators = _by_name(estimator)
    first = next(iter(estimators.values()))
    splitter_class = StratifiedShuffleSplit if is_classifier(first) else ShuffleSplit
    splitter = splitter_class(n_repeats, test_size=test_size, random_state=random_state)
    splits = list(splitter.split(X, y))
    sizes = np.unique(np.asarray(train_sizes, dtype=int))
    n_train = len(splits[0][0])
    if sizes.size and sizes[-1] > n_train:
        raise ValueError(
            f"train_sizes reaches {sizes[-1]}, but only {n_train} rows remain beside "
            f"the test rows: lower it, or test_size={test_size}."
        )
    scores = {}
    for name, model in estimators.items():
        curve = learning_curve(
            model,
            X,
            y,
            train_sizes=sizes,
            cv=splits,
            scoring=scoring,
            n_jobs=n_jobs,
        )
        scores[name] = curve[2]
    return ScalingLaw.fit(sizes, scores)


def _by_name(estimator):
    """Return the estimators to score, by name."""
    if isinstance(estimator, dict):
        return estimator
    if not isinstance(estimator, TransferKernel):
        return {type(estimator).__name__: estimator}
    alone = clone(estimator).set_params(method="none")
    return {"transfer": estimator, "no transfer": alone}


class ScalingLawDisplay:
    """Plot of scores against the logarithm of the number of rows, with the law.

    Parameters
    ----------
    law : ScalingLaw
        The result of `scaling_law`.
    score_name : str, default="score"
        Label of the axis of scores.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.
    errorbar_ : dict of str to matplotlib ErrorbarContainer
        Mean scores with their standard errors.
    line_ : dict of str to matplotlib Line2D
        The laws.
    """

    def __init__(self, law: ScalingLaw, *, score_name: str = "score"):
        self.law = law
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | dict[str, BaseEstimator],
        X: Table,
        y: Vector,
        *,
        train_sizes: Vector,
        ax=None,
        score_name: str = "score",
        **options,
    ) -> "ScalingLawDisplay":
        """Score estimators that are fitted to more and more rows, and plot the scores.

        Parameters
        ----------
        estimator : TransferKernel, other estimator, or dict of str to estimator
            As in `scaling_law`.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        train_sizes : array-like of int
            Numbers of training rows.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        score_name : str, default="score"
            Label of the axis of scores.
        **options : dict
            Further arguments of `scaling_law`.

        Returns
        -------
        ScalingLawDisplay
        """
        law = scaling_law(estimator, X, y, train_sizes=train_sizes, **options)
        return cls(law, score_name=score_name).plot(ax=ax)

    def plot(self, ax=None) -> "ScalingLawDisplay":
        """Plot the scores and the laws.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        ScalingLawDisplay
        """
        ax = new_axes(ax)
        law, self.errorbar_, self.line_ = self.law, {}, {}
        sizes = law.train_sizes
        fine = np.geomspace(sizes.min(), sizes.max(), 100)
        for name, table in law.scores.items():
            counts = np.maximum(np.isfinite(table).sum(axis=1), 1)
            self.errorbar_[name] = ax.errorbar(
                sizes,
                np.nanmean(table, axis=1),
                np.nanstd(table, axis=1) / np.sqrt(counts),
                fmt="o",
                capsize=2,
            )
            color = self.errorbar_[name].lines[0].get_color()
            label = f"{name}: {law.slope[name]:.3f} log n {law.intercept[name]:+.3f}"
            (self.line_[name],) = ax.plot(
                fine, law.predict(name, fine), color=color, label=label
            )
        ax.set(xscale="log", xlabel="number of target rows", ylabel=self.score_name)
        ax.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
        ax.minorticks_off()
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
