"""Displays of completed matrices, and of the coverage of intervals."""

from typing import Any

import numpy as np
from scipy.stats import norm

from ._displays import new_axes, require_attribute

_STAGES = {
    "match": "all entries, to match them",
    "hide": "hidden entries, low rank",
    "graded": "hidden entries, full spectrum",
}


class CompletionDisplay:
    """What a low-rank completion chose: its error by rank, or its singular values.

    Parameters
    ----------
    history : dict of ndarray
        The `history_` of a fitted LinRFMCompleter.
    singular_values : array-like of shape (rank,)
        The singular values of the completed matrix.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        What was drawn, by the stage of the search; of singular values one line.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : Predicted against held-out entries.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import LinRFMCompleter
    >>> from skrfm.inspection import CompletionDisplay
    >>> rng = np.random.default_rng(0)
    >>> full = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    >>> X = np.where(rng.random(full.shape) < 0.5, full, np.nan)
    >>> completer = LinRFMCompleter(random_state=0).fit(X)
    >>> CompletionDisplay.from_estimator(completer).singular_values.shape
    (2,)
    """

    def __init__(self, history, singular_values):
        self.history = history
        self.singular_values = singular_values

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, kind: str = "error", ax=None
    ) -> "CompletionDisplay":
        """Plot the search of a fitted completer.

        Parameters
        ----------
        estimator : LinRFMCompleter
            Fitted.
        kind : {"error", "singular_values"}, default="error"
            As in `plot`.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        CompletionDisplay
        """
        _, singular_values, _ = require_attribute(estimator, "factors_")
        display = cls(history=estimator.history_, singular_values=singular_values)
        return display.plot(kind=kind, ax=ax)

    def plot(self, ax=None, *, kind="error") -> "CompletionDisplay":
        """Plot the error by rank, or the singular values.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        kind : {"error", "singular_values"}, default="error"
            "error" has the smallest score at each rank, for each stage of the search:
            the error on hidden entries, or the generalised cross-validation error of
            all entries.

        Returns
        -------
        CompletionDisplay
        """
        if kind not in ("error", "singular_values"):
            raise ValueError(
                f"kind must be 'error' or 'singular_values', got {kind!r}."
            )
        ax = new_axes(ax, figsize=(5.5, 3.4))
        draw = self._plot_errors if kind == "error" else self._plot_singular_values
        self.lines_ = draw(ax)
        ax.set_yscale("log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_errors(self, ax):
        """Draw the smallest score at each rank for each stage."""
        history, lines = self.history, {}
        for stage, label in _STAGES.items():
            rows = (history["stage"] == stage) & (np.asarray(history["score"]) > 0)
            ranks, scores = history["rank"][rows], history["score"][rows]
            if not len(ranks):
                continue
            kept = np.unique(ranks)
            least = [scores[ranks == rank].min() for rank in kept]
            (lines[stage],) = ax.plot(kept, least, "o-", label=label)
        ax.set(xlabel="rank", ylabel="smallest error")
        ax.legend(frameon=False, title="error of")
        return lines

    def _plot_singular_values(self, ax):
        """Draw the singular values, the largest first."""
        values = np.asarray(self.singular_values)
        (line,) = ax.plot(np.arange(1, len(values) + 1), values, "o-")
        ax.set(xlabel="number of the singular value", ylabel="singular value")
        return {"singular_values": line}


class CoverageDisplay:
    """Share of targets inside intervals, against the share that should be inside.

    The interval of a level is the mean plus and minus that many standard deviations as
    a normal distribution has. Points below the diagonal are intervals too short.

    Parameters
    ----------
    levels : array-like of shape (n_levels,)
        The shares that should be inside.
    coverage : array-like of shape (n_levels,)
        The shares that are inside.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The coverage.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm.inspection import CoverageDisplay
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=10_000)
    >>> display = CoverageDisplay.from_predictions(y, 0 * y, 0 * y + 1)
    >>> display.coverage[display.levels == 0.9].round(2)
    array([0.9])
    """

    def __init__(self, levels, coverage):
        self.levels = levels
        self.coverage = coverage

    @classmethod
    def from_predictions(cls, y, mean, std, *, levels=None, ax=None):
        """Plot the coverage of predictions with standard deviations.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true targets; NaN where they are not known.
        mean, std : array-like of the shape of y
            The predictions and their standard deviations.
        levels : array-like of shape (n_levels,), default=None
            The levels; None takes 0.1, 0.2 and so on to 0.9, and 0.95.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        CoverageDisplay
        """
        y, mean, std = (np.asarray(a, dtype=float) for a in (y, mean, std))
        if not y.shape == mean.shape == std.shape:
            raise ValueError(
                f"y, mean and std must have one shape, got {y.shape}, {mean.shape} and "
                f"{std.shape}."
            )
        if levels is None:
            levels = [*np.arange(1, 10) / 10, 0.95]
        levels = np.asarray(levels, dtype=float)
        if not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"levels must be between 0 and 1, got {levels}.")
        known = ~np.isnan(y)
        if not known.any():
            raise ValueError("y is NaN everywhere: pass at least one known target.")
        errors = np.abs(y - mean)[known]
        widths = norm.ppf((1 + levels) / 2)[:, None] * std[known]
        return cls(levels=levels, coverage=(errors <= widths).mean(axis=1)).plot(ax=ax)

    @classmethod
    def from_estimator(cls, estimator: Any, X, y, *, levels=None, ax=None):
        """Plot the coverage of the intervals of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``predict(X, return_std=True)``: a regressor, an
            EntryRegressor, whose rows are pairs (row, column) of a matrix, or an
            NTKMatrixCompleter, whose rows are features. For `predict_entries` of a
            completer, use `from_predictions`.
        X : array-like of shape (n_samples, n_features)
            Rows that it was not fitted to.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        levels : array-like of shape (n_levels,), default=None
            As in `from_predictions`.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        CoverageDisplay
        """
        mean, std = estimator.predict(X, return_std=True)
        return cls.from_predictions(y, mean, std, levels=levels, ax=ax)

    def plot(self, ax=None) -> "CoverageDisplay":
        """Plot the coverage, and the diagonal that it should be on.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        CoverageDisplay
        """
        ax = new_axes(ax, figsize=(4.2, 4))
        ax.plot([0, 1], [0, 1], color="0.7", zorder=0)
        (self.line_,) = ax.plot(self.levels, self.coverage, "o-")
        ax.set(xlabel="level of the interval", ylabel="share inside", aspect="equal")
        self.ax_, self.figure_ = ax, ax.figure
        return self
