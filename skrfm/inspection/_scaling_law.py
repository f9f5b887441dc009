"""What a model gains from more rows: a scaling law, and its picture."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import linregress
from sklearn.base import clone, is_classifier
from sklearn.model_selection import (
    ShuffleSplit,
    StratifiedShuffleSplit,
    learning_curve,
)

from ..transfer import TransferKernel

_ALONE = "no transfer"


@dataclass(frozen=True)
class ScalingLaw:
    """Scores that grow with the logarithm of the number of rows.

    Attributes
    ----------
    train_sizes : ndarray of shape (n_sizes,)
        Numbers of rows.
    scores : dict of str to ndarray of shape (n_sizes, n_repeats)
        Scores on other rows, for each name.
    slope, intercept : dict of str to float
        a and b of the least squares fit of a·log(n) + b, with the natural logarithm, to
        the mean scores.
    slope_error, intercept_error : dict of str to float
        Their standard errors; NaN for two sizes.
    error : dict of str to float
        Root mean square deviation of the mean scores from the law.
    """

    train_sizes: np.ndarray
    scores: dict
    slope: dict
    intercept: dict
    slope_error: dict
    intercept_error: dict
    error: dict

    @classmethod
    def fit(cls, train_sizes, scores):
        """Fit the law to scores.

        Parameters
        ----------
        train_sizes : array-like of shape (n_sizes,)
        scores : dict of str to array-like of shape (n_sizes, n_repeats)
            NaN where there is no score.

        Returns
        -------
        ScalingLaw
        """
        sizes = np.asarray(train_sizes, dtype=float)
        if sizes.ndim != 1 or len(np.unique(sizes)) < 2 or sizes.min() < 1:
            raise ValueError(
                "A law needs two different train_sizes or more, each at least 1; got "
                f"{train_sizes!r}."
            )
        scores = {name: np.asarray(table, float) for name, table in scores.items()}
        parts = {name: _fit(sizes, table) for name, table in scores.items()}
        columns = zip(*parts.values(), strict=True)
        return cls(sizes, scores, *(dict(zip(parts, c, strict=True)) for c in columns))

    def predict(self, name, n):
        """Return the score that the law gives for numbers of rows.

        Parameters
        ----------
        name : str
            One of `scores`.
        n : array-like of float

        Returns
        -------
        ndarray of the shape of n
        """
        return self.slope[name] * np.log(n) + self.intercept[name]


def _fit(sizes, table):
    """Return slope, intercept, their errors, and that of the law."""
    means = np.nanmean(table, axis=1)
    x = np.log(sizes)
    law = linregress(x, means)
    errors = (law.stderr, law.intercept_stderr) if len(sizes) > 2 else (np.nan,) * 2
    rest = means - law.slope * x - law.intercept
    figures = law.slope, law.intercept, *errors, np.sqrt(np.mean(rest**2))
    return [float(figure) for figure in figures]


def scaling_law(
    estimator,
    X,
    y,
    *,
    train_sizes,
    n_repeats=20,
    test_size=0.25,
    scoring=None,
    n_jobs=None,
    random_state=None,
):
    """Score estimators on growing numbers of rows, and fit a law to the scores.

    Parameters
    ----------
    estimator : TransferKernel, other estimator, or dict of str to estimator
        What is fitted. A `TransferKernel` is compared with itself without transfer.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their targets.
    train_sizes : array-like of int
        Numbers of rows to fit on, at least two of them.
    n_repeats : int, default=20
        Number of random splits; all estimators and sizes have the same, the smaller
        number of rows among the larger.
    test_size : float or int, default=0.25
        Share, or number, of the rows that are scored.
    scoring : str or callable, default=None
        As of scikit-learn; None is the estimator's own score.
    n_jobs : int, default=None
        Number of fits at the same time.
    random_state : int, RandomState instance or None, default=None
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
    >>> bool(law.predict("transfer", 10) > law.predict("no transfer", 10))
    True
    """
    estimators = _named(estimator)
    some = next(iter(estimators.values()))
    kind = StratifiedShuffleSplit if is_classifier(some) else ShuffleSplit
    splitter = kind(n_repeats, test_size=test_size, random_state=random_state)
    splits = list(splitter.split(X, y))
    sizes = np.unique(np.asarray(train_sizes, dtype=int))
    most = len(splits[0][0])
    if sizes.size and sizes[-1] > most:
        raise ValueError(
            f"train_sizes reaches {sizes[-1]}, but only {most} rows are left beside "
            f"the test rows: lower it, or test_size={test_size}."
        )
    scores = {}
    for name, model in estimators.items():
        scores[name] = learning_curve(
            model,
            X,
            y,
            train_sizes=sizes,
            cv=splits,
            scoring=scoring,
            n_jobs=n_jobs,
        )[2]
    return ScalingLaw.fit(sizes, scores)


def _named(estimator):
    """Return estimators by name."""
    if isinstance(estimator, dict):
        return estimator
    if not isinstance(estimator, TransferKernel):
        return {type(estimator).__name__: estimator}
    alone = clone(estimator).set_params(method="none")
    return {"transfer": estimator, _ALONE: alone}


class ScalingLawDisplay:
    """Scores against the logarithm of the number of rows, with the fitted law.

    Parameters
    ----------
    law : ScalingLaw
        What `scaling_law` returns.
    score_name : str, default="score"
        Label of the axis of scores.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the law was drawn.
    figure_ : matplotlib Figure
        Its figure.
    errorbar_ : dict of str to matplotlib ErrorbarContainer
        Mean scores with their standard errors.
    line_ : dict of str to matplotlib Line2D
        The laws.
    """

    def __init__(self, law, *, score_name="score"):
        self.law = law
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, train_sizes, ax=None, score_name="score", **options
    ):
        """Score estimators on growing numbers of rows, and draw the scores.

        Parameters
        ----------
        estimator : TransferKernel, other estimator, or dict of str to estimator
            As in `scaling_law`.
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        train_sizes : array-like of int
            Numbers of rows to fit on.
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.
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

    def plot(self, ax=None):
        """Draw scores and laws.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None is a new figure.

        Returns
        -------
        ScalingLawDisplay
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
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
