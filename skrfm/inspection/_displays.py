"""Displays of fitted RFMs: importances, the metric, its spectrum, scores by round."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

# Beyond so many columns a heat map has no room for their names.
_MOST_NAMES = 60


def new_axes(ax, **options):
    """Return axes to draw on, new ones where there are none."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib: install it, or skrfm with its extra `plot`."
        ) from error
    return plt.subplots(layout="constrained", **options)[1]


def require_attribute(estimator, attribute):
    """Return a fitted attribute, or raise a TypeError that names it."""
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"{type(estimator).__name__} has no attribute {attribute}: pass a fitted "
            "estimator that has, such as RFMRegressor."
        )
    return getattr(estimator, attribute)


class FeatureImportancesDisplay:
    """Bars of feature importances, the largest at the top.

    Parameters
    ----------
    importances : array-like of shape (n_features,)
        The importances.
    names : array-like of str of shape (n_features,)
        The names of the features.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        The bars.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import FeatureImportancesDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = RFMRegressor(kernel="laplace", alpha=0.3, validation=None).fit(X, y)
    >>> display = FeatureImportancesDisplay.from_estimator(model, max_features=4)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['bmi', 's5', 'bp', 'sex']
    """

    def __init__(self, importances, names):
        self.importances = importances
        self.names = names

    @classmethod
    def from_estimator(
        cls, estimator: BaseEstimator, *, max_features: int | None = 20, ax=None
    ) -> "FeatureImportancesDisplay":
        """Plot the importances of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `feature_importances_`.
        max_features : int or None, default=20
            How many of the largest are drawn; None draws all.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        FeatureImportancesDisplay
        """
        importances = np.asarray(require_attribute(estimator, "feature_importances_"))
        names = getattr(estimator, "feature_names_in_", None)
        if names is None:
            names = [f"x{j}" for j in range(len(importances))]
        display = cls(importances=importances, names=np.asarray(names))
        return display.plot(ax=ax, max_features=max_features)

    def plot(
        self, ax=None, *, max_features: int | None = 20
    ) -> "FeatureImportancesDisplay":
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        max_features : int or None, default=20
            How many of the largest are drawn; None draws all.

        Returns
        -------
        FeatureImportancesDisplay
        """
        importances, names = np.asarray(self.importances), np.asarray(self.names)
        order = np.argsort(-importances, kind="stable")[:max_features]
        ax = new_axes(ax, figsize=(6, 1 + 0.28 * len(order)))
        rows = np.arange(len(order))
        self.bars_ = ax.barh(rows, importances[order])
        ax.set_yticks(rows, names[order])
        ax.invert_yaxis()
        ax.set(xlabel="importance: share of the trace of the metric", ylabel="")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class FeatureMetricDisplay:
    """Heat map of the learned feature metric, with the names of its columns.

    Parameters
    ----------
    metric : array-like of shape (n_columns, n_columns) or (n_columns,)
        The metric; a diagonal one as its diagonal.
    names : array-like of str of shape (n_columns,)
        The names of the columns.

    Attributes
    ----------
    im_ : matplotlib AxesImage
        The heat map.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import FeatureMetricDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = RFMRegressor(kernel="laplace", alpha=0.3, validation=None).fit(X, y)
    >>> display = FeatureMetricDisplay.from_estimator(model, max_columns=3)
    >>> [label.get_text() for label in display.ax_.get_xticklabels()]
    ['bmi', 's5', 'bp']
    """

    def __init__(self, metric, names):
        self.metric = metric
        self.names = names

    @classmethod
    def from_estimator(
        cls, estimator: BaseEstimator, *, max_columns: int | None = 20, ax=None
    ) -> "FeatureMetricDisplay":
        """Plot the metric of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `metric_` and, for the names, `metric_names_`.
        max_columns : int or None, default=20
            How many columns of the largest weights are drawn; None draws all.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        FeatureMetricDisplay
        """
        metric = np.asarray(require_attribute(estimator, "metric_"))
        names = getattr(estimator, "metric_names_", None)
        if names is None:
            names = [f"x{j}" for j in range(len(metric))]
        display = cls(metric=metric, names=np.asarray(names))
        return display.plot(ax=ax, max_columns=max_columns)

    def plot(self, ax=None, *, max_columns: int | None = 20) -> "FeatureMetricDisplay":
        """Plot the heat map, with the columns of the largest weights first.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        max_columns : int or None, default=20
            How many columns of the largest weights are drawn; None draws all.

        Returns
        -------
        FeatureMetricDisplay
        """
        metric, names = np.asarray(self.metric), np.asarray(self.names)
        metric = np.diag(metric) if metric.ndim == 1 else metric
        order = np.argsort(-np.diag(metric), kind="stable")[:max_columns]
        shown = metric[np.ix_(order, order)]
        size = 2.2 + 0.3 * min(len(order), _MOST_NAMES)
        ax = new_axes(ax, figsize=(size + 0.8, size))
        # symmetric about 0, so that the colour of no interaction is white
        bound = np.abs(shown).max(initial=0) or 1.0
        self.im_ = ax.imshow(shown, cmap="RdBu_r", vmin=-bound, vmax=bound)
        ax.figure.colorbar(self.im_, ax=ax, label="entry of the metric")
        if len(order) <= _MOST_NAMES:
            places = np.arange(len(order))
            ax.set_xticks(places, names[order], rotation=90)
            ax.set_yticks(places, names[order])
        self.ax_, self.figure_ = ax, ax.figure
        return self


class MetricSpectrumDisplay:
    """Eigenvalues of the learned feature metric, the largest first.

    Parameters
    ----------
    eigenvalues : array-like of shape (n_columns,)
        The eigenvalues.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The eigenvalues.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import MetricSpectrumDisplay
    >>> X, y = make_friedman1(n_samples=200, random_state=0)
    >>> model = RFMRegressor(kernel="laplace", alpha=0.1, validation=None).fit(X, y)
    >>> display = MetricSpectrumDisplay.from_estimator(model)
    >>> shares = display.eigenvalues / display.eigenvalues.sum()
    >>> bool(shares[:5].sum() > 0.99)
    True
    """

    def __init__(self, eigenvalues):
        self.eigenvalues = eigenvalues

    @classmethod
    def from_estimator(
        cls, estimator: BaseEstimator, *, ax=None
    ) -> "MetricSpectrumDisplay":
        """Plot the spectrum of the metric of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `metric_`.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        MetricSpectrumDisplay
        """
        metric = np.asarray(require_attribute(estimator, "metric_"))
        values = np.sort(metric) if metric.ndim == 1 else np.linalg.eigvalsh(metric)
        return cls(eigenvalues=np.maximum(values[::-1], 0)).plot(ax=ax)

    def plot(self, ax=None) -> "MetricSpectrumDisplay":
        """Plot the eigenvalues as shares of their sum.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        MetricSpectrumDisplay
        """
        ax = new_axes(ax, figsize=(5, 3.2))
        values = np.asarray(self.eigenvalues, dtype=float)
        shares = values / (values.sum() or 1.0)
        positive = shares[shares > 0]
        if positive.size and positive.min() < 0.01:
            ax.set_yscale("log")
            shares[shares <= 0] = np.nan  # lines to them would leave the picture
        (self.line_,) = ax.plot(np.arange(1, len(shares) + 1), shares, "o-")
        ax.set(xlabel="number of the eigenvalue", ylabel="share of the trace")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class HistoryDisplay:
    """Scores of the search over the rounds, one line for each kernel and metric.

    Of the candidates of a kernel, metric and number of rows, the best score of each
    round is drawn.

    Parameters
    ----------
    history : dict of ndarray
        The `history_` of a fitted estimator.
    best_iter : int or None, default=None
        The round that was kept.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The scores, by what they are of.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import HistoryDisplay
    >>> X, y = make_friedman1(n_samples=200, random_state=0)
    >>> model = RFMRegressor(kernel="laplace", validation="cv", random_state=0)
    >>> model = model.fit(X, y)
    >>> display = HistoryDisplay.from_estimator(model)
    >>> list(display.lines_)
    ['Laplace(), full']
    """

    def __init__(self, history, best_iter=None):
        self.history = history
        self.best_iter = best_iter

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator, *, ax=None) -> "HistoryDisplay":
        """Plot the scores of the search of a fitted estimator.

        Parameters
        ----------
        estimator : RFMRegressor, RFMClassifier or other estimator
            Fitted, with `history_`.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        HistoryDisplay
        """
        history = require_attribute(estimator, "history_")
        best_iter = getattr(estimator, "best_iter_", None)
        return cls(history=history, best_iter=best_iter).plot(ax=ax)

    def plot(self, ax=None) -> "HistoryDisplay":
        """Plot the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        HistoryDisplay
        """
        ax = new_axes(ax, figsize=(6, 3.6))
        self.lines_ = {}
        for label, best in _best_by_round(self.history).items():
            rounds = sorted(best)
            scores = [best[number] for number in rounds]
            (self.lines_[label],) = ax.plot(rounds, scores, "o-", label=label)
        if self.best_iter is not None:
            ax.axvline(self.best_iter, color="0.6", linestyle=":", zorder=0)
        ax.set(xlabel="round", ylabel="score on validation rows")
        ax.xaxis.get_major_locator().set_params(integer=True)
        # beside the axes, where it covers no line
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _best_by_round(history):
    """Return {label: {round: best score}} of the finite scores of a history."""
    columns = [history[name] for name in _labelling_columns(history)]
    found = {}
    for index, (number, score) in enumerate(
        zip(history["iter"], history["score"], strict=True)
    ):
        if not np.isfinite(score):
            continue
        label = ", ".join(_text(column[index]) for column in columns) or "score"
        best = found.setdefault(label, {})
        best[int(number)] = max(float(score), best.get(int(number), -np.inf))
    return found


def _labelling_columns(history):
    """Return the columns that tell lines apart: kernel, metric and rows."""
    names = [name for name in ("kernel", "metric_type") if name in history]
    if "rows" in history and len(set(history["rows"])) > 1:
        names.append("rows")
    return names


def _text(value):
    """Return a kernel, a kind of metric or a number of rows as a label has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseEstimator):
        return repr(value)
    return f"{value:,g} rows"
