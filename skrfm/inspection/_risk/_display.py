"""The plot of predicted errors."""

from typing import Any

import numpy as np

from ..._backend import Table, Vector
from ._kernel_risk import KernelRisk, kernel_risk

# Curves of given ridges beside that of the best, at most.
_MOST_CURVES = 5
# More numbers of rows would not be legible below the axis.
_MOST_TICKS = 8


class KernelRiskDisplay:
    """Plot of the predicted error of a kernel machine against the number of rows.

    Parameters
    ----------
    risk : KernelRisk
        The result of `kernel_risk`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.
    line_ : dict of float to matplotlib Line2D
        The curve of each ridge.
    best_line_ : matplotlib Line2D
        The curve of the best ridge of each number of rows.
    band_ : matplotlib FillBetweenPolyCollection
        One standard error to both sides of it.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrfm.inspection import KernelRiskDisplay, kernel_risk
    >>> X, y = load_digits(return_X_y=True)
    >>> risk = kernel_risk(
    ...     "laplace", X, y.astype(str), max_rows=300, train_sizes=[30, 100, 300]
    ... )
    >>> display = KernelRiskDisplay(risk).plot()
    >>> display.best_line_.get_label()
    'best ridge'
    """

    def __init__(self, risk: KernelRisk):
        self.risk = risk

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Table,
        y: Vector,
        *,
        train_sizes: Vector,
        ax=None,
        **options,
    ) -> "KernelRiskDisplay":
        """Predict the errors at numbers of rows, and plot them.

        Parameters
        ----------
        estimator : fitted RFMRegressor or RFMClassifier, or kernel
            As in `kernel_risk`.
        X : array-like of shape (n_samples, n_features)
            Labelled rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        train_sizes : array-like of int
            Numbers of training rows.
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.
        **options : dict
            Further arguments of `kernel_risk`.

        Returns
        -------
        KernelRiskDisplay
        """
        risk = kernel_risk(estimator, X, y, train_sizes=train_sizes, **options)
        return cls(risk).plot(ax=ax)

    def plot(self, ax=None) -> "KernelRiskDisplay":
        """Plot the errors at the best ridge, and at up to five ridges.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; None makes a new figure.

        Returns
        -------
        KernelRiskDisplay
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        risk, self.line_ = self.risk, {}
        order = np.argsort(risk.train_sizes)
        sizes = risk.train_sizes[order]
        n_curves = min(_MOST_CURVES, len(risk.alphas))
        shown = np.unique(np.linspace(0, len(risk.alphas) - 1, n_curves).astype(int))
        for number in shown:
            alpha = float(risk.alphas[number])
            color = plt.get_cmap("viridis")(number / max(len(risk.alphas) - 1, 1))
            (self.line_[alpha],) = ax.plot(
                sizes, risk.risk[order, number], color=color, label=f"ridge {alpha:.3g}"
            )
        (self.best_line_,) = ax.plot(
            sizes, risk.best_risk[order], "k--", label="best ridge"
        )
        chosen = (risk.alphas == risk.best_alpha[:, None]).argmax(axis=1)
        errors = (risk.standard_error / risk.risk)[np.arange(len(sizes)), chosen]
        low, high = (risk.best_risk * np.exp(sign * errors) for sign in (-1, 1))
        self.band_ = ax.fill_between(
            sizes, low[order], high[order], color="0.5", alpha=0.2, linewidth=0
        )
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="number of training rows",
            ylabel="predicted mean square error",
        )
        if len(sizes) <= _MOST_TICKS:
            ax.set_xticks(sizes, [f"{size:g}" for size in sizes])
            ax.set_xticks([], minor=True)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
